package nf_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func TestEntryPrintsItselfLikeConntrack(t *testing.T) {
	t.Parallel()
	syn := web4.Tuple(nf.TCP)
	echo := packet.Echo(web4.Src.Addr(), web4.Dst.Addr(), 7, 1, nil).Tuple()
	for _, tt := range []struct {
		entry nf.Entry
		want  string
	}{
		{
			nf.Entry{Orig: syn, Reply: syn.Reverse(), State: nf.SynSent, Status: nf.Confirmed, ID: 9, Timeout: 120},
			"tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000",
		},
		{
			nf.Entry{Orig: echo, Reply: echo.Reverse(), Status: nf.SeenReply | nf.Assured, Mark: 1, Zone: 2, Helper: "ftp", Labels: "01"},
			"icmp src=198.18.0.2 dst=192.0.2.1 type=8 code=0 id=7 src=192.0.2.1 dst=198.18.0.2 type=0 code=0 id=7 [ASSURED] mark=1 zone=2 helper=ftp labels=01",
		},
	} {
		if got := tt.entry.String(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestEntryInBrief(t *testing.T) {
	t.Parallel()
	of := func(p nf.Proto, s nf.TCPState, other string, st nf.Status) string {
		return nf.Entry{Orig: nf.Tuple{Proto: p}, State: s, OtherState: other, Status: st}.Brief()
	}
	got := []string{
		of(nf.TCP, nf.SynSent, "", nf.Confirmed),
		of(nf.TCP, nf.SynRecv, "", nf.SeenReply|nf.Confirmed),
		of(nf.TCP, nf.Established, "", nf.SeenReply|nf.Assured|nf.Confirmed),
		of(nf.UDP, 0, "", 0),
		of(nf.ICMP, 0, "", nf.SeenReply),
		of(nf.SCTP, 0, "COOKIE_WAIT", 0),
	}
	want := []string{"SYN_SENT [UNREPLIED]", "SYN_RECV", "ESTABLISHED [ASSURED]", "udp [UNREPLIED]", "icmp", "COOKIE_WAIT [UNREPLIED]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNATIsTheDifferenceOfTheTuples(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		line string
		want nf.NAT
		text string
	}{
		"none": {
			"udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1",
			nf.NAT{}, "",
		},
		"SNAT": {
			"udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=192.0.2.9 sport=2 dport=1024",
			nf.NAT{Src: nf.Translation{From: addr("10.0.0.1:1"), To: addr("192.0.2.9:1024")}},
			"src 10.0.0.1:1 to 192.0.2.9:1024",
		},
		"another port alone": {
			"udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=600",
			nf.NAT{Src: nf.Translation{From: addr("10.0.0.1:1"), To: addr("10.0.0.1:600")}},
			"src 10.0.0.1:1 to 10.0.0.1:600",
		},
		"DNAT": {
			"tcp CLOSE src=10.0.0.1 dst=192.0.2.9 sport=1 dport=80 src=10.0.0.3 dst=10.0.0.1 sport=8080 dport=1",
			nf.NAT{Dst: nf.Translation{From: addr("192.0.2.9:80"), To: addr("10.0.0.3:8080")}},
			"dst 192.0.2.9:80 to 10.0.0.3:8080",
		},
		"both": {
			"tcp CLOSE src=fd00::1 dst=fd00::2 sport=1 dport=80 src=fd00::3 dst=fd00::4 sport=8080 dport=9",
			nf.NAT{
				Src: nf.Translation{From: addr("[fd00::1]:1"), To: addr("[fd00::4]:9")},
				Dst: nf.Translation{From: addr("[fd00::2]:80"), To: addr("[fd00::3]:8080")},
			},
			"src [fd00::1]:1 to [fd00::4]:9, dst [fd00::2]:80 to [fd00::3]:8080",
		},
		"the identifier of an echo": {
			"icmp src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=7 src=10.0.0.2 dst=192.0.2.9 type=0 code=0 id=8",
			nf.NAT{Src: nf.Translation{From: addr("10.0.0.1:7"), To: addr("192.0.2.9:8")}},
			"src 10.0.0.1:7 to 192.0.2.9:8",
		},
	} {
		e, err := nf.ParseEntry(tt.line)
		if err != nil {
			t.Fatal(err)
		}
		got := e.NAT()
		if diff := cmp.Diff(tt.want, got, comparable); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got.String() != tt.text {
			t.Errorf("%s: got %q, want %q", name, got, tt.text)
		}
	}
	if got := (nf.Entry{}).NAT(); got != (nf.NAT{}) {
		t.Errorf("of nothing: %v", got)
	}
}

func TestPartsOfAnEntryPrintThemselves(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value fmt.Stringer
		want  string
	}{
		{nf.WindowScale | nf.SACKPerm | nf.SimultaneousOpen, "WINDOW_SCALE,SACK_PERM,SIMULTANEOUS_OPEN"},
		{nf.TCPTrackFlags(0), ""},
		{nf.SeqShift{Position: 1000, Before: -2, After: 4}, "+4 from 1000 on, -2 before"},
		{nf.Direction(0), "both"}, {nf.Original, "original"}, {nf.Reply, "reply"}, {nf.Direction(3), "direction(3)"},
	} {
		if got := tt.value.String(); got != tt.want {
			t.Errorf("%#v: %q, want %q", tt.value, got, tt.want)
		}
	}
	if f := nf.CloseInit | nf.BeLiberal; !f.Has(nf.CloseInit) || f.Has(nf.CloseInit|nf.MaxACKSet) {
		t.Errorf("%v", f)
	}
}

func TestZoneOfADirection(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		dir         nf.Direction
		orig, reply uint16
	}{{0, 5, 5}, {nf.Original, 5, 0}, {nf.Reply, 0, 5}} {
		e := nf.Entry{Zone: 5, ZoneDir: tt.dir}
		if orig, reply := e.ZoneOf(nf.Original), e.ZoneOf(nf.Reply); orig != tt.orig || reply != tt.reply {
			t.Errorf("%v: got %d and %d", tt.dir, orig, reply)
		}
	}
}

func TestFilterSelectsByEachField(t *testing.T) {
	t.Parallel()
	syn := web4.Tuple(nf.TCP)
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	e := nf.Entry{
		Orig: syn, Reply: flow("10.0.0.7:8080", "198.18.0.2:10000").Tuple(nf.TCP), Status: nf.Confirmed | nf.Assured, Mark: 0x15, Zone: 3,
		State: nf.Established, Start: noon,
	}
	for _, tt := range []struct {
		filter nf.Filter
		want   bool
	}{
		{nf.Filter{}, true},
		{nf.Filter{Family: nf.IPv4}, true},
		{nf.Filter{Family: nf.IPv6}, false},
		{nf.Filter{Mark: 5, MarkMask: 0xf}, true},
		{nf.Filter{Mark: 5, MarkMask: ^uint32(0)}, false},
		{nf.Filter{Status: nf.Assured, StatusMask: nf.Assured}, true},
		{nf.Filter{StatusMask: nf.Assured}, false},
		{nf.Filter{Zone: nf.InZone(3)}, true},
		{nf.Filter{Zone: nf.InZone(0)}, false},
		{nf.Filter{Proto: nf.TCP}, true},
		{nf.Filter{Proto: nf.UDP}, false},
		{nf.Filter{Tuple: syn}, true},
		{nf.Filter{Tuple: e.Reply}, true},
		{nf.Filter{Tuple: packet.SYN(web4.Nth(1)).Tuple()}, false},
		{nf.Filter{Src: netip.MustParsePrefix("198.18.0.2/32")}, true},
		{nf.Filter{Src: netip.MustParsePrefix("192.0.2.0/24")}, false},
		{nf.Filter{Dst: netip.MustParsePrefix("192.0.2.0/24")}, true},
		{nf.Filter{Dst: netip.MustParsePrefix("198.18.0.0/15")}, false},
		{nf.Filter{Addr: netip.MustParsePrefix("10.0.0.0/8")}, true},
		{nf.Filter{Addr: netip.MustParsePrefix("2001:db8::/32")}, false},
		{nf.Filter{SrcPort: 10000, DstPort: 80}, true},
		{nf.Filter{SrcPort: 80}, false},
		{nf.Filter{DstPort: 8080}, false},
		{nf.Filter{Port: 8080}, true},
		{nf.Filter{Port: 10000}, true},
		{nf.Filter{Port: 22}, false},
		{nf.Filter{State: nf.Established}, true},
		{nf.Filter{State: nf.SynSent}, false},
		{nf.Filter{Before: noon.Add(1)}, true},
		{nf.Filter{Before: noon}, false},
		{nf.Filter{After: noon.Add(-1)}, true},
		{nf.Filter{After: noon}, false},
	} {
		if got := tt.filter.Match(e); got != tt.want {
			t.Errorf("%+v: %v", tt.filter, got)
		}
	}
	udp := nf.Entry{Orig: web4.Tuple(nf.UDP)}
	for _, f := range []nf.Filter{{State: nf.Established}, {Before: noon}, {After: noon}} {
		if f.Match(udp) {
			t.Errorf("%+v selects an entry of UDP whose age is not known", f)
		}
	}
}
