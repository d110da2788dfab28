package report

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// drawn prints a sequence as text: the gap that each arrow crosses and its direction, how often, and its label.
func drawn(s sequence) []string {
	out := []string{strings.Join(s.Lifelines, " | ")}
	for _, k := range s.Messages {
		m := k.Item
		if k.Gap > 0 {
			out = append(out, fmt.Sprintf("… %d more", k.Gap))
			continue
		}
		line := fmt.Sprintf("%d+%d %s %s ×%d %s", m.Gap, m.Wide, m.Toward, m.What, m.Times, m.Ends())
		if m.Lost() {
			line += " lost: " + m.Reason
		}
		out = append(out, line)
	}
	return out
}

func TestPacketsOfNeighbouringPortsShareAnArrow(t *testing.T) {
	t.Parallel()
	got := drawn(results(t)["full-table"].sequence())
	want := []string{
		"tun0 | host",
		"1+1 right SYN ×7 198.18.0.2:10000–10006 → 192.0.2.1:80",
		"1+1 right SYN ×3 198.18.0.2:10007–10009 → 192.0.2.1:80 lost: conntrack table full",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestArrowsRunBetweenTheHostAndTheirLink(t *testing.T) {
	t.Parallel()
	frame := func(link, dir string, src, dst int) Frame {
		return Frame{
			Link: link, Dir: dir, Line: fmt.Sprintf("IP 1.1.1.1.%d > 2.2.2.2.%d: Flags [F.], seq 1", src, dst), What: "FIN+ACK", Detail: "seq 1",
			Src: addrPort(fmt.Sprintf("1.1.1.1:%d", src)), Dst: addrPort(fmt.Sprintf("2.2.2.2:%d", dst)),
		}
	}
	got := drawn(Data{
		Links: []Link{{Name: "a"}, {Name: "unused"}, {Name: "b"}},
		Frames: []Frame{
			frame("b", In, 1, 9), frame("a", Out, 1, 9), frame("a", In, 1, 9), frame("b", Out, 1, 9), frame("c", In, 1, 9),
			frame("c", In, 1, 11), frame("c", In, 1, 15), frame("c", In, 1, 19), frame("c", In, 2, 19), {Link: "a", Dir: In, Line: "ARP, length 28", What: "ARP, length 28"},
		},
	}.sequence())
	want := []string{
		"a | host | b | c",
		"2+1 left FIN+ACK ×1 1.1.1.1:1 → 2.2.2.2:9",
		"1+1 left FIN+ACK ×1 1.1.1.1:1 → 2.2.2.2:9",
		"1+1 right FIN+ACK ×1 1.1.1.1:1 → 2.2.2.2:9",
		"2+1 right FIN+ACK ×1 1.1.1.1:1 → 2.2.2.2:9",
		"2+2 left FIN+ACK ×4 1.1.1.1:1 → 2.2.2.2:9, 11, 15 … 19",
		"2+2 left FIN+ACK ×1 1.1.1.1:2 → 2.2.2.2:19",
		"1+1 right ARP, length 28 ×1 ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Of a long conversation the beginning is drawn, and the lost packets.
func TestLostPacketsAreAlwaysDrawn(t *testing.T) {
	t.Parallel()
	var d Data
	for i := range 1000 {
		f := Frame{Link: "a", Dir: In, What: fmt.Sprintf("a line of its own: %d", i)}
		if i == 900 {
			f.Verdict, f.Reason = Dropped, "here"
		}
		d.Frames = append(d.Frames, f)
	}
	got := drawn(d.sequence())[maxMessages*2/3+1:]
	want := []string{"… 860 more", "1+1 right a line of its own: 900 ×1  lost: here", "… 99 more"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestFurtherLinksShareALifeline(t *testing.T) {
	t.Parallel()
	var d Data
	for i := range 20 {
		d.Frames = append(d.Frames, Frame{Link: fmt.Sprint("link", i), Dir: In})
	}
	s := d.sequence()
	want := "link0 | host | link1 | link2 | link3 | link4 | link5 | other links"
	if diff := cmp.Diff(want, strings.Join(s.Lifelines, " | ")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTuplesAreWrittenAsEndpoints(t *testing.T) {
	t.Parallel()
	got := []string{
		Ends(nf.Tuple{Proto: nf.TCP, Src: addrPort("198.18.0.2:10000"), Dst: addrPort("192.0.2.1:80")}),
		Ends(nf.Tuple{Proto: nf.UDP, Src: addrPort("[2001:db8::2]:1"), Dst: addrPort("[2001:db8::1]:2")}),
		Ends(nf.Tuple{Proto: nf.ICMP, Src: addrPort("1.1.1.1:0"), Dst: addrPort("2.2.2.2:0"), ICMP: nf.ICMPTuple{Type: 8, ID: 7}}),
		Ends(nf.Tuple{Proto: nf.GRE, Src: addrPort("1.1.1.1:0"), Dst: addrPort("2.2.2.2:16")}),
		since(71 * time.Microsecond), since(12 * time.Second), since(-time.Millisecond), took(900 * time.Microsecond), took(2600 * time.Microsecond), took(90 * time.Second),
	}
	want := []string{
		"198.18.0.2:10000 → 192.0.2.1:80", "[2001:db8::2]:1 → [2001:db8::1]:2", "1.1.1.1 → 2.2.2.2 type=8 code=0 id=7", "1.1.1.1 → 2.2.2.2 srckey=0x0 dstkey=0x10",
		"+0.071 ms", "+12.000 s", "-1.000 ms", "900 µs", "2.6 ms", "90.0 s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
