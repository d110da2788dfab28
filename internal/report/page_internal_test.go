package report

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSaidAndMeasuredAreSideBySide(t *testing.T) {
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
	want := []verdictCount{{"confirmed", 2}, {"refuted", 1}, {noAnswer, 2}, {"odd", 2}}
	if diff := cmp.Diff(want, p.verdictCounts()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRunsAreSummarizedInALine(t *testing.T) {
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

func TestTheWorstLossComesFirst(t *testing.T) {
	t.Parallel()
	point := []Point{{Name: "raw/prerouting", Family: "ipv4", Hook: "prerouting", Packets: 10}}
	none := []Point{{Name: "raw/prerouting", Family: "ipv4", Hook: "prerouting"}}
	got, lines := map[string][]string{}, map[string]string{}
	for name, d := range map[string]Data{
		"full table": results(t)["full-table"], "router": results(t)["router"],
		"nothing lost": {Sent: 10, Path: Path{Points: point}}, "nothing lost, and failed": {Sent: 1, Failed: true, Path: Path{Points: point}},
		"nothing lost, and netdev": {Sent: 10, Path: Path{Points: point}, Rules: []Rule{{Family: "netdev", Kind: "rule"}}},
		"nothing arrived":          {Path: Path{Points: none}}, "no probes": {},
		"no path, and failed": {Failed: true, Missing: []Missing{{PartPath, "needs probes (without them)"}}}, "no path": {Missing: []Missing{{PartPath, "no nftables"}}},
	} {
		h := d.headline()
		lines[name] = d.FirstLine()
		for _, l := range h.Losses {
			got[name] = append(got[name], fmt.Sprintf("%d of %d %s packets %s (%s %%): %s %s", l.Lost, l.Of, l.Family, l.What, l.Share, l.Why, l.Where))
		}
		if h.More > 0 {
			got[name] = append(got[name], fmt.Sprint(h.More, " more"))
		}
		if h.Title != "" {
			got[name] = append(got[name], h.Title+". "+h.Text)
		}
	}
	want := map[string][]string{
		"full table": {"3 of 10  packets lost in conntrack, prerouting (30.00 %): conntrack table full (drop +3) Met conntrack/prerouting, and not mangle/prerouting."},
		"router": {
			"80507 of 99402 IPv4 packets lost in mangle, forward (80.99 %): dropped by a rule Met mangle/forward, and not filter/forward.",
			"18888 of 37713 IPv4 packets lost after forward and output (50.08 %): no route out, or too big for the next link Met end/forward and end/output, and not mangle/postrouting.",
			"605 of 119951 IPv4 packets lost after prerouting (0.50 %): martian source (rp_filter): IPReversePathFilter +605 Met end/prerouting, and not mangle/input or mangle/forward.",
			"24 more",
		},
		"nothing lost":             {"No packet was lost on the path. 10 packets were sent."},
		"nothing lost, and failed": {"No packet was lost on the path. 1 packet was sent."},
		"nothing lost, and netdev": {"No packet was lost on the path, which does not have the rules of netdev and bridge. 10 packets were sent."},
		"nothing arrived":          {"No packet met a probe. 0 packets were sent."},
		"no probes":                {"Where the packets went was not counted. The experiment had no probes on the path."},
		"no path, and failed":      {"Where the packets went is not known. needs probes (without them)"},
		"no path":                  {"Where the packets went is not known. no nftables"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	wantLines := map[string]string{
		"full table":               "3 of 10 packets lost in conntrack, prerouting: conntrack table full (drop +3)",
		"router":                   "80507 of 99402 IPv4 packets lost in mangle, forward: dropped by a rule (and 26 more losses)",
		"nothing lost":             "no packet was lost on the path",
		"nothing lost, and failed": "no packet was lost on the path",
		"nothing lost, and netdev": "no packet was lost on the path, which does not have the rules of netdev and bridge",
		"nothing arrived":          "no packet met a probe",
		"no probes":                "where the packets went was not counted",
		"no path, and failed":      "where the packets went is not known",
		"no path":                  "where the packets went is not known",
	}
	if diff := cmp.Diff(wantLines, lines); diff != "" {
		t.Errorf("first lines (-want +got):\n%s", diff)
	}
}
