package ctexp

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/report"
)

// in is a frame that came in by tun0.
func in(p packet.Packet) packet.Record {
	f := p.On("tun0", packet.In)
	f.Time = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	return f
}

// fatesOf returns fates of frames of which nothing is known.
func fatesOf(frames ...packet.Record) (fates []Fate) {
	for _, f := range frames {
		fates = append(fates, Fate{Frame: f})
	}
	return fates
}

// dataOf returns the frames of a report.
func dataOf(fates []Fate) report.Data {
	d := report.Data{Time: fates[0].Frame.Time}
	for _, f := range fates {
		d.Frames = append(d.Frames, reportFrame(f, d.Time))
	}
	return d
}

// Frames that differ in a port of one side and in nothing else are one line; others, and those with another fate, are not.
func TestFramesAreFoldedByTheirPorts(t *testing.T) {
	t.Parallel()
	flow := func(src, dst string) packet.Flow {
		return packet.Flow{Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst)}
	}
	web := flow("198.18.0.2:10000", "192.0.2.1:80")
	six := flow("[2001:db8::2]:7", "[2001:db8::1]:80")
	var frames []packet.Record
	for _, f := range []packet.Flow{
		web, flow("198.18.0.2:10001", "192.0.2.1:80"), flow("198.18.0.2:10003", "192.0.2.1:80"), // sources
		flow("198.18.0.2:10004", "192.0.2.1:80"),                                           // dropped
		flow("198.18.0.3:10004", "192.0.2.1:80"), flow("198.18.0.3:10004", "192.0.2.1:81"), // destinations
		flow("198.18.0.3:10005", "192.0.2.1:81"),
		six, six, flow("[2001:db8::2]:8", "[2001:db8::1]:80"),
	} {
		frames = append(frames, in(packet.SYN(f)))
	}
	for i := range 2 {
		frames = append(frames, in(packet.Echo(netip.AddrFrom4([4]byte{198, 18, 0, byte(2 + i)}), web.Dst.Addr(), 1, 1, nil)))
	}
	fates := fatesOf(frames...)
	fates[3].Lost, fates[3].Causes = true, []observe.Cause{{Kind: observe.CauseTableFull}}
	fates[6].State, fates[6].Invalid = "INVALID", true

	got, rest := frameLines(dataOf(fates))

	const at, syn = "12:00:00.000000 tun0 In  ", ": Flags [S], seq 1, win 65535, length 0"
	want := []string{
		at + "IP 198.18.0.2.10000, 10001, 10003 > 192.0.2.1.80" + syn + " ×3",
		at + "IP 198.18.0.2.10004 > 192.0.2.1.80" + syn + " (dropped: conntrack table full)",
		at + "IP 198.18.0.3.10004 > 192.0.2.1.80–81" + syn + " ×2",
		at + "IP 198.18.0.3.10005 > 192.0.2.1.81" + syn + " (INVALID)",
		at + "IP6 2001:db8::2.7 > 2001:db8::1.80" + syn + " ×2",
		at + "IP6 2001:db8::2.8 > 2001:db8::1.80" + syn,
		at + "IP 198.18.0.2 > 192.0.2.1: ICMP echo request, id 1, seq 1, length 8",
		at + "IP 198.18.0.3 > 192.0.2.1: ICMP echo request, id 1, seq 1, length 8",
	}
	if diff := cmp.Diff(want, got); diff != "" || rest != "" {
		t.Errorf("and %q (-want +got):\n%s", rest, diff)
	}
}

// What does not fit is counted, by frames and not by lines. A single line more is shown.
func TestFramesThatDoNotFitAreCounted(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{maxFrameLines + 1: "", maxFrameLines + 2: "4 more, 2 of them dropped"} {
		var fates []Fate
		for i := range n {
			f := packet.Flow{Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, 0, byte(i)}), 1), Dst: netip.MustParseAddrPort("192.0.2.1:80")}
			twice := fatesOf(slices.Repeat([]packet.Record{in(packet.SYN(f))}, 2)...)
			twice[0].Lost, twice[1].Lost = i == maxFrameLines, i == maxFrameLines
			fates = append(fates, twice...)
		}
		got, rest := frameLines(dataOf(fates))
		if shown := min(n, maxFrameLines+1) - min(1, len(want)); len(got) != shown || rest != want {
			t.Errorf("of %d lines %d are shown, and then %q, want %d and %q", n, len(got), rest, shown, want)
		}
	}
}

// A list that is one line too long is shown whole, because saying so would take a line, too.
func TestListsAreCutToTheirLength(t *testing.T) {
	t.Parallel()
	lines := []string{"1", "2", "3", "4", "5"}
	for n, want := range map[int]string{0: "", 2: "1\n2\n", 3: "1\n2\n3\n", 4: "1\n2\n… 2 more\n", 5: "1\n2\n… 3 more\n"} {
		var w text
		w.list(lines[:n], 2)
		if diff := cmp.Diff(want, w.String()); diff != "" {
			t.Errorf("%d lines, of which two fit (-want +got):\n%s", n, diff)
		}
	}
}

// Reasons that differ in their numbers are said once.
func TestReasonsAreGrouped(t *testing.T) {
	t.Parallel()
	packet := in(packet.SYN(packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:1"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}))
	var reasons []observe.Reason
	for _, text := range []string{"SEQ is over upper bound 7", "bad checksum", "SEQ is over upper bound 8"} {
		reasons = append(reasons, observe.Reason{Time: packet.Time, Link: "tun0", Packet: packet.Packet, Text: text, Proto: nf.TCP})
	}
	const at = "12:00:00.000000 tun0 IP 198.18.0.2.1 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0: tcp: "
	if diff := cmp.Diff([]string{at + "SEQ is over upper bound 7 ×2", at + "bad checksum"}, reasonLines(reasons)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Of many rules those are shown that have counted, and of the others it is said whether they could have.
func TestRulesThatCountedAreShown(t *testing.T) {
	t.Parallel()
	rules := func(hit, idle, blind int) (all []observe.Rule) {
		for i := range hit + idle + blind {
			r := observe.Rule{Text: fmt.Sprint(i), Kind: observe.KindRule, Counted: i < hit+idle}
			if i < hit {
				r.Packets = 1
			}
			all = append(all, r)
		}
		return all
	}
	type answer struct {
		Shown int
		Rest  string
	}
	got := map[string]answer{}
	for name, r := range map[string][]observe.Rule{
		"few": rules(1, 7, 1), "many": rules(2, 58, 0), "many that counted": rules(10, 50, 0), "no counters": rules(0, 1, 10),
	} {
		shown, rest := ruleLines(r)
		got[name] = answer{len(shown), rest}
	}
	want := map[string]answer{
		"few": {9, ""}, "many": {2, "58 more, none counted"}, "many that counted": {8, "52 more, 2 of them counted"},
		"no counters": {0, "11 more, none counted, 10 have no counter"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
