package header_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
)

func TestFramesAreReadBehindTheirTags(t *testing.T) {
	t.Parallel()
	mac := nf.MAC{2, 0, 0, 0, 0, 1}
	plain := packet.SYN(web).Frame(mac, mac)
	twice := set(packet.SYN(web6).Frame(mac, mac).VLAN(9).VLAN(5), 12, 0x88, 0xa8, 0xe0)
	old := set(plain.VLAN(5), 12, 0x91, 0x00)
	got, want := map[string]string{}, map[string]string{}
	for _, c := range []struct {
		name  string
		frame []byte
		want  header.Frame
		vlans []uint16
	}{
		{"nothing", nil, header.Frame{Cut: true}, nil},
		{"half a header", plain[:13], header.Frame{Cut: true}, nil},
		{"IPv4", plain, header.Frame{EtherType: 0x0800, Payload: 14}, nil},
		{"no payload", plain[:14], header.Frame{EtherType: 0x0800, Payload: 14}, nil},
		{"a tag", plain.VLAN(5), header.Frame{EtherType: 0x0800, Tags: 1, Payload: 18}, []uint16{5}},
		{"two tags", twice, header.Frame{EtherType: 0x86dd, Tags: 2, Payload: 22}, []uint16{5, 9}},
		{"a tag cut", plain.VLAN(5)[:15], header.Frame{Payload: 14, Cut: true}, nil},
		{"a tag without a type", plain.VLAN(5)[:16], header.Frame{Tags: 1, Payload: 14, Cut: true}, []uint16{5}},
		{"the second tag cut", twice[:20], header.Frame{Tags: 2, Payload: 18, Cut: true}, []uint16{5, 9}},
		{"a tag that Linux does not know", old, header.Frame{EtherType: 0x9100, Payload: 14}, nil},
	} {
		f := header.ParseFrame(c.frame)
		got[c.name], want[c.name] = fmt.Sprintf("%+v %v", f, f.VLANs(c.frame)), fmt.Sprintf("%+v %v", c.want, c.vlans)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if outer := header.OuterType(twice); outer != header.EtherTypeQinQ || header.OuterType(plain[:13]) != 0 {
		t.Errorf("the outer type is %#x", outer)
	}
}

// All offsets lie within the frame, and each tag before the payload is counted.
func FuzzParseFrame(f *testing.F) {
	mac := nf.MAC{2, 0, 0, 0, 0, 1}
	for _, frame := range []packet.Frame{packet.SYN(web).Frame(mac, mac), packet.SYN(web6).Frame(mac, mac).VLAN(9).VLAN(5)} {
		for n := range len(frame) + 1 {
			f.Add([]byte(frame[:n]))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h := header.ParseFrame(b)
		if h.Payload > len(b) || len(h.VLANs(b)) != h.Tags || !h.Cut && h.Payload != header.EthernetSize+4*h.Tags {
			t.Errorf("% x: %+v", b, h)
		}
	})
}
