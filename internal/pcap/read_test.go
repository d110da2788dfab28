package pcap_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/internal/pcap"
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
			if diff := cmp.Diff([]pcap.Packet{
				{Time: want, EtherType: 0x0800, Data: ip4, Length: 21},
				{Time: want, EtherType: 0x86dd, Data: ip6[:40], Length: 41},
			}, got); diff != "" || err != nil {
				t.Errorf("%s-endian, magic %x: %v (-want +got):\n%s", name, magic, err, diff)
			}
		}
	}
}

// Before 2.3 the two lengths of a packet were in the other order, and in 2.3 in either; a length that is less than what was
// captured is a mistake of the program that wrote it. Kuznetzov's patch has a longer header. All of them may be compressed.
func TestOldAndOddFilesAreRead(t *testing.T) {
	t.Parallel()
	want := []pcap.Packet{{Time: at, EtherType: 0x0800, Data: ip4, Length: 21}}
	for name, o := range orders {
		version := func(minor uint16) []byte {
			head := pcapFile(o, 0xa1b2c3d4, 262144, 101)
			return concat(head[:4], o.AppendUint16(o.AppendUint16(nil, 2), minor), head[8:])
		}
		swapped := pcapPacket(o, 123_456, 21, ip4)
		longer := concat(swapped[:8], o.AppendUint32(nil, 41), o.AppendUint32(nil, 21), swapped[16:])
		patched := concat(pcapFile(o, 0xa1b2cd34, 262144, 101), swapped[:16], make([]byte, 8), swapped[16:])
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		if _, err := w.Write(patched); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		for kind, file := range map[string][]byte{
			"2.1": concat(version(1), swapped), "2.3": concat(version(3), swapped), "2.4": concat(version(4), swapped),
			"2.2, cut": concat(version(2), longer), "2.3, cut": concat(version(3), longer),
			"short":        concat(version(4), pcapPacket(o, 123_456, 19, ip4)),
			"short pcapng": concat(section(o), iface(o, 101, 0, ""), packet(o, 0, 0, 19, ip4)),
			"patched":      patched, "compressed": packed.Bytes(),
		} {
			got, err := readAll(t, bytes.NewReader(file))
			one := slices.Clone(want)
			if strings.HasSuffix(kind, "cut") {
				one[0].Length = 41
			}
			if strings.HasSuffix(kind, "pcapng") {
				one[0].Link = "#0"
			}
			if diff := cmp.Diff(one, got); diff != "" || err != nil {
				t.Errorf("%s, %s-endian: %v (-want +got):\n%s", kind, name, err, diff)
			}
		}
	}
}

// A file may have several interfaces of different kinds, and several sections in different orders.
func TestPcapngIsReadWithItsInterfacesAndDirections(t *testing.T) {
	t.Parallel()
	frame := concat([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, ip4)
	var file []byte
	var want []pcap.Packet
	for _, name := range []string{"little", "big", "little"} {
		o := orders[name]
		simple := append(o.AppendUint32(nil, 21), ip4...)
		file = concat(file,
			section(o), iface(o, 101, 0, "tun0"), block(o, 4, nil), iface(o, 1, 262144, ""),
			packet(o, 0, 1, 21, ip4), packet(o, 1, 2, 35, frame), packet(o, 0, 0, 41, ip6),
			block(o, 5, make([]byte, 24)), block(o, 3, simple), block(o, 0x0bad, []byte("whatever")))
		want = append(want,
			pcap.Packet{Time: at, Link: "tun0", Dir: pcap.In, EtherType: 0x0800, Data: ip4, Length: 21},
			pcap.Packet{
				Time: at, Link: "#1", Dir: pcap.Out, EtherType: 0x0800, Data: ip4, Length: 21,
				Ethernet: frame[:14],
			},
			pcap.Packet{Time: at, Link: "tun0", EtherType: 0x86dd, Data: ip6, Length: 41},
			pcap.Packet{Link: "tun0", EtherType: 0x0800, Data: ip4, Length: 21})
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

// The header before a packet depends on the link type.
func TestLinkLayerIsRemoved(t *testing.T) {
	t.Parallel()
	to, from := []byte{2, 0, 0, 0, 0, 1}, []byte{2, 0, 0, 0, 0, 2}
	macs := concat(to, from)
	cooked := func(typ byte, address []byte, protocol ...byte) []byte {
		return concat([]byte{0, typ, 0, 1, 0, byte(len(address))}, address, make([]byte, 8-len(address)), protocol)
	}
	cooked2 := func(typ byte, protocol ...byte) []byte {
		return concat(protocol, []byte{0, 0, 0, 0, 0, 7, 0, 1, typ, 6}, from, []byte{0, 0})
	}
	framed := func(p pcap.Packet, types ...byte) pcap.Packet {
		p.Ethernet = concat(macs, types)
		return p
	}
	four := pcap.Packet{EtherType: 0x0800, Data: ip4, Length: len(ip4)}
	six := pcap.Packet{EtherType: 0x86dd, Data: ip6, Length: len(ip6)}
	fromTo := func(p pcap.Packet, d pcap.Dir, link string, mac []byte) pcap.Packet {
		p.Dir, p.Link = d, link
		if mac != nil {
			p.Ethernet = concat(make([]byte, 6), mac, []byte{8, 0})
		}
		return p
	}
	for name, c := range map[string]struct {
		linkType uint32
		data     []byte
		want     pcap.Packet
	}{
		"raw":                {101, ip4, four},
		"raw, 12":            {12, ip6, six},
		"raw, 14":            {14, ip6, six},
		"raw, neither":       {101, []byte("\x15xyz"), pcap.Packet{Data: []byte("\x15xyz"), Length: 4}},
		"raw, empty":         {101, nil, pcap.Packet{}},
		"IPv4":               {228, ip4, four},
		"IPv6":               {229, ip6, six},
		"Ethernet":           {1, concat(macs, []byte{8, 0}, ip4), framed(four, 8, 0)},
		"Ethernet, with FCS": {0x9400_0001, concat(macs, []byte{8, 0}, ip4, []byte("0123")), framed(four, 8, 0)},
		"Ethernet, padded":   {1, concat(macs, []byte{0x86, 0xdd}, ip6, make([]byte, 5)), framed(six, 0x86, 0xdd)},
		"VLAN":               {1, concat(macs, []byte{0x81, 0, 0x20, 5, 0x86, 0xdd}, ip6), framed(six, 0x81, 0, 0x20, 5, 0x86, 0xdd)},
		"VLAN in VLAN":       {1, concat(macs, []byte{0x88, 0xa8, 0, 5, 0x81, 0, 0, 9, 0x86, 0xdd}, ip6), framed(six, 0x88, 0xa8, 0, 5, 0x81, 0, 0, 9, 0x86, 0xdd)},
		"ARP":                {1, concat(macs, []byte{8, 6}, []byte("arp")), framed(pcap.Packet{EtherType: 0x0806, Data: []byte("arp"), Length: 3}, 8, 6)},
		"IEEE 802.3":         {1, concat(macs, []byte{0, 3}, []byte("llc")), framed(pcap.Packet{Data: []byte("llc"), Length: 3}, 0, 3)},
		"half a frame":       {1, to, pcap.Packet{}},
		"half a tag":         {1, concat(macs, []byte{0x81, 0, 0}), framed(pcap.Packet{}, 0x81, 0)},
		"cooked, in":         {113, concat(cooked(0, from, 8, 0), ip4), fromTo(four, pcap.In, "", from)},
		"cooked, out":        {113, concat(cooked(4, nil, 0x86, 0xdd), ip6), fromTo(six, pcap.Out, "", nil)},
		"cooked, VLAN":       {113, concat(cooked(4, nil, 0x81, 0, 0, 5, 0x86, 0xdd), ip6), pcap.Packet{Dir: pcap.Out, Ethernet: concat(make([]byte, 12), []byte{0x81, 0, 0, 5, 0x86, 0xdd}), EtherType: 0x86dd, Data: ip6, Length: len(ip6)}},
		"cooked 2, in":       {276, concat(cooked2(1, 8, 0), ip4), fromTo(four, pcap.In, "#7", from)},
		"cooked 2, out":      {276, concat(cooked2(4, 8, 0), ip4), fromTo(four, pcap.Out, "#7", from)},
		"PPP":                {9, concat([]byte{0, 0x21}, ip4), four},
		"PPP, short":         {9, concat([]byte{0x57}, ip6), six},
		"PPP, HDLC":          {50, concat([]byte{0xff, 3, 0, 0x57}, ip6), six},
		"PPP, LCP":           {9, []byte{0xc0, 0x21, 1}, pcap.Packet{Data: []byte{1}, Length: 1}},
		"PPP, out":           {204, concat([]byte{1, 0xff, 3, 0, 0x21}, ip4), fromTo(four, pcap.Out, "", nil)},
		"PPPoE":              {51, concat([]byte{0x11, 0, 0, 1, 0, 23, 0, 0x21}, ip4), four},
		"PPPoE in Ethernet":  {1, concat(macs, []byte{0x88, 0x64, 0x11, 0, 0, 1, 0, 23, 0, 0x21}, ip4, make([]byte, 9)), four},
		"SNAP in Ethernet":   {1, concat(macs, []byte{0, 29, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0}, ip4, make([]byte, 9)), four},
		"HDLC of Cisco":      {104, concat([]byte{0x0f, 0, 8, 0}, ip4), four},
		"NFLOG":              {239, concat([]byte{2, 0, 0, 0, 5, 0, 10, 0, 0, 0, 0, 0, 25, 0, 9, 0}, ip4, make([]byte, 3)), four},
		"NFLOG, big-endian":  {239, concat([]byte{2, 0, 0, 0, 0, 5, 0, 10, 0, 0, 0, 0, 0, 25, 0, 9}, ip4, make([]byte, 3)), four},
		"NFLOG, nothing":     {239, []byte{2, 0, 0, 0, 3, 0, 9, 0}, pcap.Packet{}},
		"loopback":           {0, concat([]byte{2, 0, 0, 0}, ip4), four},
		"loopback, OpenBSD":  {108, concat([]byte{0, 0, 0, 24}, ip6), six},
	} {
		o := binary.LittleEndian
		file := concat(pcapFile(o, 0xa1b2c3d4, 262144, c.linkType), pcapPacket(o, 123_456, len(c.data), c.data))
		got, err := readAll(t, bytes.NewReader(file))
		c.want.Time = at
		if diff := cmp.Diff([]pcap.Packet{c.want}, got, cmp.Comparer(bytes.Equal)); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// A packet that the capture truncated keeps its original length.
func TestTruncatedPacketHasItsLength(t *testing.T) {
	t.Parallel()
	o := binary.LittleEndian
	frame := concat(make([]byte, 12), []byte{8, 0}, ip4)
	file := concat(pcapFile(o, 0xa1b2c3d4, 20, 1), pcapPacket(o, 0, 60, frame[:24]))

	got, err := readAll(t, bytes.NewReader(file))

	if err != nil || len(got) != 1 || len(got[0].Data) != 10 || got[0].Length != 46 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestUnknownLinkTypeIsAnError(t *testing.T) {
	t.Parallel()
	o := binary.LittleEndian
	_, err := readAll(t, bytes.NewReader(concat(pcapFile(o, 0xa1b2c3d4, 20, 147), pcapPacket(o, 0, 1, []byte("x")))))
	if err == nil || !strings.Contains(err.Error(), "link type 147") {
		t.Errorf("got %v", err)
	}
}
