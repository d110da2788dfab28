package observe

import (
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// CauseKind is what makes a packet disappear, or continue without an entry.
type CauseKind string

// The kinds of causes.
const (
	CauseUnknown         CauseKind = "unknown"          // no rule, counter or reason explains it
	CauseHeld            CauseKind = "held"             // it waits in a queue (NFQUEUE) for a verdict; it is not lost
	CauseTableFull       CauseKind = "table full"       // conntrack dropped it, almost always because the table was full
	CauseRule            CauseKind = "rule"             // a rule or a policy dropped it
	CauseNAT             CauseKind = "nat"              // NAT dropped it, as ICMP redirects and errors that it cannot translate; no rule there drops
	CauseHelper          CauseKind = "helper"           // a conntrack helper dropped it
	CauseReassembled     CauseKind = "reassembled"      // a fragment that was reassembled into a packet, or that waits for the other fragments
	CauseDefrag          CauseKind = "defragmentation"  // defragmentation refused a fragment
	CauseHeaderChecksum  CauseKind = "header checksum"  // the checksum of the IPv4 header is wrong
	CauseTruncated       CauseKind = "truncated"        // the packet is shorter than its IP header says
	CauseMalformedHeader CauseKind = "malformed header" // the IP header is malformed
	CauseOtherHost       CauseKind = "other host"       // the frame's destination is another host on the link
	CauseIPv6Disabled    CauseKind = "ipv6 disabled"    // IPv6 is disabled on the link
	CauseReversePath     CauseKind = "reverse path"     // rp_filter: the source is not reachable by that link
	CauseMartian         CauseKind = "martian"          // an address that is not valid on this link
	CauseNoRoute         CauseKind = "no route"         // there is no route to the destination
	CauseRefusingRoute   CauseKind = "refusing route"   // a route or a routing rule that refuses: blackhole, unreachable, prohibit
	CauseNotForwarding   CauseKind = "not forwarding"   // the destination is another host, and this one does not forward
	CauseHopLimit        CauseKind = "hop limit"        // the time to live or the hop limit was exceeded
	CauseTooBig          CauseKind = "too big"          // larger than the MTU of the next link, and not to be fragmented
	CauseQdisc           CauseKind = "qdisc"            // the queueing discipline of the link dropped it
	CauseFarEnd          CauseKind = "far end"          // the other end of the link did not take it
	CauseChecksum        CauseKind = "checksum"         // the checksum of the transport header is wrong
	CauseSocketFull      CauseKind = "socket full"      // the receive buffer of the socket was full
	CauseNoSocket        CauseKind = "no socket"        // no socket on the host accepts it
	CauseInvalid         CauseKind = "invalid"          // conntrack called it INVALID
	CauseICMPError       CauseKind = "invalid icmp"     // conntrack called an ICMP packet INVALID
	CauseInsertFailed    CauseKind = "insert failed"    // its entry could not be inserted at the confirmation
	CauseUntracked       CauseKind = "untracked"        // it is not tracked: notrack, or conntrack is off
	CauseDropReason      CauseKind = "kernel's reason"  // another drop reason of the kernel (enum skb_drop_reason), in Reason
)

// causeTexts describes the kinds in words.
var causeTexts = map[CauseKind]string{
	CauseUnknown:         "an unknown reason",
	CauseHeld:            "held in a queue",
	CauseTableFull:       "conntrack table full",
	CauseRule:            "dropped by a rule",
	CauseNAT:             "dropped by NAT",
	CauseHelper:          "dropped by a conntrack helper",
	CauseReassembled:     "fragments reassembled or incomplete",
	CauseDefrag:          "refused by defragmentation",
	CauseQdisc:           "dropped by the queueing discipline of the link",
	CauseFarEnd:          "not taken by the other end of the link",
	CauseChecksum:        "a bad checksum",
	CauseSocketFull:      "the socket's receive buffer was full",
	CauseHeaderChecksum:  "a bad checksum of the IP header",
	CauseTruncated:       "fewer bytes than the IP header says",
	CauseMalformedHeader: "a malformed header",
	CauseOtherHost:       "for another host on the link",
	CauseIPv6Disabled:    "IPv6 is disabled on the link",
	CauseReversePath:     "the source is not reachable by that link (rp_filter)",
	CauseMartian:         "a martian address",
	CauseNoRoute:         "no route",
	CauseRefusingRoute:   "a route that refuses",
	CauseNotForwarding:   "not for this host, which does not forward",
	CauseHopLimit:        "time to live exceeded",
	CauseTooBig:          "too big for the next link",
	CauseNoSocket:        "no socket",
	CauseInvalid:         "invalid",
	CauseICMPError:       "icmp_error",
	CauseInsertFailed:    "insert_failed",
	CauseUntracked:       "untracked, or conntrack is off",
	CauseDropReason:      "dropped by the kernel",
}

// Cause is why packets of a Loss are missing, or why one packet is.
type Cause struct {
	Kind CauseKind // what made the packets disappear
	// Certain says that this many Packets of the loss are known to have this cause. The causes that are not certain
	// are alternatives: each packet that the certain ones do not explain has one of them.
	Certain bool
	// Packets is the number of packets that the evidence below counts. It may be higher than the loss, because a
	// counter or a rule may also count packets of other places. Zero if the cause is not certain.
	Packets uint64
	// Rule is the rule or policy of a CauseRule. The zero Rule means an unknown rule.
	Rule Rule
	// Queue is the number of the queue of a CauseHeld, in which Packets wait.
	Queue uint16
	// Traced says that tracing showed Rule to drop Packets; otherwise Packets is what the rule has counted.
	Traced bool
	// Counter is the kernel counter that counted Packets: "drop" or "invalid" of conntrack's statistics, or
	// "IpExtInNoRoutes" as nstat calls it. Empty if there is none.
	Counter string
	// Reason is the kernel's drop reason for Packets (include/net/dropreason-core.h, enum skb_drop_reason, without
	// the prefix): "IP_RPFILTER". Empty if it is not known.
	Reason string
	// Refusals are the routes and routing rules of a CauseRefusingRoute, or those that a CauseNoRoute may be, as in Path.Refusals.
	Refusals []Refusal
	// Link is the link that dropped Packets, for CauseQdisc and CauseFarEnd.
	Link string
	// Logged is what conntrack logged about packets that it called INVALID, or a helper about those that it dropped, the
	// most frequent first. Nil: logs were
	// not available. Packets beyond those in Logged were called INVALID without a log message.
	Logged []ReasonCount
}

// String prints the cause with its evidence: "conntrack table full (drop +3)", "dropped by nft ip filter input: tcp
// dport 80 drop [packets 3 bytes 120]".
func (c Cause) String() string {
	switch {
	case c.Kind == CauseRule:
		return "dropped by " + c.rule()
	case c.Kind == CauseHeld && c.Packets > 0:
		return fmt.Sprintf("held in queue %d (%d waiting)", c.Queue, c.Packets)
	case c.Kind == CauseNAT && c.Certain:
		return c.text() + ", as ICMP redirects and errors that it cannot translate; no rule there drops"
	case c.Kind == CauseInvalid, c.Kind == CauseICMPError, c.Kind == CauseHelper:
		return c.invalid()
	case c.Counter == "insert_failed":
		return fmt.Sprintf("insert_failed +%d: another entry has its tuple, as when NAT has no port left", c.Packets)
	case c.Kind == CauseDropReason:
		return c.Reason
	case c.Kind == CauseRefusingRoute:
		return c.text() + c.refusals()
	case c.Kind == CauseNoRoute && len(c.Refusals) > 0:
		return fmt.Sprintf("no route (%s +%d), or one that refuses%s", c.Counter, c.Packets, c.refusals())
	case c.Counter != "":
		return fmt.Sprintf("%s (%s +%d)", c.text(), c.Counter, c.Packets)
	case c.Reason != "":
		return fmt.Sprintf("%s (%s %d)", c.text(), c.Reason, c.Packets)
	}
	return c.text()
}

// refusals prints ": blackhole 192.0.2.66/32; unreachable by rule 100".
func (c Cause) refusals() string {
	var s []string
	for _, r := range c.Refusals {
		s = append(s, r.String())
	}
	return ": " + strings.Join(firstRules(s), "; ")
}

// text returns the cause without its evidence.
func (c Cause) text() string {
	if s := evidenceByName[c.Counter+c.Reason].text; s != "" {
		return s
	}
	return causeTexts[c.Kind]
}

func (c Cause) rule() string {
	switch {
	case c.Rule == (Rule{}):
		return "a rule"
	case c.Traced && (c.Packets > 1 || c.Rule.Counted && c.Rule.Packets != c.Packets):
		return fmt.Sprintf("%v [dropped %d]", c.Rule, c.Packets)
	}
	return c.Rule.String()
}

// maxLogged is the largest number of log messages that a cause prints.
const maxLogged = 3

// invalid prints "invalid +3: 2 × tcp: SEQ is over upper bound N; for 1 the kernel gives no reason".
func (c Cause) invalid() string {
	s := causeTexts[c.Kind]
	if c.Packets > 0 {
		s += fmt.Sprintf(" +%d", c.Packets)
	}
	if c.Logged == nil {
		return s
	}
	var reasons []string
	var logged uint64
	for _, r := range c.Logged {
		logged += r.Packets
		reasons = append(reasons, r.String())
	}
	if more := len(reasons) - maxLogged; more > 0 {
		reasons = append(reasons[:maxLogged], fmt.Sprintf("%d other reasons", more))
	}
	switch without := saturatingSub(c.Packets, logged); {
	case without == 0:
	case without == c.Packets:
		reasons = append(reasons, NoReason)
	default:
		reasons = append(reasons, fmt.Sprintf("for %d %s", without, NoReason))
	}
	if len(reasons) == 0 {
		return s
	}
	return s + ": " + strings.Join(reasons, "; ")
}

// CauseOf returns the cause that the kernel's drop reason of one packet stands for. NETFILTER_DROP is the reason for
// all packets that rules, NAT and conntrack drop; for it CauseOf returns a CauseUnknown that is not certain.
func CauseOf(d nf.Dropped) Cause {
	c := Cause{Kind: CauseDropReason, Certain: d.Reason != reasonNetfilter, Packets: 1, Reason: d.Reason}
	if e, known := evidenceByName[d.Reason]; known {
		c.Kind = e.kind
	}
	return c
}

// reasonMalformed is the drop reason for a header that is malformed, or a hop limit that was exceeded.
const reasonMalformed = "IP_INHDR"

// reasonNetfilter is the drop reason for a netfilter verdict (net/netfilter/core.c, nf_hook_slow).
const reasonNetfilter = "NETFILTER_DROP"

// joinCauses prints the certain causes, and then those that may explain the rest: "no route (IpExtInNoRoutes +1);
// else a martian address, or for another host on the link".
func joinCauses(causes []Cause) string {
	var certain, rules, maybe []string
	known := 0 // number of known rules that may have dropped packets
	for _, c := range causes {
		switch {
		case c.Certain && c.Kind == CauseRule && len(rules) > 0: // write "dropped by" once
			rules = append(rules, c.rule())
		case c.Certain && c.Kind == CauseRule:
			rules = append(rules, c.String())
		case c.Certain:
			certain = append(certain, c.String())
		case c.Kind == CauseRule && c.Rule != (Rule{}):
			known++
		default:
			maybe = append(maybe, c.String())
		}
	}
	if known > 0 {
		maybe = append(maybe, candidates(causes, len(maybe) == 0))
	}
	certain = append(certain, firstRules(rules)...)
	s := strings.Join(certain, "; ")
	if len(maybe) == 0 {
		return s
	}
	if s != "" {
		s += "; else "
	}
	switch n := len(maybe); n {
	case 1:
		s += maybe[0]
	default:
		s += strings.Join(maybe[:n-1], ", ") + ", or " + maybe[n-1]
	}
	return s
}

// maxRules is the largest number of rules that a text names.
const maxRules = 3

// candidates prints the rules of which one may have dropped the packets, or if nothing else may, has.
func candidates(causes []Cause, nothingElse bool) string {
	var rules []string
	for _, c := range causes {
		if !c.Certain && c.Kind == CauseRule && c.Rule != (Rule{}) {
			rules = append(rules, c.rule())
		}
	}
	switch {
	case len(rules) == 1 && nothingElse:
		return "dropped by a rule, the only candidate: " + rules[0]
	case len(rules) == 1:
		return "dropped by " + rules[0]
	}
	return "dropped by a rule, one of " + strings.Join(firstRules(rules), "; ")
}

// firstRules shortens a list to maxRules rules and the number of the others.
func firstRules(rules []string) []string {
	if more := len(rules) - maxRules; more > 0 {
		return append(rules[:maxRules:maxRules], fmt.Sprintf("%d more", more))
	}
	return rules
}

// evidence is a network counter or a drop reason of the kernel, and the cause it stands for.
type evidence struct {
	name string
	kind CauseKind
	text string // replaces the text of the kind; empty: the text of the kind
}

// The counters of a network namespace for packets that are lost before the first hook (net/ipv4/ip_input.c,
// ip_rcv_core; net/ipv6/ip6_input.c, ip6_rcv_core), and for packets that are lost between prerouting and input or
// forward (net/ipv4/ip_input.c, route.c and ip_forward.c, net/ipv6/ip6_output.c and route.c).
var (
	countersBeforeHooks = map[nf.Family][]evidence{
		nf.IPv4: {{"IpExtInCsumErrors", CauseHeaderChecksum, ""}, {"IpExtInTruncatedPkts", CauseTruncated, ""}},
		nf.IPv6: {{"Ip6InTruncatedPkts", CauseTruncated, "fewer bytes than the IPv6 header says"}},
	}
	countersOfRouting = map[nf.Family][]evidence{
		nf.IPv4: {
			{"TcpExtIPReversePathFilter", CauseReversePath, ""},
			{"IpExtInNoRoutes", CauseNoRoute, ""},
			{"IpInAddrErrors", CauseNotForwarding, ""},
			{fragFails4, CauseTooBig, ""},
		},
		nf.IPv6: {
			{"Ip6InNoRoutes", CauseNoRoute, "no route, one that refuses, or no forwarding"},
			{"Ip6InAddrErrors", CauseNotForwarding, "not for this host, which does not forward, or from an address that is never forwarded"},
			{tooBig6, CauseTooBig, ""},
		},
	}
)

// The counters for packets that are lost behind the last hook: at a socket (net/ipv4/tcp_ipv4.c, tcp_v4_rcv; udp.c,
// __udp_queue_rcv_skb), some of which count both families, and in fragmentation on the way out (net/ipv4/ip_output.c,
// ip_fragment; net/ipv6/ip6_output.c, ip6_fragment). IpFragFails and Ip6FragFails also count packets that were too big
// to be forwarded.
var (
	countersOfSockets = []evidence{
		{"TcpInCsumErrors", CauseChecksum, "a bad checksum of the TCP segment"},
		{"UdpInCsumErrors", CauseChecksum, "a bad checksum of the UDP datagram"},
		{"Udp6InCsumErrors", CauseChecksum, "a bad checksum of the UDP datagram"},
		{"IcmpInCsumErrors", CauseChecksum, "a bad checksum of the ICMP message"},
		{"Icmp6InCsumErrors", CauseChecksum, "a bad checksum of the ICMPv6 message"},
		{"UdpRcvbufErrors", CauseSocketFull, ""},
		{"Udp6RcvbufErrors", CauseSocketFull, ""},
	}
	countersBehindHooks = map[nf.Family]evidence{
		nf.IPv4: {fragFails4, CauseTooBig, ""},
		nf.IPv6: {fragFails6, CauseTooBig, ""},
	}
	// countersOfDefrag are those of defragmentation in IPv4 (net/ipv4/ip_fragment.c, ip_defrag). That of IPv6 before
	// conntrack has none (net/ipv6/netfilter/nf_conntrack_reasm.c).
	countersOfDefrag = []evidence{
		{reasmReqds, CauseReassembled, ""}, {reasmOKs, CauseReassembled, ""}, {reasmFails, CauseDefrag, ""},
	}
)

// countersOfHeaders are those of a hop limit that was exceeded, and of malformed headers, before the first hook or as bad options
// (net/ipv4/ip_input.c, ip_rcv_core and ip_rcv_options, and ip_forward.c; net/ipv6/ip6_input.c, ip6_rcv_core, exthdrs.c, and
// ip6_output.c, ip6_forward). The ICMP errors that the kernel sends tell the first from the last.
var countersOfHeaders = map[nf.Family]struct{ errors, exceeded, problems evidence }{
	nf.IPv4: {
		evidence{"IpInHdrErrors", CauseHopLimit, ""},
		evidence{name: "IcmpOutTimeExcds"}, evidence{name: "IcmpOutParmProbs"},
	},
	nf.IPv6: {
		evidence{"Ip6InHdrErrors", CauseHopLimit, "hop limit exceeded"},
		evidence{name: "Icmp6OutTimeExcds"}, evidence{name: "Icmp6OutParmProblems"},
	},
}

// Counters that are evidence only together with others.
const (
	discards6                        = "Ip6InDiscards" // also of packets for which there is no memory
	fragFails4, fragFails6, tooBig6  = "IpFragFails", "Ip6FragFails", "Ip6InTooBigErrors"
	reasmReqds, reasmOKs, reasmFails = "IpReasmReqds", "IpReasmOKs", "IpReasmFails"
)

// The drop reasons without a counter before the first hook, those without a counter between prerouting and the next
// hook (net/ipv4/route.c, ip_route_input_slow and fib_validate_source), and the others.
var (
	reasonsBeforeHooks = []evidence{
		{"OTHERHOST", CauseOtherHost, ""}, {reasonMalformed, CauseMalformedHeader, ""}, {"IPV6DISABLED", CauseIPv6Disabled, ""},
	}
	reasonsOfRouting = []evidence{
		{"IP_LOCAL_SOURCE", CauseMartian, "the source is an address of this host"},
		{"IP_INVALID_SOURCE", CauseMartian, "a martian source"},
		{"IP_INVALID_DEST", CauseMartian, "a martian destination"},
		{"IP_LOCALNET", CauseMartian, "a loopback address"},
	}
	otherReasons = []evidence{
		{"IP_RPFILTER", CauseReversePath, ""}, {"IP_INNOROUTES", CauseNoRoute, ""}, {"IP_OUTNOROUTES", CauseNoRoute, ""},
		{"IP_INADDRERRORS", CauseNotForwarding, ""}, {"IP_CSUM", CauseHeaderChecksum, ""}, {"PKT_TOO_SMALL", CauseTruncated, ""},
		{"PKT_TOO_BIG", CauseTooBig, ""}, {"NO_SOCKET", CauseNoSocket, ""},
		{reasonNetfilter, CauseUnknown, "dropped by a rule, NAT or conntrack"},
	}
)

// evidenceByName has all of the above.
var evidenceByName = func() map[string]evidence {
	all := map[string]evidence{}
	for _, list := range [][]evidence{
		countersBeforeHooks[nf.IPv4], countersBeforeHooks[nf.IPv6], countersOfRouting[nf.IPv4], countersOfRouting[nf.IPv6],
		countersOfSockets, countersOfDefrag, {{discards6, CauseIPv6Disabled, noIPv6}},
		{countersOfHeaders[nf.IPv4].errors, countersOfHeaders[nf.IPv6].errors}, {countersBehindHooks[nf.IPv4], countersBehindHooks[nf.IPv6]},
		reasonsBeforeHooks, reasonsOfRouting, otherReasons,
	} {
		for _, e := range list {
			all[e.name] = e
		}
	}
	return all
}()
