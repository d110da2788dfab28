package netnsenv

import (
	"fmt"
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
