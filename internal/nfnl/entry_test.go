package nfnl_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// attr returns a netlink attribute, whose value may be nested attributes.
func attr(typ uint16, value ...[]byte) []byte {
	v := bytes.Join(value, nil)
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(v)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, v...)
	return append(b, make([]byte, -len(v)&3)...)
}

func u8(v uint8) []byte   { return []byte{v} }
func u16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// nested is NLA_F_NESTED.
const nested = 1 << 15

// tupleMessage returns an attribute with an IPv4 tuple and more nested attributes.
func tupleMessage(typ uint16, src, dst string, proto byte, sport, dport uint16, more ...[]byte) []byte {
	return attr(typ|nested, append([][]byte{
		attr(1|nested, attr(1, []byte(src)), attr(2, []byte(dst))),
		attr(2|nested, attr(1, u8(proto)), attr(2, u16(sport)), attr(3, u16(dport))),
	}, more...)...)
}

const (
	client = "\xc6\x12\x00\x02" // 198.18.0.2
	server = "\xc0\x00\x02\x01" // 192.0.2.1
)

// body returns the body of a netfilter message.
func body(attrs ...[]byte) []byte {
	return append([]byte{2, 0, 0, 0}, bytes.Join(attrs, nil)...)
}

// wholeEntry returns an entry with all attributes, in the kernel's order.
func wholeEntry() []byte {
	return body(
		tupleMessage(1, client, server, 6, 10000, 80, attr(3, u16(7))),
		tupleMessage(2, server, client, 6, 80, 10000),
		attr(3, u32(0xe)), // CONFIRMED, ASSURED, SEEN_REPLY
		attr(7, u32(100)),
		attr(9|nested, attr(1, u64(2)), attr(2, u64(80))),
		attr(10|nested, attr(1, u64(3)), attr(2, u64(120)), attr(5)),
		attr(20|nested, attr(1, u64(1_700_000_000_000_000_001)), attr(2, u64(1_700_000_001_000_000_002)), attr(3)),
		attr(4|nested, attr(1|nested, attr(1, u8(3)), attr(2, u8(7)), attr(3, u8(8)), attr(4, u8(0x23), u8(0)), attr(5, u8(3), u8(0)))),
		attr(5|nested, attr(1, []byte("ftp\x00")), attr(2, u8(1))),
		attr(8, u32(0x2a)),
		attr(17, u32(1)),
		attr(19|nested, attr(1, []byte("system_u\x00"))),
		attr(22, []byte("\x05\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")),
		tupleMessage(14, client, server, 6, 9999, 21),
		attr(15|nested, attr(1, u32(1000)), attr(2, u32(0xffffffff)), attr(3, u32(4))),
		attr(16|nested, attr(1, u32(2000)), attr(2, u32(0)), attr(3, u32(5))),
		attr(24|nested, attr(1, u32(11)), attr(2, u32(12)), attr(3, u32(13))),
		attr(12, u32(9)),
		attr(11, u32(1)),
		attr(27, u64(1_700_000_002_000_000_003)),
	)
}

func TestAllAttributesAreDecoded(t *testing.T) {
	t.Parallel()
	got, when, _, err := nfnl.DecodeEvent(wholeEntry(), 16)
	if err != nil {
		t.Fatal(err)
	}
	tcp := tupleOf(nf.TCP, "198.18.0.2:10000", "192.0.2.1:80")
	want := nf.Entry{
		Orig: tcp, Reply: tcp.Reverse(), Status: nf.Confirmed | nf.Assured | nf.SeenReply, State: nf.Established,
		Timeout: 100 * time.Second, Mark: 0x2a, Zone: 7, ZoneDir: nf.Original,
		Packets: nf.DirCounts{Orig: 2, Reply: 3}, Bytes: nf.DirCounts{Orig: 80, Reply: 120},
		Labels: "0500000001", Helper: "ftp", ID: 9,
		TCP: nf.TCPInfo{
			Orig:  nf.TCPSide{Scale: 7, Flags: nf.WindowScale | nf.SACKPerm | nf.MaxACKSet},
			Reply: nf.TCPSide{Scale: 8, Flags: nf.WindowScale | nf.SACKPerm},
		},
		Start: time.Unix(1_700_000_000, 1), Stop: time.Unix(1_700_000_001, 2),
		SeqAdjust: nf.DirSeqShift{
			Orig: nf.SeqShift{Position: 1000, Before: -1, After: 4}, Reply: nf.SeqShift{Position: 2000, After: 5},
		},
		SynProxy: nf.SynProxy{ISN: 11, ITS: 12, TSOffset: 13},
		Master:   tupleOf(nf.TCP, "198.18.0.2:9999", "192.0.2.1:21"),
		SecCtx:   "system_u",
	}
	if diff := cmp.Diff(want, got, comparable); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if want := time.Unix(1_700_000_002, 3); !when.Equal(want) {
		t.Errorf("when: got %v, want %v", when, want)
	}
}

func TestStatesOfOtherProtocolsHaveNames(t *testing.T) {
	t.Parallel()
	for want, info := range map[string][]byte{
		"COOKIE_WAIT": attr(3|nested, attr(1, u8(2)), attr(2, u32(1)), attr(3, u32(2))),
		"OPEN":        attr(2|nested, attr(1, u8(4)), attr(2, u8(0)), attr(3, u64(1)), attr(4)),
		"STATE_77":    attr(3|nested, attr(1, u8(77))),
	} {
		e, unknown, err := nfnl.DecodeWhole(body(attr(4|nested, info)), 16)
		if e.OtherState != want || unknown != nil || err != nil {
			t.Errorf("got %q, %v, %v; want %q", e.OtherState, unknown, err, want)
		}
	}
}

// A later kernel may send more attributes. The others are decoded, and the first unknown one is reported.
func TestUnknownAttributesAreReported(t *testing.T) {
	t.Parallel()
	mark := attr(8, u32(5))
	for name, c := range map[string]struct {
		attrs [][]byte
		want  string
	}{
		"of the entry":    {[][]byte{attr(99, u32(1)), mark}, "netlink attribute of type 99, value at offset 24: unknown attribute of the entry"},
		"of the helper":   {[][]byte{mark, attr(5|nested, attr(3, u8(1)))}, "netlink attribute of type 3, value at offset 36: unknown attribute of the helper"},
		"of the counters": {[][]byte{mark, attr(9|nested, attr(9, u8(1)))}, "netlink attribute of type 9, value at offset 36: unknown attribute of the counters"},
		"of TCP":          {[][]byte{mark, attr(4|nested, attr(1|nested, attr(6, u8(1))))}, "netlink attribute of type 6, value at offset 40: unknown attribute of the state of TCP"},
		"the first":       {[][]byte{mark, attr(98), attr(99)}, "netlink attribute of type 98, value at offset 32: unknown attribute of the entry"},
	} {
		e, unknown, err := nfnl.DecodeWhole(body(c.attrs...), 16)
		if err != nil || unknown == nil || unknown.Error() != c.want || e.Mark != 5 {
			t.Errorf("%s: got mark %d, %v, %v; want %s", name, e.Mark, unknown, err, c.want)
		}
		if _, err := nfnl.DecodeEntry(body(c.attrs...), 16); err != nil {
			t.Errorf("%s: passed over: %v", name, err)
		}
	}
}

// Without the unknown part, a tuple might identify another flow.
func TestUnknownPartOfATupleIsAnError(t *testing.T) {
	t.Parallel()
	for want, tuple := range map[string][]byte{
		"netlink attribute of type 5, value at offset 32: unknown attribute of the addresses": attr(1|nested, attr(5, u8(1))),
		"netlink attribute of type 10, value at offset 32: unknown attribute of the protocol": attr(2|nested, attr(10, u8(1))),
		"netlink attribute of type 4, value at offset 28: unknown attribute of the tuple":     attr(4, u8(1)),
	} {
		_, _, err := nfnl.DecodeWhole(body(attr(1|nested, tuple)), 16)
		var unknown *nfnl.UnknownError
		if !errors.As(err, &unknown) || unknown.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A tuple means the same in whatever order its attributes stand.
func TestTupleIsDecodedInAnyOrder(t *testing.T) {
	t.Parallel()
	src6, dst6 := netip.MustParseAddr("2001:db8::1").As16(), netip.MustParseAddr("2001:db8::2").As16()
	ports := [][]byte{attr(1, u8(17)), attr(2, u16(10000)), attr(3, u16(80))}
	for want, addresses := range map[string][][]byte{
		"src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80":    {attr(1, []byte(client)), attr(2, []byte(server))},
		"src=2001:db8::1 dst=2001:db8::2 sport=10000 dport=80": {attr(3, src6[:]), attr(4, dst6[:])},
	} {
		ip, proto := attr(1|nested, addresses...), attr(2|nested, ports...)
		for i, tuple := range [][]byte{
			attr(1|nested, ip, proto),
			attr(1|nested, proto, ip),
			attr(1|nested, attr(1|nested, addresses[1], addresses[0]), proto),
			attr(1|nested, ip, attr(2|nested, ports[0], ports[2], ports[1])),
			attr(1|nested, ip, attr(2|nested, ports[1], ports[2], ports[0])),
		} {
			e, unknown, err := nfnl.DecodeWhole(body(tuple), 16)
			if err != nil || unknown != nil || e.Orig.Proto != nf.UDP || e.Orig.String() != want {
				t.Errorf("order %d: got %v %v, %v, %v; want %s", i, e.Orig.Proto, e.Orig, unknown, err, want)
			}
		}
	}
}

// Decoding a truncated or damaged message returns an entry or an error that contains an offset, and does not panic.
func TestTruncatedEntriesNameAnOffset(t *testing.T) {
	t.Parallel()
	b := wholeEntry()
	for n := range len(b) {
		if _, _, err := nfnl.DecodeWhole(b[:n], 16); err != nil && !strings.Contains(err.Error(), "offset") {
			t.Errorf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	for typ := range uint16(28) {
		if _, _, err := nfnl.DecodeWhole(body(attr(typ, []byte{9, 9, 9, 9, 9})), 16); err != nil && !strings.Contains(err.Error(), "offset") {
			t.Errorf("type %d: %v", typ, err)
		}
	}
}

// Nested attributes that are damaged are an error of the whole entry.
func TestDamagedPartsOfAnEntryAreErrors(t *testing.T) {
	t.Parallel()
	whole := wholeEntry()[nfnl.GenSize:]
	damaged := 0
	for at := 0; at < len(whole); {
		n, typ := int(binary.NativeEndian.Uint16(whole[at:])), binary.NativeEndian.Uint16(whole[at+2:])
		next := at + (n+3)&^3
		if typ&nested != 0 {
			damaged++
			b := slices.Concat(whole[:at], attr(typ, []byte{9, 9}), whole[next:])
			if e, err := nfnl.DecodeEntry(body(b), 16); err == nil {
				t.Errorf("type %d: %v", typ&^nested, e)
			}
		}
		at = next
	}
	if damaged < 8 {
		t.Errorf("%d parts are nested, want the tuples, the state, the helper, the counters and more", damaged)
	}
}

// The fields that DecodeEnd sets are those that DecodeWhole sets.
func TestDecodeEnd(t *testing.T) {
	t.Parallel()
	msg := body(
		tupleMessage(1, client, server, 6, 10000, 80),
		attr(3, u32(0xe)),
		attr(4|nested, attr(1|nested, attr(1, u8(uint8(nf.TimeWait))))),
		attr(7, u32(258)), attr(8, u32(5)), attr(18, u16(65535)), attr(99, u8(1)),
	)
	got, err := nfnl.DecodeEnd(msg, 16)
	want := nf.Entry{
		Status: nf.Confirmed | nf.SeenReply | nf.Assured, State: nf.TimeWait, Timeout: 258 * time.Second, Zone: 65535,
	}
	if diff := cmp.Diff(want, got, comparable); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// The zone is found whichever direction is in it.
func TestDecodeZone(t *testing.T) {
	t.Parallel()
	plain := [][]byte{tupleMessage(1, client, server, 6, 10000, 80), tupleMessage(2, server, client, 6, 80, 10000)}
	for name, c := range map[string]struct {
		attrs [][]byte
		want  uint16
	}{
		"none":           {plain, 0},
		"both":           {append(plain, attr(18, u16(7))), 7},
		"orig":           {[][]byte{tupleMessage(1, client, server, 6, 10000, 80, attr(3, u16(7))), plain[1]}, 7},
		"reply":          {[][]byte{plain[0], tupleMessage(2, server, client, 6, 80, 10000, attr(3, u16(65535)))}, 65535},
		"everything set": {[][]byte{wholeEntry()[nfnl.GenSize:]}, 7},
	} {
		if zone, err := nfnl.DecodeZone(body(c.attrs...), 16); zone != c.want || err != nil {
			t.Errorf("%s: got %d, %v; want %d", name, zone, err, c.want)
		}
	}
	for want, b := range map[string][]byte{
		"offset 16: 3 bytes are shorter":            {2, 0, 0},
		"type 18, value at offset 24: 4 bytes, wan": body(attr(18, u32(1))),
		"type 3, value at offset 28: 4 bytes, want": body(attr(1|nested, attr(3, u32(1)))),
	} {
		if _, err := nfnl.DecodeZone(b, 16); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestDecodeEndErrorsNameAnOffset(t *testing.T) {
	t.Parallel()
	for want, b := range map[string][]byte{
		"offset 16: 3 bytes are shorter":            {2, 0, 0},
		"offset 20: 2 bytes are shorter":            append(body(), 4, 0),
		"offset 28: length 9, 4 bytes are there":    append(body(attr(18, u16(1))), binary.NativeEndian.AppendUint32(nil, 9)...),
		"offset 24: length 3, 4 bytes are there":    body(attr(4, binary.NativeEndian.AppendUint32(nil, 3))),
		"value at offset 24: 1 bytes, want 4":       body(attr(3, u8(1))),
		"type 18, value at offset 24: 4 bytes, wan": body(attr(18, u32(1))),
	} {
		if _, err := nfnl.DecodeEnd(b, 16); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(wholeEntry())
	f.Add(plainEntry())
	f.Add(wholeExpectation())
	f.Fuzz(func(t *testing.T, b []byte) {
		e, _, err := nfnl.DecodeWhole(b, 16)
		end, endErr := nfnl.DecodeEnd(b, 16)
		if err == nil && (endErr != nil || end.Status != e.Status || end.State != e.State || end.Timeout != e.Timeout) {
			t.Errorf("%x: end %v, %v of %v", b, end, endErr, e)
		}
		zone, zoneErr := nfnl.DecodeZone(b, 16)
		if err == nil && (zoneErr != nil || zone != e.Zone) {
			t.Errorf("%x: zone %d, %v of %v", b, zone, zoneErr, e)
		}
		_, _, err2 := nfnl.DecodeWholeExpectation(b, 16)
		for _, err := range []error{err, err2, zoneErr} {
			if err != nil && !strings.Contains(err.Error(), "offset") {
				t.Errorf("%x: %v", b, err)
			}
		}
	})
}

func BenchmarkDecodeEntry(b *testing.B) {
	msg := wholeEntry()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := nfnl.DecodeEntry(msg, 16); err != nil {
			b.Fatal(err)
		}
	}
}

// plainEntry returns the attributes that most entries have, in the kernel's order.
func plainEntry() []byte {
	return body(
		tupleMessage(1, client, server, 6, 10000, 80), tupleMessage(2, server, client, 6, 80, 10000),
		attr(3, u32(0xe)), attr(7, u32(100)),
		attr(20|nested, attr(1, u64(1_700_000_000_000_000_001))),
		attr(4|nested, attr(1|nested, attr(1, u8(3)), attr(2, u8(7)), attr(3, u8(8)), attr(4, u8(0x23), u8(0)), attr(5, u8(3), u8(0)))),
		attr(8, u32(0)), attr(12, u32(9)), attr(11, u32(1)),
	)
}

// An entry without labels and names takes no memory of its own.
func TestPlainEntryIsDecodedInPlace(t *testing.T) {
	msg, e := plainEntry(), nf.Entry{Labels: "01", SecCtx: "of the entry before"}
	allocs := testing.AllocsPerRun(100, func() {
		if unknown, err := nfnl.DecodeInto(&e, msg, 16); err != nil || unknown != nil {
			t.Error(unknown, err)
		}
	})
	if want, err := nfnl.DecodeEntry(msg, 16); allocs != 0 || e != want || err != nil {
		t.Errorf("%v allocations, %v (-want +got):\n%s", allocs, err, cmp.Diff(want, e, comparable))
	}
}

func BenchmarkDecodePlainEntry(b *testing.B) {
	msg, e := plainEntry(), nf.Entry{}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := nfnl.DecodeInto(&e, msg, 16); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeEnd(b *testing.B) {
	msg := body(
		tupleMessage(1, client, server, 6, 10000, 80), tupleMessage(2, server, client, 6, 80, 10000), attr(3, u32(0xe)),
		attr(7, u32(100)), attr(4|nested, attr(1|nested, attr(1, u8(2)))),
	)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := nfnl.DecodeEnd(msg, 16); err != nil {
			b.Fatal(err)
		}
	}
}
