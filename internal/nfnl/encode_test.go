package nfnl_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

func tupleOf(p nf.Proto, src, dst string) nf.Tuple {
	return nf.Tuple{Proto: p, Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst)}
}

// Encoding and decoding an entry gives the same entry.
func TestEncodedEntriesDecode(t *testing.T) {
	t.Parallel()
	tcp := tupleOf(nf.TCP, "198.18.0.2:10000", "192.0.2.1:80")
	udp6 := tupleOf(nf.UDP, "[2001:db8::2]:5000", "[2001:db8::1]:53")
	echo := tupleOf(nf.ICMP, "198.18.0.2:0", "192.0.2.1:0")
	echo.ICMP = nf.ICMPTuple{Type: 8, ID: 7}
	echo6 := tupleOf(nf.ICMPv6, "[2001:db8::2]:0", "[2001:db8::1]:0")
	echo6.ICMP = nf.ICMPTuple{Type: 128, Code: 1, ID: 7}
	for name, want := range map[string]nf.Entry{
		"TCP": {
			Orig: tcp, Reply: tcp.Reverse(), Status: nf.Confirmed | nf.SeenReply, State: nf.Established, Timeout: 90 * time.Second,
			Mark: 0x01020304, Zone: 7, Helper: "ftp", Labels: "0102",
		},
		"UDP over IPv6":            {Orig: udp6, Reply: udp6.Reverse(), Timeout: time.Second},
		"ICMP":                     {Orig: echo, Reply: echo.Reverse()},
		"ICMPv6":                   {Orig: echo6, Reply: echo6.Reverse()},
		"zone of the original":     {Orig: tcp, Reply: tcp.Reverse(), Zone: 7, ZoneDir: nf.Original},
		"zone of the reply":        {Orig: tcp, Reply: tcp.Reverse(), Zone: 7, ZoneDir: nf.Reply},
		"a protocol without ports": {Orig: tupleOf(47, "198.18.0.2:0", "192.0.2.1:0"), Reply: tupleOf(47, "192.0.2.1:0", "198.18.0.2:0")},
	} {
		msg := nfnl.AppendCreate(nil, want)
		got, err := nfnl.DecodeEntry(msg[nfnl.HeaderSize:], nfnl.HeaderSize)
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// A delete request identifies the entry by its tuple, zone and ID.
func TestDeleteIdentifiesTheEntry(t *testing.T) {
	t.Parallel()
	tcp := tupleOf(nf.TCP, "198.18.0.2:10000", "192.0.2.1:80")
	msg := nfnl.AppendDelete([]byte("before"), nf.Entry{Orig: tcp, Reply: tcp.Reverse(), Mark: 1, Zone: 7, ID: 9})[len("before"):]
	got, err := nfnl.DecodeEntry(msg[nfnl.HeaderSize:], nfnl.HeaderSize)
	if diff := cmp.Diff(nf.Entry{Orig: tcp, Zone: 7, ID: 9}, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// A request to set a timeout has the entry's tuple, zone and timeout. A get request has no timeout.
func TestTimeoutIdentifiesTheEntry(t *testing.T) {
	t.Parallel()
	tcp := tupleOf(nf.TCP, "198.18.0.2:10000", "192.0.2.1:80")
	e := nf.Entry{Orig: tcp, Reply: tcp.Reverse(), Mark: 1, Zone: 7, ZoneDir: nf.Original, ID: 9}
	for _, tt := range []struct {
		msg  []byte
		want nf.Entry
	}{
		{nfnl.AppendTimeout(nil, e, 90*time.Second), nf.Entry{Orig: tcp, Zone: 7, ZoneDir: nf.Original, Timeout: 90 * time.Second}},
		{nfnl.AppendTimeout(nil, e, 0), nf.Entry{Orig: tcp, Zone: 7, ZoneDir: nf.Original}},
		{nfnl.AppendGet(nil, e), nf.Entry{Orig: tcp, Zone: 7, ZoneDir: nf.Original}},
	} {
		got, err := nfnl.DecodeEntry(tt.msg[nfnl.HeaderSize:], nfnl.HeaderSize)
		if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}

// Decoding a truncated request returns an entry or an error that contains an offset.
func FuzzTruncatedEntry(f *testing.F) {
	tcp := tupleOf(nf.TCP, "198.18.0.2:10000", "192.0.2.1:80")
	msg := nfnl.AppendCreate(nil, nf.Entry{Orig: tcp, Reply: tcp.Reverse(), State: nf.SynSent, Timeout: time.Hour, Helper: "ftp"})
	f.Add(uint16(len(msg)), uint16(0), byte(0))
	f.Add(uint16(40), uint16(22), byte(255))
	f.Fuzz(func(t *testing.T, end, at uint16, b byte) {
		m := append([]byte(nil), msg...)
		m[int(at)%len(m)] = b
		m = m[:min(max(int(end), nfnl.HeaderSize), len(m))]
		_, _ = nfnl.DecodeEntry(m[nfnl.HeaderSize:], nfnl.HeaderSize)
	})
}

func BenchmarkAppendCreate(b *testing.B) {
	tcp := tupleOf(nf.TCP, "198.18.0.2:10000", "192.0.2.1:80")
	e := nf.Entry{Orig: tcp, Reply: tcp.Reverse(), State: nf.SynSent, Timeout: time.Hour}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = nfnl.AppendCreate(buf[:0], e)
	}
}
