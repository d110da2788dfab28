package observe

import (
	"fmt"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Step is what became of a traced packet at one of the user's rules of nftables, or at the end of a chain. Rules of
// iptables-nft are such; those of iptables-legacy are not traced.
type Step struct {
	// Time is that of the packet's frame, of all its steps the same, or where there is none, when the Observer read the step.
	Time time.Time
	// Packet tells the packets apart: from 0 in the order in which their traces begin. A packet that meets no rule has a
	// number and no step. The steps of a packet stand in the order in which it took them; those of another may stand
	// between them that was sent on its account, such as the RST of a reject.
	Packet int
	Link   string // by which the packet came in; of the host's own packets, by which it leaves; may be empty
	Dir    Dir    // In, or Out for the host's own packets
	// Header is the beginning of the packet when its trace began: its IP header and up to 20 bytes of the next.
	Header []byte

	Family, Table, Chain string // as nft calls them: "inet", "filter", "input"
	Kind                 StepKind
	Handle               uint64 // the kernel's number of the rule; 0 at the end of a chain
	Rule                 string // text of the rule (see Rule.Text); empty at the end of a chain, or if it is gone
	Verdict              string // as nft says it: "accept", "drop", "continue", "jump web", "return"
	// State is the class that conntrack had put the packet into when it came to the base chain, and Status the bits of its
	// entry; zero before conntrack, for an INVALID packet, and where the kernel does not tell (before 6.16).
	State  nf.CTState
	Status nf.Status
}

// StepKind is what a Step was taken at.
type StepKind string

// The kinds of steps.
const (
	StepRule   StepKind = "rule"
	StepReturn StepKind = "return" // the end of a chain that was jumped to
	StepPolicy StepKind = "policy" // the end of a base chain
)

// Dropped reports whether the packet ended here.
func (s Step) Dropped() bool { return s.Verdict == verdictDrop }

// Cause returns the rule or the policy of a step that dropped the packet, as the cause of that.
func (s Step) Cause() Cause {
	r := Rule{Backend: "nft", Family: s.Family, Table: s.Table, Chain: s.Chain, Kind: KindRule, Text: s.Rule}
	switch {
	case s.Kind == StepPolicy:
		r.Kind, r.Text = KindPolicy, s.Verdict
	case r.Text == "":
		r.Text = fmt.Sprintf("handle %d", s.Handle)
	}
	return Cause{Kind: CauseRule, Certain: true, Packets: 1, Rule: r, Traced: true}
}

// verdictDrop is the Verdict of a step that drops.
const verdictDrop = "drop"

// String prints the step as one line, much as nft monitor trace does:
//
//	12:00:00.000001 #0 tun0 In  ip filter input rule tcp dport 80 jump web (verdict jump web)
//	12:00:00.000001 #0 tun0 In  ip filter web rule ct state new drop (verdict drop)
//	12:00:00.000002 #1 tun0 In  ip filter input policy accept
func (s Step) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s #%d ", s.Time.Format("15:04:05.000000"), s.Packet)
	if s.Link != "" {
		fmt.Fprintf(&b, "%s ", s.Link)
	}
	fmt.Fprintf(&b, "%-3v %s", s.Dir, s.brief())
	if s.State != 0 {
		fmt.Fprintf(&b, " [%v]", s.State)
	}
	return b.String()
}

// brief is the step without its packet.
func (s Step) brief() string {
	at := fmt.Sprintf("%s %s %s", s.Family, s.Table, s.Chain)
	switch s.Kind {
	case StepRule:
		rule := s.Rule
		if rule == "" {
			rule = fmt.Sprintf("with handle %d", s.Handle)
		}
		return fmt.Sprintf("%s rule %s (verdict %s)", at, rule, s.Verdict)
	case StepPolicy:
		return fmt.Sprintf("%s policy %s", at, s.Verdict)
	}
	return fmt.Sprintf("%s %s", at, s.Verdict)
}
