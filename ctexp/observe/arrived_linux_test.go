package observe_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// A rule at ingress, which no hook comes before, is named as others are.
func TestDropsAtIngressAreNamed(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{
		"tcp dport 80 counter drop": "dropped by nft netdev u in: tcp dport 80 drop [packets 2 bytes 80]",
		"tcp dport 80 drop":         "dropped by a rule, the only one there: nft netdev u in: tcp dport 80 drop",
	} {
		for _, priority := range []string{"-500", "0"} {
			t.Run(rule+" at "+priority, func(t *testing.T) {
				t.Parallel()
				x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{
					netnsenv.NFT("table netdev u { chain in { type filter hook ingress device tun0 priority " + priority + "; " + rule + "; }; }"),
				}})
				x.send(inject.SYN(web), inject.SYN(web.Nth(1)), web.UDP(nil))
				p := x.path()
				if diff := cmp.Diff([]string{want}, x.losses()); diff != "" || p.Arrived[nf.IPv4] != 3 {
					t.Errorf("%d arrived (-want +got):\n%s", p.Arrived[nf.IPv4], diff)
				}
			})
		}
	}
}

// Fragments, and packets of both families that are sent on, are none that were lost before the hooks.
func TestNothingIsLostBeforeTheHooks(t *testing.T) {
	t.Parallel()
	cfg := router()
	cfg.Links[0].Prefixes = prefixes("198.18.0.1/24", "2001:db8::1/64")
	x := open(t, cfg)
	parts := web.UDP(make([]byte, 3000)).Fragments(1280)
	x.sendBy("tun0", append(parts, inject.SYN(web), inject.SYN(web6))...)
	p := x.path()
	for _, l := range p.Losses() {
		if l.Hook == nf.Ingress {
			t.Error(l)
		}
	}
	if diff := cmp.Diff(map[nf.Family]uint64{nf.IPv4: uint64(len(parts)) + 1, nf.IPv6: 1}, p.Arrived); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What a flowtable takes is not lost.
func TestWhatAFlowtableTakesIsNotLost(t *testing.T) {
	t.Parallel()
	cfg := router()
	cfg.Rules = []netnsenv.Ruleset{netnsenv.NFT(`table inet u {
		flowtable f { hook ingress priority 0; devices = { tun0, tun1 }; }
		chain on { type filter hook forward priority 0; ct state established flow add @f; }
	}`)}
	x := open(t, cfg)
	x.talk(handshake...)
	for range 5 {
		x.talk(client(ack, 1001, 5001, 10))
	}
	p := x.path()
	met := uint64(0)
	for _, at := range p.Points {
		if at.Probe == nf.DefragPrerouting {
			met = at.Packets
		}
	}
	if p.Arrived[nf.IPv4] != 8 || met == 8 {
		t.Errorf("%d arrived, %d met a hook: the flowtable has taken none", p.Arrived[nf.IPv4], met)
	}
	if losses := x.losses(); len(losses) != 0 {
		t.Errorf("lost: %v", losses)
	}
}

// The host's own ICMP error about a packet without an entry is none that was lost.
func TestErrorsOfTheHostAreNotLost(t *testing.T) {
	t.Parallel()
	cfg := router()
	cfg.Silent = false
	x := open(t, cfg)
	x.talk(inject.SYN(web).With(inject.TTL(1)))
	want := `
ipv4 prerouting   defrag 1 → raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → end 1
                  1 of 1 lost behind end, before mangle/input or mangle/forward: time to live exceeded (IpInHdrErrors +1)
     output       raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → security 1 → end 1
     postrouting  mangle 1 → nat 1 → confirm 1 → confirmed 0
                  1 without an entry, not lost: what the host says of packets that have none (ICMP errors, RSTs)
`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), x.path().String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
