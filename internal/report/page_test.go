package report

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatWasSaidAndMeasuredStandSideBySide(t *testing.T) {
	t.Parallel()
	r := Row{Said: []Field{{"speed", "2 Mpps"}, {"raw", "10"}, {"mangle", "10"}}, Got: []Field{{"raw", "10"}, {"mangle", "7"}, {"entries", "7"}}}
	want := []pair{{"raw", "10", "10", false}, {"mangle", "10", "7", true}, {"entries", "", "7", false}, {"speed", "2 Mpps", "", false}}
	if diff := cmp.Diff(want, r.pairs()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestVerdictsAreCountedInTheirOrder(t *testing.T) {
	t.Parallel()
	p := Page{Rows: []Row{{Verdict: "odd"}, {Verdict: "refuted"}, {Verdict: "confirmed"}, {Verdict: "confirmed", Error: "no"}, {}, {Verdict: "odd"}, {Verdict: "confirmed"}}}
	want := []share{{"confirmed", 2}, {"refuted", 1}, {noAnswer, 2}, {"odd", 2}}
	if diff := cmp.Diff(want, p.shares()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRunsAreSummedUpInALine(t *testing.T) {
	t.Parallel()
	run := func(points ...Point) view {
		d := Data{Path: Path{Points: points}}
		for i, p := range points[1:] {
			if from := points[i]; from.Hook == p.Hook && from.Packets > p.Packets {
				d.Path.Losses = append(d.Path.Losses, Loss{Family: p.Family, Hook: p.Hook, From: []string{from.Name}, To: []string{p.Name}, Lost: from.Packets - p.Packets, Of: from.Packets})
			}
		}
		return newView(d, "")
	}
	at := func(hook, stage string, n uint64) Point { return Point{stage + "/" + hook, "ipv4", hook, 0, n} }
	in := run(at("prerouting", "raw", 10), at("prerouting", "mangle", 7), at("output", "raw", 0))
	out := run(at("prerouting", "raw", 1), at("output", "raw", 7), at("output", "nat", 5), at("postrouting", "nat", 5), at("postrouting", "end", 4))

	got := []string{rowView{Runs: []view{in}}.Walk(), rowView{Runs: []view{in, out}}.Walk()}

	want := []string{
		"Where the packets went: 10 came in, 3 lost",
		"Where the packets went: 11 came in, 3 lost; 7 of the host's own; 3 lost on the way out (2 pictures)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
