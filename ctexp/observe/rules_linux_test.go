package observe_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

func (l lab) rules() []string {
	l.Helper()
	rules, err := l.o.Rules(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	var s []string
	for _, r := range rules {
		s = append(s, r.String())
	}
	return s
}

const firewall = `
table inet fw {
	counter http { }
	quota much { 10 mbytes }
	chain dns {
		counter
	}
	chain in {
		type filter hook input priority 0; policy drop;
		ct state invalid counter drop
		tcp dport 80 counter name http
		tcp dport 80 counter accept comment "the web"
		ip saddr 198.18.0.0/15 udp dport { 53, 5353 } counter jump dns
		socket transparent 1 counter accept
		meta nfproto ipv6 icmpv6 type echo-request limit rate 5/second counter accept
	}
}
table ip nat {
	chain pre {
		type nat hook prerouting priority dstnat;
		iifname "tun0" tcp dport 8080 counter dnat to 192.0.2.1:80
		ct mark set 0x2a
	}
}`

func TestRulesOfNFTables(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(firewall)}})
	x.sendSYNs(3, web)
	x.send(web.UDP(nil), web.Reverse().UDP(nil))

	want := []string{
		"nft inet fw dns: counter [packets 0 bytes 0]",
		"nft inet fw in: ct state invalid counter drop [packets 0 bytes 0]",
		`nft inet fw in: tcp dport 80 counter name "http"`,
		`nft inet fw in: tcp dport 80 counter accept comment "the web" [packets 3 bytes 120]`,
		"nft inet fw in: ip saddr 198.18.0.0/15 udp dport { 53, 5353 } counter jump dns [packets 0 bytes 0]",
		"nft inet fw in: socket transparent 1 counter accept [packets 0 bytes 0]",
		"nft inet fw in: icmpv6 type echo-request limit rate 5/second counter accept [packets 0 bytes 0]",
		"nft inet fw in: policy drop",
		"nft inet fw: counter http [packets 3 bytes 120]",
		`nft ip nat pre: iifname "tun0" tcp dport 8080 counter dnat to 192.0.2.1:80 [packets 0 bytes 0]`,
		"nft ip nat pre: ct mark set 0x0000002a",
	}
	if diff := cmp.Diff(want, x.rules()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A rule about one direction of a flow is read with its direction.
func TestRulesOfADirection(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(`table inet raw {
	chain pre {
	type filter hook prerouting priority raw;
	ct original zone set meta iifname map { "tun0" : 1 }
	ct reply zone set 2
	meta l4proto tcp ct original proto-dst 80 counter
	ct zone 1 ct direction original accept
	}
}`)}})
	want := []string{
		`nft inet raw pre: ct original zone set iifname map { "tun0" : 1 }`,
		"nft inet raw pre: ct reply zone set 2",
		"nft inet raw pre: meta l4proto tcp ct original proto-dst 80 counter [packets 0 bytes 0]",
		"nft inet raw pre: ct zone 1 ct direction original accept",
	}
	if diff := cmp.Diff(want, x.rules()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRulesOfIPTables(t *testing.T) {
	t.Parallel()
	for _, v := range []netnsenv.Variant{netnsenv.IPTablesLegacy, netnsenv.IPTablesNFT} {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.IPTables(v,
				"-t mangle -A PREROUTING",
				"-t mangle -N web",
				`-t mangle -A PREROUTING -p tcp --dport 80 -m comment --comment "to the web" -j web`,
				"-t mangle -P FORWARD DROP",
			)}})
			x.sendSYNs(3, web)

			var got []string
			for _, r := range x.rules() {
				if !strings.Contains(r, "policy ACCEPT") { // counted by the legacy variant alone, and of no interest
					got = append(got, r)
				}
			}
			prefix := string(v) + " ip mangle "
			want := []string{
				prefix + "PREROUTING:  [packets 3 bytes 120]",
				prefix + `PREROUTING: -p tcp -m tcp --dport 80 -m comment --comment "to the web" -j web [packets 3 bytes 120]`,
				prefix + "FORWARD: policy DROP [packets 0 bytes 0]",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Reading the rules must not create any: iptables-legacy creates and registers a table that it is asked for.
func TestReadingRulesCreatesNone(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	if got := x.rules(); got != nil {
		t.Errorf("rules of a fresh namespace: %q", got)
	}
	err := x.env.Do(func() error {
		names, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
		if err == nil && len(names) > 0 {
			t.Errorf("tables of iptables-legacy: %q", names)
		}
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func BenchmarkRules(b *testing.B) {
	x := open(b, netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.NFT(firewall)}})
	var rules []observe.Rule
	for b.Loop() {
		var err error
		if rules, err = x.o.Rules(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	_ = rules
}
