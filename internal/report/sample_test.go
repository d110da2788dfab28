package report_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/internal/report"
)

const (
	us = time.Microsecond
	ms = time.Millisecond
)

// fullTable is the first test of the README with a wrong claim.
func fullTable() report.Data {
	d := report.Data{
		Test: "TestFullTableDropsNewFlows", Failed: true,
		Failures: []report.Failure{{Place: "first_test.go:38", Text: "10 SYNs into a table with room for 7 (-want +got):\n" +
			"\u00a0\u00a0observe.Tally{\n\u00a0\u00a0\tPackets: map[string]uint64{\n" +
			"- \t\t\"mangle/prerouting\": 10,\n+ \t\t\"mangle/prerouting\": 7,\n\u00a0\u00a0\t\t\"raw/prerouting\":    10,\n\u00a0\u00a0\t},\n" +
			"\u00a0\u00a0\tEntries: 7,\n- \tDropped: 0,\n+ \tDropped: 3,\n\u00a0\u00a0\t... // 4 identical fields\n\u00a0\u00a0}\n"}},
		Commands: []report.Command{
			{For: "run it again", Line: "go test -run '^TestFullTableDropsNewFlows$' github.com/ctexp/go-ctexp/examples/firsttest"},
			{For: "keep its namespace open", Line: "CTEXP_HOLD=1 go test -timeout 0 -run '^TestFullTableDropsNewFlows$' github.com/ctexp/go-ctexp/examples/firsttest"},
		},
		Time: time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC), Took: 2600 * us,
		Kernel:   "6.18.44",
		Versions: []report.Software{{Name: "ctexp", Version: "v0.1.0"}, {Name: "go", Version: "go1.26.8"}},
		Links:    []report.Link{{Name: "tun0", Kind: "tun", MTU: 1500, Addrs: []string{"192.0.2.1/24", "2001:db8::1/64"}}},
		Room:     report.Room{Limited: true, Free: 7, Filler: 262137, Limit: 262144},
		Sent:     10,
		Path: report.Path{
			Points: append(standard("ipv4", map[string][]uint64{
				"prerouting": {10, 10, 10, 7, 7, 7, 7}, "input": {7, 7, 7, 7, 7, 7},
			}), standard("ipv6", nil)...),
			Losses: []report.Loss{{
				Family: "ipv4", Hook: "prerouting", From: []string{"conntrack/prerouting"}, To: []string{"mangle/prerouting"}, Lost: 3, Of: 10,
				Causes: []report.Cause{{Kind: "table full", Certain: true, Packets: 3}}, SetUp: "room for 7 entries",
				Why: "conntrack table full (drop +3)", Evidence: []string{"ports 10007, 10008, 10009", "early_drop 0"},
			}},
			Silenced: 7,
		},
		Tally: []report.Count{{Name: "raw/prerouting", N: 10}, {Name: "mangle/prerouting", N: 7}, {Name: "entries", N: 7}, {Name: "dropped", N: 3}, {Name: "evicted"}, {Name: "collected"}},
		Laws: []report.Law{
			{Law: "before = behind + dropped", Verdict: report.Holds, Why: "10 = 7 + 3"},
			{Law: "min(before, free) ≤ behind", Verdict: report.Holds, Why: "min(10, 7) ≤ 7"},
			{Law: "entries ≤ min(before, free)", Verdict: report.Broken, Why: "8 > min(10, 7)"},
		},
		Stats: []report.Count{{Name: "drop", N: 3}, {Name: "early_drop"}, {Name: "invalid"}, {Name: "insert_failed"}, {Name: "clash_resolve"}, {Name: "chaintoolong"}},
		Sysctls: []report.Sysctl{
			{Name: "net.netfilter.nf_conntrack_tcp_loose", Before: "1", After: "0", By: "Config"},
			{Name: "net.netfilter.nf_conntrack_events", Before: "2", After: "1", By: "ctexp"},
			{Name: "net.netfilter.nf_conntrack_log_invalid", Before: "0", After: "255", By: "ctexp"},
			{Name: "net.netfilter.nf_log.2", Before: "NONE", After: "nfnetlink_log", By: "ctexp"},
		},
		Rules: []report.Rule{
			{Backend: "nft", Family: "ip", Table: "filter", Chain: "input", Kind: "policy", Text: "accept"},
			{Backend: "nft", Family: "ip", Table: "filter", Chain: "input", Kind: "rule", Text: "tcp dport 80 ct state new counter accept", Counted: true, Packets: 7, Bytes: 280},
		},
	}
	for i := range 10 {
		at := time.Duration(9*i) * us
		f := line(report.Frame{At: at, Link: "tun0", Dir: report.In}, fmt.Sprintf("IP 198.18.0.2.%d > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0", 10000+i))
		m := report.Moment{At: at, Kind: "frame", Frame: i + 1, Line: "tun0 In  " + f.Line}
		if i < 7 {
			f.State, f.Verdict = "NEW SYN_SENT [UNREPLIED]", report.Accepted
			flow := fmt.Sprintf("tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=%d dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=%d", 10000+i, 10000+i)
			d.Flows = append(d.Flows, report.Flow{
				Line: flow, Proto: "tcp", State: "SYN_SENT", Status: "CONFIRMED", Timeout: 120, Life: []string{"NEW SYN_SENT"},
				Orig:      fmt.Sprintf("src=198.18.0.2 dst=192.0.2.1 sport=%d dport=80", 10000+i),
				Reply:     fmt.Sprintf("src=192.0.2.1 dst=198.18.0.2 sport=80 dport=%d", 10000+i),
				OrigEnds:  fmt.Sprintf("198.18.0.2:%d → 192.0.2.1:80", 10000+i),
				ReplyEnds: fmt.Sprintf("192.0.2.1:80 → 198.18.0.2:%d", 10000+i),
			})
			d.Timeline = append(d.Timeline, m, report.Moment{At: at + 3*us, Kind: "event", Frame: i + 1, Line: "NEW " + flow})
		} else {
			f.State, f.Verdict, f.Reason = "no entry", report.Dropped, "conntrack table full"
			f.Causes, f.SetUp = []report.Cause{{Kind: "table full", Certain: true}}, true
			m.Loss = true
			d.Timeline = append(d.Timeline, m, report.Moment{At: at + 2*us, Kind: "count", Line: fmt.Sprintf("drop +1 (%d)", i-6), Loss: true})
		}
		d.Frames = append(d.Frames, f)
	}
	return d
}

// standard returns the standard probes of a family with their counts; a hook that is not in packets has zeros.
func standard(family string, packets map[string][]uint64) []report.Point {
	var out []report.Point
	for _, h := range []struct {
		hook   string
		stages []string
		prio   []int
	}{
		{"prerouting", []string{"defrag", "raw", "conntrack", "mangle", "nat", "filter", "end"}, []int{-2147483647, -301, -201, -199, -101, -1, 2147483647}},
		{"input", []string{"mangle", "filter", "security", "nat", "confirm", "confirmed"}, []int{-2147483647, -1, 49, 99, 2147483647, 2147483647}},
		{"forward", []string{"mangle", "filter", "security", "end"}, []int{-2147483647, -1, 49, 2147483647}},
		{"output", []string{"raw", "conntrack", "mangle", "nat", "filter", "security", "end"}, []int{-2147483647, -201, -199, -101, -1, 49, 2147483647}},
		{"postrouting", []string{"mangle", "nat", "confirm", "confirmed"}, []int{-2147483647, 99, 2147483647, 2147483647}},
	} {
		for i, s := range h.stages {
			name := s + "/" + h.hook
			if family == "ipv6" {
				name = "ip6/" + name
			}
			p := report.Point{Name: name, Family: family, Hook: h.hook, Priority: h.prio[i]}
			if n := packets[h.hook]; n != nil {
				p.Packets = n[i]
			}
			out = append(out, p)
		}
	}
	return out
}

// line sets the line of a frame and the fields derived from it.
func line(f report.Frame, line string) report.Frame {
	f.Line, f.What = line, line
	m := regexp.MustCompile(`^IP6? (\S+) > (\S+): (?:Flags \[(\S+)\]|([^,]*))(?:, (.*))?$`).FindStringSubmatch(line)
	if m == nil {
		return f
	}
	end := func(s string) netip.AddrPort {
		if a, err := netip.ParseAddr(s); err == nil {
			return netip.AddrPortFrom(a, 0)
		}
		i := strings.LastIndexByte(s, '.')
		port, _ := strconv.Atoi(s[i+1:])
		a, _ := netip.ParseAddr(s[:i])
		return netip.AddrPortFrom(a, uint16(port))
	}
	flags := map[string]string{"S": "SYN", "S.": "SYN+ACK", "P.": "PSH+ACK", "R": "RST"}
	f.Src, f.Dst, f.What, f.Detail = end(m[1]), end(m[2]), flags[m[3]]+m[4], m[5]
	return f
}

// losses returns the differences between neighbours within a hook.
func losses(points []report.Point, why func(from, to report.Point) string) []report.Loss {
	var out []report.Loss
	for i, to := range points[1:] {
		from := points[i]
		if from.Hook == to.Hook && from.Family == to.Family && from.Packets > to.Packets {
			out = append(out, report.Loss{Family: from.Family, Hook: from.Hook, From: []string{from.Name}, To: []string{to.Name}, Unconfirmed: to.Stage() == "confirmed", Lost: from.Packets - to.Packets, Of: from.Packets, Why: why(from, to)})
		}
	}
	return out
}

// router is a host between two links that loses packets at every possible place.
func router() report.Data {
	d := report.Data{
		Test: "TestRouter/loses_something_at_every_stage/with_a_rather_long_name_of_the_case", Failed: true, Time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Took: 1204 * ms, Kernel: "6.18.44", Sent: 119993,
		Links: []report.Link{{Name: "tun0", Kind: "tun", MTU: 1500, Addrs: []string{"192.0.2.1/24"}}, {Name: "tun1", Kind: "tun", MTU: 1400, Addrs: []string{"203.0.113.1/24"}}},
		Failures: []report.Failure{
			{Place: "router_test.go:61", Text: "life of the flow (-want +got):\n  []string{\n  \t\"NEW SYN_SENT\",\n  \t\"UPDATE SYN_RECV\",\n- \t\"UPDATE ESTABLISHED [ASSURED]\",\n  \t\"DESTROY\",\n  }\n"},
			{Text: "and the flow is gone"},
		},
		Path: report.Path{Points: append(standard("ipv4", map[string][]uint64{
			"prerouting": {119993, 119986, 119979, 119972, 119965, 119958, 119951},
			"input":      {19944, 19937, 19930, 19923, 19916, 19909}, "forward": {99402, 18895, 18888, 18881},
			"output": {18874, 18867, 18860, 18853, 18846, 18839, 18832}, "postrouting": {18825, 18818, 18811, 18804},
		}), standard("ipv6", map[string][]uint64{
			"prerouting": {12, 12, 12, 12, 12, 12, 12}, "forward": {12, 12, 12, 9}, "postrouting": {9, 9, 9, 0},
		})...)},
		Missing: []report.Missing{
			{Part: report.PartStats, Why: "read the statistics: operation not permitted"},
			{Part: report.PartRules, Why: "iptables-legacy is not there (install iptables)"},
			{Part: "reasons", Why: "reasons: another process reads NFLOG group 0"},
		},
		Omitted: report.Omitted{Frames: 119900, Timeline: 4000, Flows: 12},
	}
	d.Path.Losses = losses(d.Path.Points, func(from, to report.Point) string {
		switch from.Stage() {
		case "filter":
			return "dropped by rule nft inet fw forward: ip saddr 198.51.100.0/24 meta iifname \"tun0\" drop"
		case "confirm":
			return "invalid +2"
		case "conntrack":
			return "2 conntrack table full (drop +9), 5 dropped by a rule"
		case "defrag":
			return "fragments reassembled, or dropped by a rule"
		}
		return "dropped by a rule"
	})
	d.Path.Losses = append(d.Path.Losses,
		report.Loss{Family: "ipv4", Hook: "prerouting", From: []string{"end/prerouting"}, To: []string{"mangle/input", "mangle/forward"}, Lost: 605, Of: 119951, Why: "martian source (rp_filter): IPReversePathFilter +605"},
		report.Loss{Family: "ipv4", Hook: "forward", From: []string{"end/forward", "end/output"}, To: []string{"mangle/postrouting"}, Lost: 18888, Of: 37713, Why: "no route out, or too big for the next link"})
	conversation := []struct {
		link, dir, line, state, verdict, reason string
	}{
		{"tun0", report.In, "IP 198.18.0.2.10000 > 203.0.113.7.80: Flags [S], seq 1, win 65535, length 0", "NEW SYN_SENT [UNREPLIED]", report.Accepted, ""},
		{"tun1", report.Out, "IP 192.0.2.1.10000 > 203.0.113.7.80: Flags [S], seq 1, win 65535, length 0", "NEW SYN_SENT [UNREPLIED]", "", ""},
		{"tun1", report.In, "IP 203.0.113.7.80 > 192.0.2.1.10000: Flags [S.], seq 1, ack 2, win 65535, length 0", "ESTABLISHED SYN_RECV", report.Accepted, ""},
		{"tun0", report.Out, "IP 203.0.113.7.80 > 198.18.0.2.10000: Flags [S.], seq 1, ack 2, win 65535, length 0", "ESTABLISHED SYN_RECV", "", ""},
		{"tun0", report.In, "IP 198.18.0.2.10000 > 203.0.113.7.80: Flags [P.], seq 900000:900010, ack 2, win 65535, length 10", "INVALID", report.Dropped, "SEQ is over upper bound 66537 (over the window of the receiver)"},
		{"tun1", report.In, "IP 203.0.113.7.80 > 192.0.2.1.10000: Flags [R], seq 77, win 0, length 0", "INVALID", report.Dropped, "invalid rst"},
		{"tun1", report.In, "ARP, length 28", "", "", ""},
		{"tun0", report.In, "IP6 2001:db8:f::2.10000 > 2001:db8::1.80: Flags [S], seq 1, win 65535, length 0", "NEW SYN_SENT [UNREPLIED]", report.Accepted, ""},
		{"tun0", report.Out, "IP6 2001:db8::1 > 2001:db8:f::2: ICMP6, port unreachable for (IP6 2001:db8:f::2.10000 > 2001:db8::1.80: Flags [S], seq 1, win 65535, length 0), length 88", "RELATED", "", ""},
	}
	for i, c := range conversation {
		f := line(report.Frame{At: time.Duration(i*i) * 137 * us, Link: c.link, Dir: c.dir, State: c.state, Verdict: c.verdict, Reason: c.reason}, c.line)
		if i == 8 { // an ICMP error with what it quotes
			f.What, f.Detail = "ICMP6 port unreachable", "for (IP6 2001:db8:f::2.10000 > 2001:db8::1.80: Flags [S], seq 1, win 65535, length 0), length 88"
		}
		if c.verdict == report.Dropped {
			f.Steps = []string{"ip fw prerouting: ct state invalid counter drop → drop", "ip fw prerouting: policy accept"}
		}
		d.Frames = append(d.Frames, f)
		d.Timeline = append(d.Timeline, report.Moment{At: f.At, Kind: "frame", Frame: i + 1, Line: c.link + " " + c.dir + " " + c.line, Loss: c.verdict == report.Dropped})
		if c.reason != "" {
			d.Timeline = append(d.Timeline, report.Moment{At: f.At + us, Kind: "reason", Frame: i + 1, Line: "INVALID: " + c.reason})
		}
	}
	for i := range 80 {
		d.Frames = append(d.Frames, line(report.Frame{At: time.Duration(20+i) * ms, Link: "tun0", Dir: report.In, State: "NEW"}, fmt.Sprintf("IP 198.18.0.2.%d > 203.0.113.7.%d: UDP, length 1", 20000+i, 53+i)))
	}
	d.Flows = []report.Flow{
		{Line: "…", Proto: "tcp", State: "ESTABLISHED", Status: "SEEN_REPLY,ASSURED,CONFIRMED,SRC_NAT,SRC_NAT_DONE,DST_NAT_DONE", Timeout: 431999, Mark: 7, Zone: 2, Packets: [2]int64{3, 1}, Bytes: [2]int64{140, 44},
			Orig: "src=198.18.0.2 dst=203.0.113.7 sport=10000 dport=80", Reply: "src=203.0.113.7 dst=192.0.2.1 sport=80 dport=10000", OrigEnds: "198.18.0.2:10000 → 203.0.113.7:80", ReplyEnds: "203.0.113.7:80 → 192.0.2.1:10000", NAT: "src 198.18.0.2:10000 to 192.0.2.1:10000",
			Life: []string{"NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]"}},
		{Line: "…", Proto: "icmpv6", Orig: "src=2001:db8:f::2 dst=2001:db8::1 type=128 code=0 id=7", Reply: "src=2001:db8::1 dst=2001:db8:f::2 type=129 code=0 id=7", Status: "CONFIRMED", Timeout: 30,
			OrigEnds: "2001:db8:f::2 → 2001:db8::1 type=128 code=0 id=7", ReplyEnds: "2001:db8::1 → 2001:db8:f::2 type=129 code=0 id=7"},
	}
	return d
}

// passed is a test that passed, with nothing lost.
func passed() report.Data {
	return report.Data{
		Test: "TestEverythingArrives", Sent: 1, Kernel: "6.18.44", Took: 900 * us,
		Links: []report.Link{{Name: "veth0", Kind: "veth", MTU: 1500}},
		Path:  report.Path{Points: standard("ipv4", map[string][]uint64{"prerouting": {1, 1, 1, 1, 1, 1, 1}, "input": {1, 1, 1, 1, 1, 1}})},
		Frames: []report.Frame{
			line(report.Frame{At: 5 * us, Link: "veth0", Dir: report.In, State: "NEW [UNREPLIED]", Verdict: report.Accepted}, "IP 198.18.0.2.10000 > 192.0.2.1.53: UDP, length 12"),
		},
	}
}

// hostile has text that may break pages: markup, control characters, endless words, huge numbers.
func hostile() report.Data {
	const markup = `</style></script><script>alert(1)</script><img src=x onerror=alert(2)>"'` + "`{{.}}javascript:alert(3)"
	long := ""
	for range 40 {
		long += "endlessword"
	}
	const most = 1<<64 - 1
	d := report.Data{
		Test: "Test" + markup + "\x1b[31m\x00\u202egnorw\xff", Failed: true, Failures: []report.Failure{{Place: markup, Text: markup + "\n- " + markup + "\n+ " + long}}, Commands: []report.Command{{For: markup, Line: long}}, Kernel: markup, Sent: most,
		Links: []report.Link{{Name: markup, Kind: long, Addrs: []string{markup}}}, Versions: []report.Software{{Name: markup, Version: long}},
		Tally: []report.Count{{Name: markup, N: -1 << 63}, {Name: long, N: 1<<63 - 1}}, Stats: []report.Count{{Name: markup, N: -5}, {Name: long}},
		Laws: []report.Law{{Law: markup, Verdict: markup, Why: long}}, Sysctls: []report.Sysctl{{Name: markup, Before: long, After: markup}},
		Flows:   []report.Flow{{Line: markup, Proto: markup, State: long, Orig: "src=" + markup + " dst=" + long, Reply: markup, OrigEnds: markup + long, ReplyEnds: markup, Status: markup, Life: []string{markup, long}, NAT: markup, Helper: markup}},
		Rules:   []report.Rule{{Backend: markup, Family: markup, Table: markup, Chain: markup, Kind: markup, Text: long, Counted: true, Packets: most, Bytes: most}},
		Missing: []report.Missing{{Part: markup, Why: long}, {Part: report.PartFrames, Why: markup}}, Artifacts: []string{markup, "javascript:alert(4)"},
		Timeline: []report.Moment{{At: 1 << 62, Kind: markup, Line: long, Loss: true}, {At: -5, Kind: "frame", Line: markup}},
		Frames: []report.Frame{
			{Link: markup, Dir: markup, Line: markup, What: markup, Detail: long, State: markup, Verdict: report.Dropped, Reason: long, Steps: []string{markup, long}},
			line(report.Frame{Link: long, Dir: report.In, State: long}, "IP 1.2.3.4.5 > 6.7.8.9.10: "+long),
		},
		Path: report.Path{Silenced: most, Points: []report.Point{
			{Name: markup, Family: markup, Hook: markup, Packets: most}, {Name: long + "/x", Family: markup, Hook: markup, Packets: 12345678},
			{Name: "日本語日本語日本語/x", Family: markup, Hook: markup, Packets: 0}, {Name: "a/b", Family: "ipv4", Hook: "prerouting", Packets: 3},
		}},
	}
	d.Path.Losses = []report.Loss{
		{Family: markup, From: []string{markup}, To: []string{long + "/x"}, Causes: []report.Cause{{Kind: markup, Rule: report.Rule{Text: markup}, Counter: long, Reason: markup, Logged: []string{markup}}}, Lost: most, Of: 0, Why: markup, Evidence: []string{long, markup}},
		{Family: markup, From: []string{markup}, To: []string{markup}, Lost: 5, Of: 9, Why: long},
	}
	return d
}

// run is an experiment as the page of claims shows it.
func run(name string, d report.Data) report.Data {
	return report.Data{Test: name, Links: d.Links, Path: d.Path, Rules: []report.Rule{{Text: "iptables -t raw -A PREROUTING -j CT"}, {Text: "iptables -t mangle -A PREROUTING"}}}
}

// claims is a page of many rows.
func claims() report.Page {
	return report.Page{
		Title: "Conntrack tales", Said: "article", Intro: "Asked on Linux 6.18.44: rules by nft, 10 packets, 7 entries free in a full table.",
		Rows: []report.Row{
			{ID: "table-full", Claim: "with 7 entries free, 3 of 10 SYNs vanish between raw and mangle", Verdict: "confirmed",
				Said: []report.Field{{Name: "captured", Value: "10"}, {Name: "raw", Value: "10"}, {Name: "mangle", Value: "7"}}, Quote: "they were hard dropped",
				Got: []report.Field{{Name: "captured", Value: "10"}, {Name: "raw", Value: "10"}, {Name: "mangle", Value: "7"}, {Name: "entries", Value: "7"}, {Name: "dropped", Value: "3"}},
				Why: "conntrack drops a packet that needs an entry and gets none", Reports: []report.Data{fullTable()},
				Runs: []report.Data{run("run 1 of 2", fullTable()), run("run 2 of 2", passed())}},
			{ID: "xdp", Claim: "an XDP program sees what conntrack drops", Verdict: "changed", Said: []report.Field{{Name: "seen", Value: "7"}, {Name: "speed", Value: "2 Mpps"}}, Got: []report.Field{{Name: "seen", Value: "10"}}, Why: "since 6.1"},
			{ID: "early-drop", Claim: "early_drop needs un-assured entries", Verdict: "refined", Why: "and only in the same eight buckets"},
			{ID: "errno", Claim: "sendto fails with EPERM", Verdict: "refuted", Said: []report.Field{{Name: "errno", Value: "EPERM"}}, Got: []report.Field{{Name: "errno", Value: "ENOBUFS"}},
				Runs: []report.Data{run("10 packets", passed()), {Test: "again", Missing: []report.Missing{{Part: report.PartPath, Why: "path: needs nftables"}}}}},
			{ID: "policy-counters", Claim: "policy counters count only if there is at least one rule in the chain", Verdict: "unsupported", Quote: "work only if there is at least one rule inside it", Why: "nftables has none"},
			{ID: "flood", Claim: "a flood of a million", Error: "open /dev/net/tun: permission denied"},
		},
	}
}
