package observe

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pcap"
)

// Until the kernel stamps packets their stamps are read times. From then on all stamps are valid, even of packets
// that arrive while they are being read.
func TestReadTimesAreNotTimeStamps(t *testing.T) {
	t.Parallel()
	s := stamps{empty: us(1)}
	var got []time.Time
	for _, c := range []struct{ stamp, read, empty int }{
		{stamp: 10, read: 9, empty: 12},
		{stamp: 20, read: 20, empty: 22},
		{stamp: 25, read: 30, empty: 32},
		{stamp: 41, read: 40, empty: 42},
	} {
		got = append(got, s.of(us(c.stamp), us(c.read)))
		s.empty = us(c.empty)
	}
	if diff := cmp.Diff([]time.Time{us(1), us(12), us(25), us(41)}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// block returns a ring block with these packets.
func block(packets ...string) []byte {
	b := make([]byte, blockHeader)
	binary.NativeEndian.PutUint32(b[blockPackets:], uint32(len(packets)))
	binary.NativeEndian.PutUint32(b[blockFirst:], blockHeader)
	for i, p := range packets {
		f := make([]byte, frameLLEnd, 256)
		binary.NativeEndian.PutUint32(f[frameSec:], uint32(i+1))
		binary.NativeEndian.PutUint32(f[frameNsec:], 5000)
		binary.NativeEndian.PutUint32(f[frameSnaplen:], uint32(len(p)))
		binary.NativeEndian.PutUint32(f[frameLen:], uint32(len(p)))
		binary.NativeEndian.PutUint16(f[frameMAC:], frameLLEnd)
		binary.NativeEndian.PutUint16(f[frameNet:], frameLLEnd)
		binary.BigEndian.PutUint16(f[llProtocol:], header.EtherTypeIPv4)
		binary.NativeEndian.PutUint32(f[llIfindex:], 2)
		f[llPkttype] = 4
		f = append(f, p...)
		f = append(f, make([]byte, (8-len(f)%8)%8)...)
		if i < len(packets)-1 {
			binary.NativeEndian.PutUint32(f[frameNext:], uint32(len(f)))
		}
		b = append(b, f...)
	}
	return b
}

// walk parses all frames of a block.
func walk(b []byte, n int) (frames []rawFrame, err error) {
	at := 0
	for i := range n {
		if at, err = nextFrame(b, i, at); err != nil {
			return frames, err
		}
		f, err := parseFrame(b, at)
		if err != nil {
			return frames, err
		}
		frames = append(frames, f)
	}
	return frames, nil
}

func TestParseFramesOfABlock(t *testing.T) {
	t.Parallel()
	got, err := walk(block("one", "three"), 2)
	if err != nil {
		t.Fatal(err)
	}
	want := []rawFrame{
		{time: time.Unix(1, 5000), link: 2, protocol: header.EtherTypeIPv4, direction: 4, bytes: []byte("one")},
		{time: time.Unix(2, 5000), link: 2, protocol: header.EtherTypeIPv4, direction: 4, bytes: []byte("three")},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(rawFrame{}, vlanTag{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The kernel keeps the outermost tag beside the frame. A tun and most tunnels have no Ethernet header.
func TestPartsOfFrames(t *testing.T) {
	t.Parallel()
	ether := string(make([]byte, 12))
	tag := vlanTag{true, header.EtherTypeVLAN, 0x2007}
	type parts struct {
		Ethernet string
		Type     uint16
		Packet   string
	}
	for name, c := range map[string]struct {
		raw  rawFrame
		want parts
	}{
		"Ethernet": {rawFrame{hardware: arphrdEther, network: 14, bytes: []byte(ether + "\x08\x06arp")}, parts{ether + "\x08\x06", header.EtherTypeARP, "arp"}},
		"tag beside": {
			rawFrame{hardware: arphrdEther, network: 14, vlanTag: tag, bytes: []byte(ether + "\x08\x00ip")},
			parts{ether + "\x81\x00\x20\x07\x08\x00", header.EtherTypeIPv4, "ip"},
		},
		"tags beside and within": {
			rawFrame{hardware: arphrdEther, network: 14, vlanTag: tag, bytes: []byte(ether + "\x81\x00\x00\x09\x86\xddip6")},
			parts{ether + "\x81\x00\x20\x07\x81\x00\x00\x09\x86\xdd", header.EtherTypeIPv6, "ip6"},
		},
		"tag cut":    {rawFrame{hardware: arphrdEther, network: 14, protocol: header.EtherTypeVLAN, bytes: []byte(ether + "\x81\x00\x20")}, parts{ether + "\x81\x00", header.EtherTypeVLAN, "\x20"}},
		"header cut": {rawFrame{hardware: arphrdEther, network: 14, bytes: []byte("short")}, parts{}},
		"loopback":   {rawFrame{hardware: arphrdLoopback, network: 14, bytes: []byte(ether + "\x08\x00ip")}, parts{ether + "\x08\x00", header.EtherTypeIPv4, "ip"}},
		"tun":        {rawFrame{hardware: 0xfffe, protocol: header.EtherTypeIPv4, bytes: []byte("ip")}, parts{"", header.EtherTypeIPv4, "ip"}},
		"tunnel":     {rawFrame{hardware: 778, network: 4, protocol: header.EtherTypeIPv6, bytes: []byte("gre ip6")}, parts{"", header.EtherTypeIPv6, "ip6"}},
	} {
		ethernet, typ, packet := c.raw.parts()
		if diff := cmp.Diff(c.want, parts{string(ethernet), typ, string(packet)}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestFramesBeyondTheBlockAreErrors(t *testing.T) {
	t.Parallel()
	past := block("one", "two")
	binary.NativeEndian.PutUint32(past[blockHeader+frameNext:], 1<<20)
	long := block("one")
	binary.NativeEndian.PutUint32(long[blockHeader+frameSnaplen:], 1<<31)
	for name, c := range map[string]struct {
		block []byte
		n     int
	}{
		"more frames than there are": {block("one"), 2},
		"next frame past the block":  {past, 2},
		"packet past the block":      {long, 1},
		"no header":                  {make([]byte, 4), 1},
	} {
		if got, err := walk(c.block, c.n); err == nil {
			t.Errorf("%s: got %v and no error", name, got)
		}
	}
}

func FuzzParseBlock(f *testing.F) {
	f.Add(block("one", "two", "three"))
	f.Add(make([]byte, blockHeader))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		if len(b) >= blockHeader {
			n = int(min(binary.NativeEndian.Uint32(b[blockPackets:]), 1000))
		}
		frames, _ := walk(b, n)
		for _, f := range frames {
			_, _, p := f.parts()
			_ = string(p)
		}
	})
}

// A file without frames is one of raw packets.
func TestLayerOfFrames(t *testing.T) {
	t.Parallel()
	syn := packet.SYN(packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:1"), Dst: netip.MustParseAddrPort("192.0.2.1:80")})
	raw := syn.On("tun0", packet.In)
	framed := raw
	framed.Ethernet = make([]byte, header.EthernetSize)
	arp := packet.Record{EtherType: header.EtherTypeARP, Packet: make([]byte, 28)}
	var got []pcap.Layer
	for _, frames := range [][]packet.Record{nil, {raw}, {framed}, {raw, framed}, {arp, raw}} {
		got = append(got, layerOf(slices.Values(frames)))
	}
	if diff := cmp.Diff([]pcap.Layer{pcap.Raw, pcap.Raw, pcap.Ethernet, pcap.Cooked, pcap.Cooked}, got); diff != "" {
		t.Errorf("none, raw, Ethernet, both, and not IP (-want +got):\n%s", diff)
	}
}
