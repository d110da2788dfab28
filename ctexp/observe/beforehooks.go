package observe

import (
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// What comes before the hooks has names like those of a probe: what the links have brought. ingressHook is
// NF_INET_INGRESS (include/uapi/linux/netfilter.h, enum nf_inet_hooks), where chains of the family netdev stand, too.
const (
	linkIngress          = "link/ingress"
	ingressHook  nf.Hook = 5
	ingressOther         = droppedByRule + " at ingress, for another host on the link, or with a header that is none"
)

// mibBeforeHooks are the causes before any hook (net/ipv4/ip_input.c, ip_rcv_core; net/ipv6/ip6_input.c, ip6_rcv_core).
var mibBeforeHooks = map[nf.Family][]mibCause{
	nf.IPv4: {
		{"IpExtInCsumErrors", "a bad checksum of the IP header"},
		{"IpExtInTruncatedPkts", "fewer bytes than the IP header says"},
	},
	nf.IPv6: {
		{"Ip6InTruncatedPkts", "fewer bytes than the IPv6 header says"},
	},
}

// thrownBeforeHooks are the reasons there that no counter of a namespace has.
var thrownBeforeHooks = []mibCause{
	{"OTHERHOST", "for another host on the link"},
	{"IP_INHDR", "a header that is none"},
	{"IPV6DISABLED", "IPv6 is off on the link"},
}

// beforeHooks returns what was lost between the links and the first probe of the path: what the kernel's counters tell,
// and where it was counted what the links have brought, also the rest.
func (p Path) beforeHooks(f nf.Family, first *Point) []Loss {
	if first == nil || first.Probe.Hook != nf.Prerouting || first.Probe.Priority >= nf.PriorityDefrag {
		return nil
	}
	var why []string
	var told uint64
	for _, c := range mibBeforeHooks[f] {
		if n := p.MIB[c.name]; n > 0 {
			why = append(why, fmt.Sprintf("%s (%s +%d)", c.why, c.name, n))
			told += n
		}
	}
	rest := monus(p.Arrived[f], first.Packets+told)
	if rest > 0 {
		rest, why = p.atIngress(f, rest, why)
	}
	if told+rest == 0 {
		return nil
	}
	from := linkIngress
	if f == nf.IPv6 {
		from = "ip6/" + from
	}
	return []Loss{{
		Family: f, From: from, To: name(first.Probe), Lost: told + rest, Of: max(p.Arrived[f], first.Packets+told+rest),
		Why: strings.Join(why, "; "),
	}}
}

// atIngress says why packets of which no counter tells did not get to the hooks, and how many of them were lost for sure:
// with a flowtable, or with links that are ports of others, only those that a rule has counted.
func (p Path) atIngress(f nf.Family, rest uint64, why []string) (uint64, []string) {
	told := uint64(0)
	for _, c := range thrownBeforeHooks {
		if n := p.thrown(f, c.name); n > 0 {
			why = append(why, fmt.Sprintf("%s (%s %d)", c.why, c.name, n))
			told += n
		}
	}
	if told >= rest {
		return rest, why
	}
	rules, counted := "", uint64(0)
	for _, d := range p.Drops {
		if d.Hook == ingressHook && d.Rule.meets(f) {
			counted += d.dropped()
			rules = p.byRule(nf.Probe{Hook: ingressHook, Family: f, Priority: nf.PriorityFirst}, nf.Probe{Priority: nf.PriorityConfirm})
		}
	}
	if p.Elsewhere {
		rest = min(rest, told+counted)
	}
	switch {
	case rest <= told:
	case rules != "":
		why = append(why, rules)
	case why != nil:
		why = append(why, "else "+ingressOther)
	default:
		why = append(why, ingressOther)
	}
	return rest, why
}

// BeforeHooks reports whether the packets met no hook at all.
func (l Loss) BeforeHooks() bool { return strings.HasSuffix(l.From, linkIngress) }

// name returns the key of a probe.
func name(p nf.Probe) string {
	if p.Name == "" {
		return p.DefaultName()
	}
	return p.Name
}
