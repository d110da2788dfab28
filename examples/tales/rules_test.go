package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestRulesInTheLanguageOfIPTables(t *testing.T) {
	t.Parallel()
	var got []string
	for _, r := range append(script[:len(script):len(script)],
		inbound,
		rule{at: manglePrerouting, state: nf.StateInvalid | nf.StateUntracked},
		rule{at: filterInput, proto: nf.TCP, dport: 80, burst: 5, then: accept},
		rule{at: filterInput, proto: nf.TCP, dport: 80, then: synproxy},
		rule{at: manglePrerouting, proto: nf.TCP, dport: 80, then: queue},
	) {
		got = append(got, r.iptables())
	}
	want := []string{
		"PREROUTING -j CT", // these three as in the article
		"PREROUTING",
		"OUTPUT -p tcp --sport 80 -j DROP",
		"PREROUTING -p tcp --dport 80 -j CT --notrack",
		"PREROUTING -m conntrack --ctstate INVALID,UNTRACKED",
		"INPUT -p tcp --dport 80 -m limit --limit 1/hour --limit-burst 5 -j ACCEPT",
		"INPUT -p tcp --dport 80 -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460",
		"PREROUTING -p tcp --dport 80 -j NFQUEUE --queue-num 0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}
