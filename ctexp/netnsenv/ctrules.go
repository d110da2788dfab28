package netnsenv

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Helper is a Ruleset that has a conntrack helper read the flows that match: a ct helper object of nftables and the rule
// that assigns it, set without the program nft. It takes effect on flows that begin after it is loaded and lives in a table
// of its own. A name that the kernel does not know, or a protocol that the helper does not read, is an error; a helper that
// this kernel was built or started without is an nf.UnsupportedError.
//
// What a helper reads is up to the kernel. The one for FTP reads commands from the second data segment of a direction on: of
// the first it only notes where the line ends (net/netfilter/nf_conntrack_ftp.c, help, find_nl_seq). A PORT right after the
// handshake is passed on as it is; after one USER it is rewritten and expected.
//
//	netnsenv.Helper{Name: "ftp", Proto: nf.TCP, Match: nf.Match{DstPort: 21}}
type Helper struct {
	Name   string    // as conntrack names it: "ftp", "sip", "tftp", "irc", "amanda", "pptp", "RAS", …
	Proto  nf.Proto  // TCP or UDP, whichever the helper reads
	Match  nf.Match  // what the first packet of a flow must be like; its Proto may be left out
	Family nf.Family // zero: both, where the helper has both
	Zone   *uint16   // the flow's conntrack zone; nil: any
	Table  string    // name of its table, of family inet; empty: ct_helper_1 and so on
}

// Expect is a Ruleset by which a flow that matches expects another, from its server back to its client as in active FTP:
// nft's ct expectation, set without the program nft. It lives in a table of its own.
//
//	netnsenv.Expect{Match: nf.Match{Proto: nf.TCP, DstPort: 5000}, Proto: nf.TCP, Port: 6000, Timeout: time.Minute}
type Expect struct {
	Match   nf.Match      // what the first packet of a flow must be like; needs a Proto
	Proto   nf.Proto      // of the flow that is expected
	Port    uint16        // its destination port
	Timeout time.Duration // how long it is expected, in whole seconds
	Most    uint8         // how many expectations a flow may have at once; zero: 1
	Family  nf.Family     // zero: both
	Zone    *uint16       // the flow's conntrack zone; nil: any
	Table   string        // name of its table, of family inet; empty: ct_expect_1 and so on
}

// matchOf returns the match with the protocol that it must have.
func matchOf(m nf.Match, p nf.Proto) (nf.Match, error) {
	if m.Proto != 0 && m.Proto != p {
		return m, fmt.Errorf("it matches %v, and is for %v", m.Proto, p)
	}
	m.Proto = p
	if (m.SrcPort != 0 || m.DstPort != 0) && !p.HasPorts() {
		return m, fmt.Errorf("it matches ports, which %v does not have", p)
	}
	return m, nil
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

// TimeoutPolicy is a Ruleset that gives flows other times than the namespace's: a ct timeout object of nftables and the rule
// that assigns it, set without the program nft. It takes effect on flows that begin after it is loaded and lives in a table
// of its own, "inet ct_timeout_1" and so on.
//
//	netnsenv.TimeoutPolicy{Proto: nf.UDP, Match: nf.Match{DstPort: 53}, Timeouts: map[string]time.Duration{"unreplied": time.Second}}
//
// The rule stands right behind conntrack in prerouting and output, so that of policies that mean the same flow the last one
// holds. A state that the policy does not name has what the sysctl says when it is loaded.
type TimeoutPolicy struct {
	Proto nf.Proto // one that conntrack tracks: TCP, UDP, ICMP, ICMPv6, GRE, SCTP, UDPLite, DCCP
	// Timeouts are whole seconds by the state's name, that of the sysctl and of nft: see TimeoutStates.
	Timeouts map[string]time.Duration
	Match    nf.Match  // what the first packet of a flow must be like; its Proto may be left out
	Family   nf.Family // zero: both
	Zone     *uint16   // the flow's conntrack zone; nil: any
	// Table names the table, of family inet, by which the policy can be taken away again; empty: ct_timeout_1 and so on.
	Table string
}

// timeoutStates are the names of the states of each protocol in the order of their numbers
// (include/uapi/linux/netfilter/nfnetlink_cttimeout.h), from 1 on.
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

// TimeoutStates returns the names of the states that have a time of their own: for TCP those of its states in small letters
// and max_retrans and unacknowledged, for UDP, UDPLite and GRE unreplied and replied, for ICMP timeout. Of a protocol that
// conntrack does not know closer there are none.
func TimeoutStates(p nf.Proto) []string { return slices.Clone(timeoutStates[p]) }

// TimeoutSysctl returns the name of the sysctl that holds a state's time, for Config.Sysctls and Env.SetSysctl, which take
// it in seconds:
//
//	Sysctls: map[string]string{netnsenv.TimeoutSysctl(nf.TCP, "time_wait"): "5"}
//
// The protocol 0 with the state "timeout" is for all that conntrack does not know closer. A state that there is not panics.
func TimeoutSysctl(p nf.Proto, state string) string {
	const prefix = "net.netfilter.nf_conntrack_"
	switch {
	case p == 0 && state == "timeout":
		return prefix + "generic_timeout"
	case !slices.Contains(timeoutStates[p], state), p == nf.TCP && state == "syn_sent2":
		panic(fmt.Sprintf("netnsenv: TimeoutSysctl: %v has no state %q: want one of %s", p, state, strings.Join(timeoutStates[p], ", ")))
	case state == "timeout", state == "unreplied":
		return fmt.Sprintf("%s%v_timeout", prefix, known(p))
	case state == "replied":
		return fmt.Sprintf("%s%v_timeout_stream", prefix, known(p))
	}
	return fmt.Sprintf("%s%v_timeout_%s", prefix, p, state)
}

// known is the protocol whose sysctls p shares.
func known(p nf.Proto) nf.Proto {
	if p == nf.UDPLite {
		return nf.UDP
	}
	return p
}

// check returns the times by the numbers of the states.
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
