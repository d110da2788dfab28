package pcapfile_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/pcapfile"
)

func TestPcapIsReadInBothOrdersAndResolutions(t *testing.T) {
	t.Parallel()
	for name, o := range orders {
		for magic, want := range map[uint32]time.Time{
			0xa1b2c3d4: at,
			0xa1b23c4d: time.Unix(at.Unix(), 123_456).UTC(),
		} {
			file := concat(pcapFile(o, magic, 262144, 101), pcapPacket(o, 123_456, 21, ip4), pcapPacket(o, 123_456, 41, ip6[:40]))
			got, err := readAll(t, bytes.NewReader(file))
			if diff := cmp.Diff([]pcapfile.Packet{
				{Time: want, EtherType: 0x0800, Data: ip4, Length: 21},
				{Time: want, EtherType: 0x86dd, Data: ip6[:40], Length: 41},
			}, got); diff != "" || err != nil {
				t.Errorf("%s-endian, magic %x: %v (-want +got):\n%s", name, magic, err, diff)
			}
		}
	}
}

// A file may have several interfaces of different kinds, and several sections in different orders.
func TestPcapngIsReadWithItsInterfacesAndDirections(t *testing.T) {
	t.Parallel()
	frame := concat([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, ip4)
	var file []byte
	var want []pcapfile.Packet
	for _, name := range []string{"little", "big", "little"} {
		o := orders[name]
		simple := append(o.AppendUint32(nil, 21), ip4...)
		file = concat(file,
			section(o), iface(o, 101, 0, "tun0"), block(o, 4, nil), iface(o, 1, 262144, ""),
			packet(o, 0, 1, 21, ip4), packet(o, 1, 2, 35, frame), packet(o, 0, 0, 41, ip6),
			block(o, 5, make([]byte, 24)), block(o, 3, simple), block(o, 0x0bad, []byte("whatever")))
		want = append(want,
			pcapfile.Packet{Time: at, Link: "tun0", Dir: pcapfile.In, EtherType: 0x0800, Data: ip4, Length: 21},
			pcapfile.Packet{
				Time: at, Link: "#1", Dir: pcapfile.Out, EtherType: 0x0800, Data: ip4, Length: 21,
				Dst: nf.MAC{2, 0, 0, 0, 0, 1}, Src: nf.MAC{2, 0, 0, 0, 0, 2},
			},
			pcapfile.Packet{Time: at, Link: "tun0", EtherType: 0x86dd, Data: ip6, Length: 41},
			pcapfile.Packet{Link: "tun0", EtherType: 0x0800, Data: ip4, Length: 21})
	}

	got, err := readAll(t, bytes.NewReader(file))

	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestFilesWithoutPacketsAreRead(t *testing.T) {
	t.Parallel()
	for name, o := range orders {
		for kind, file := range map[string][]byte{"pcap": pcapFile(o, 0xa1b2c3d4, 0, 1), "pcapng": section(o)} {
			if got, err := readAll(t, bytes.NewReader(file)); err != nil || len(got) != 0 {
				t.Errorf("%s, %s-endian: %v, %v", kind, name, got, err)
			}
		}
	}
}
