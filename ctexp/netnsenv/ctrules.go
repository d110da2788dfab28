package netnsenv

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Helper is a Ruleset that assigns a conntrack helper to the flows that match: a ct helper object of nftables and the
// rule that assigns it, in a table of their own. It does not need the program nft. It affects flows that begin after it
// is loaded. An unknown name, or a protocol that the helper does not support, is an error. A helper whose module is
// missing is an nf.UnsupportedError.
//
// The kernel's FTP helper parses commands only from the second data segment of a direction on. Of the first segment it
// only records where the line ends (net/netfilter/nf_conntrack_ftp.c, help, find_nl_seq). A PORT command directly after
// the handshake is therefore ignored; after a USER command it creates an expectation.
//
//	netnsenv.Helper{Name: "ftp", Proto: nf.TCP, Match: nf.Match{DstPort: 21}}
type Helper struct {
	Name   string    // the kernel's name: "ftp", "sip", "tftp", "irc", "amanda", "pptp", "RAS", …
	Proto  nf.Proto  // TCP or UDP, as the helper requires
	Match  nf.Match  // matches the first packet of a flow; its Proto may be zero
	Family nf.Family // zero: both, if the helper supports both
	Zone   *uint16   // the flow's conntrack zone; nil: any
	Table  string    // name of the table, of family inet; empty: ct_helper_1 and so on

	anyLink bool // see MissingLinks
}

// Expect is a Ruleset that creates an expectation for each flow that matches: a flow from its server back to its
// client, as in active FTP. It is a ct expectation object of nftables, in a table of its own, and does not need the
// program nft.
//
//	netnsenv.Expect{Match: nf.Match{Proto: nf.TCP, DstPort: 5000}, Proto: nf.TCP, Port: 6000, Timeout: time.Minute}
type Expect struct {
	Match   nf.Match      // matches the first packet of a flow; needs a Proto
	Proto   nf.Proto      // protocol of the expected flow
	Port    uint16        // destination port of the expected flow
	Timeout time.Duration // timeout of the expectation, in whole seconds
	Max     uint8         // maximum number of expectations of a flow at a time; zero: 1
	Family  nf.Family     // zero: both
	Zone    *uint16       // the flow's conntrack zone; nil: any
	Table   string        // name of the table, of family inet; empty: ct_expect_1 and so on

	anyLink bool // see MissingLinks
}

// matchOf returns the match with the protocol p.
func matchOf(m nf.Match, p nf.Proto) (nf.Match, error) {
	if m.Proto != 0 && m.Proto != p {
		return m, fmt.Errorf("it matches %v, and is for %v", m.Proto, p)
	}
	m.Proto = p
	if (m.SrcPort != 0 || m.DstPort != 0) && !p.HasPorts() {
		return m, fmt.Errorf("it matches ports, which %v does not have", p)
	}
	if why := flagsWrong(m); why != "" {
		return m, errors.New(why)
	}
	return m, m.Check()
}

func (x Expect) check() error {
	switch {
	case x.Match.Proto == 0:
		return fmt.Errorf("the match has no protocol")
	case !x.Proto.HasPorts():
		return fmt.Errorf("protocol %v has no ports to expect", x.Proto)
	case x.Port == 0:
		return fmt.Errorf("the port is 0")
	case x.Timeout < time.Second || x.Timeout%time.Second != 0:
		return fmt.Errorf("timeout %v: want whole seconds, from 1 on", x.Timeout)
	}
	return nil
}

// TimeoutPolicy is a Ruleset that sets timeouts for the flows that match: a ct timeout object of nftables and the rule
// that assigns it, in a table of their own. It does not need the program nft. It affects flows that begin after it is
// loaded.
//
//	netnsenv.TimeoutPolicy{Proto: nf.UDP, Match: nf.Match{DstPort: 53}, Timeouts: map[string]time.Duration{"unreplied": time.Second}}
//
// The rule is directly behind conntrack in prerouting and output. If several policies match a flow, the last one
// applies. States that the policy does not name have the sysctl's timeout at the time of loading.
type TimeoutPolicy struct {
	Proto nf.Proto // TCP, UDP, ICMP, ICMPv6, GRE, SCTP, UDPLite or DCCP
	// Timeouts are in whole seconds, by the state's name in sysctls and nft; see TimeoutStates.
	Timeouts map[string]time.Duration
	Match    nf.Match  // matches the first packet of a flow; its Proto may be zero
	Family   nf.Family // zero: both
	Zone     *uint16   // the flow's conntrack zone; nil: any
	// Table is the name of the table, of family inet. Deleting the table removes the policy. Empty: ct_timeout_1 and so
	// on.
	Table string

	anyLink bool // see MissingLinks
}

// timeoutStates has the names of the states of each protocol, ordered by their numbers, which start at 1
// (include/uapi/linux/netfilter/nfnetlink_cttimeout.h).
var timeoutStates = map[nf.Proto][]string{
	nf.TCP: {
		"syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close", "syn_sent2",
		"max_retrans", "unacknowledged",
	},
	nf.UDP:     {"unreplied", "replied"},
	nf.UDPLite: {"unreplied", "replied"},
	nf.GRE:     {"unreplied", "replied"},
	nf.ICMP:    {"timeout"},
	nf.ICMPv6:  {"timeout"},
	nf.DCCP:    {"request", "respond", "partopen", "open", "closereq", "closing", "timewait"},
	nf.SCTP: {
		"closed", "cookie_wait", "cookie_echoed", "established", "shutdown_sent", "shutdown_recd", "shutdown_ack_sent",
		"heartbeat_sent",
	},
}

// TimeoutStates returns the names of the states that have timeouts: for TCP those of its states in lower case,
// max_retrans and unacknowledged, for UDP, UDPLite and GRE unreplied and replied, for ICMP timeout. It returns none for
// a protocol without a tracker of its own.
func TimeoutStates(p nf.Proto) []string { return slices.Clone(timeoutStates[p]) }

// TimeoutSysctl returns the name of the sysctl with the timeout of a state, for Config.Sysctls and Env.SetSysctl. The
// unit is seconds:
//
//	Sysctls: map[string]string{netnsenv.TimeoutSysctl(nf.TCP, "time_wait"): "5"}
//
// Protocol 0 and state "timeout" mean the generic tracker. TimeoutSysctl panics if the protocol does not have the state.
func TimeoutSysctl(p nf.Proto, state string) string {
	const prefix = "net.netfilter.nf_conntrack_"
	switch {
	case p == 0 && state == "timeout":
		return prefix + "generic_timeout"
	case !slices.Contains(timeoutStates[p], state), p == nf.TCP && state == "syn_sent2":
		panic(fmt.Sprintf("netnsenv: TimeoutSysctl: %v has no state %q: want one of %s", p, state, strings.Join(timeoutStates[p], ", ")))
	case state == "timeout", state == "unreplied":
		return fmt.Sprintf("%s%v_timeout", prefix, sysctlProto(p))
	case state == "replied":
		return fmt.Sprintf("%s%v_timeout_stream", prefix, sysctlProto(p))
	}
	return fmt.Sprintf("%s%v_timeout_%s", prefix, p, state)
}

// sysctlProto returns the protocol whose sysctls p uses.
func sysctlProto(p nf.Proto) nf.Proto {
	if p == nf.UDPLite {
		return nf.UDP
	}
	return p
}

// check returns the timeouts by the numbers of the states.
func (p TimeoutPolicy) check() (map[uint16]time.Duration, error) {
	states := timeoutStates[p.Proto]
	if states == nil {
		return nil, fmt.Errorf("protocol %v: conntrack has no timeout policies for it", p.Proto)
	}
	if len(p.Timeouts) == 0 {
		return nil, fmt.Errorf("no timeouts: want some of %s", strings.Join(states, ", "))
	}
	out := map[uint16]time.Duration{}
	for name, d := range p.Timeouts {
		i := slices.Index(states, name)
		if i < 0 {
			return nil, fmt.Errorf("%v has no state %q: want one of %s", p.Proto, name, strings.Join(states, ", "))
		}
		if d < time.Second || d%time.Second != 0 || d > 1<<31/100*time.Second {
			return nil, fmt.Errorf("%s of %v: want whole seconds, from 1 on", name, d)
		}
		out[uint16(i+1)] = d
	}
	return out, nil
}
