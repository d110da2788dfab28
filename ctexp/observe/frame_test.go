package observe

import (
	"strings"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/internal/header"
)

func TestFramePrintsOneLine(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	udp := []byte{
		0x45, 0, 0, 29, 0, 0, 0x40, 0, 64, 17, 0, 0, 198, 18, 0, 2, 192, 0, 2, 1,
		0x27, 0x10, 0, 53, 0, 9, 0, 0, 'x',
	}
	var b strings.Builder
	for _, f := range []Frame{
		{Time: at, Link: "tun0", Dir: In, EtherType: header.EtherTypeIPv4, Packet: udp},
		{Time: at, Link: "tun0", Dir: Out, EtherType: header.EtherTypeIPv4, Packet: udp[:10]},
		{Time: at, Link: "veth0", Dir: Out, EtherType: header.EtherTypeARP, Packet: append([]byte{0, 1, 8, 0, 6, 4, 0, 1}, make([]byte, 20)...)},
		{Time: at, Link: "veth0", Dir: In, EtherType: 0x88cc, Packet: make([]byte, 60)},
	} {
		b.WriteString(f.String() + "\n")
		_ = f.Decode().String()
	}
	golden(t, "frames.txt", b.String())
}

func FuzzFrame(f *testing.F) {
	f.Add(uint16(header.EtherTypeIPv4), []byte{0x45})
	f.Add(uint16(header.EtherTypeARP), []byte{0, 1})
	f.Fuzz(func(t *testing.T, etherType uint16, b []byte) {
		frame := Frame{Link: "tun0", EtherType: etherType, Packet: b}
		if strings.Contains(frame.String(), "\n") {
			t.Errorf("more than one line: %q", frame.String())
		}
		_ = frame.Decode().Layers()
	})
}
