package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Version is the version of result.json that this package writes, and the only one it reads. It grows when a field
// changes its meaning or leaves; new fields leave it as it is.
const Version = 2

// Data is what one experiment did. Every list may be empty, and is then absent in JSON; numbers of nanoseconds have "_ns" in
// their names. The zero Data is a test without a name that passed and of which nothing is known.
type Data struct {
	Version int           `json:"version"` // see Version; set by WriteJSON
	Test    string        `json:"test"`    // as go test calls it: "TestFullTable/strict"
	Failed  bool          `json:"failed"`
	Diff    string        `json:"diff,omitempty"` // why it failed: text, of which lines beginning with - and + are coloured
	Time    time.Time     `json:"time,omitzero"`  // when the experiment was opened: what At counts from
	Took    time.Duration `json:"took_ns,omitempty"`

	Kernel   string     `json:"kernel,omitempty"` // "6.18.44"
	Versions []Software `json:"versions,omitempty"`
	Links    []Link     `json:"links,omitempty"`
	Room     Room       `json:"room,omitzero"`
	Sent     uint64     `json:"sent"` // packets that were injected

	Path     Path     `json:"path,omitzero"`
	Tally    []Count  `json:"tally,omitempty"` // in the order in which one reads them
	Laws     []Law    `json:"laws,omitempty"`
	Flows    []Flow   `json:"flows,omitempty"`
	Rules    []Rule   `json:"rules,omitempty"`
	Frames   []Frame  `json:"frames,omitempty"`   // by time
	Timeline []Moment `json:"timeline,omitempty"` // by time
	Stats    []Count  `json:"stats,omitempty"`    // what the kernel's statistics have gained, zeros included or not
	Sysctls  []Sysctl `json:"sysctls,omitempty"`  // those that are not as in a new namespace, ctexp's own among them

	// Missing says which parts could not be had. A part that is neither there nor missing was empty.
	Missing []Missing `json:"missing,omitempty"`
	// Omitted is how many more there were than a list has.
	Omitted Omitted `json:"omitted,omitzero"`
	// Artifacts are the files beside the page, by name; set by WriteFiles.
	Artifacts []string `json:"artifacts,omitempty"`
}

// Software is a program or a library that took part.
type Software struct {
	Name    string `json:"name"`    // "ctexp", "go", "iptables"
	Version string `json:"version"` // "go1.26.8"
}

// Link is an interface of the host under test; outside of it stands the test.
type Link struct {
	Name  string   `json:"name"`
	Kind  string   `json:"kind,omitempty"` // "tun" or "veth"
	MTU   int      `json:"mtu,omitempty"`
	Addrs []string `json:"addrs,omitempty"` // "192.0.2.1/24"
}

// Room is how many entries the table took. The zero Room is a table as the kernel gives it.
type Room struct {
	Limited bool `json:"limited"` // Free was asked for
	Free    int  `json:"free"`    // entries that were left free
	Filler  int  `json:"filler"`  // entries that fill the rest
	Limit   int  `json:"limit"`   // net.netfilter.nf_conntrack_max; zero: none
}

// Count is a number with a name, or the difference of two.
type Count struct {
	Name string `json:"name"`
	N    int64  `json:"n"`
}

// Law is a law that the counts should obey.
type Law struct {
	Law     string `json:"law"`     // "before = behind + dropped"
	Verdict string `json:"verdict"` // one of Holds, Broken and NotApplicable
	Why     string `json:"why,omitempty"`
}

// What becomes of a Law.
const (
	Holds         = "holds"
	Broken        = "broken"
	NotApplicable = "not applicable"
)

// Sysctl is a switch that is not as in a new namespace.
type Sysctl struct {
	Name   string `json:"name"` // "net.netfilter.nf_conntrack_tcp_loose"
	Before string `json:"before"`
	After  string `json:"after"`
	By     string `json:"by,omitempty"` // who has set it: "ctexp", "Config", "somebody else"
}

// The parts of Data that may be Missing.
const (
	PartPath     = "path"
	PartTally    = "tally"
	PartFlows    = "flows"
	PartRules    = "rules"
	PartFrames   = "frames"
	PartTimeline = "timeline"
	PartStats    = "stats"
	PartSysctls  = "sysctls"
)

// Missing is a part that could not be had, or not whole.
type Missing struct {
	Part string `json:"part"` // one of the parts above; any other word is shown with the setting
	Why  string `json:"why"`
}

// Omitted is how many there were beyond what the lists have.
type Omitted struct {
	Flows    int `json:"flows,omitempty"`
	Rules    int `json:"rules,omitempty"`
	Frames   int `json:"frames,omitempty"`
	Dropped  int `json:"dropped,omitempty"` // of Frames
	Timeline int `json:"timeline,omitempty"`
}

// Frame is what went over a link, once.
type Frame struct {
	At   time.Duration `json:"at_ns"` // since Data.Time
	Link string        `json:"link"`
	Dir  string        `json:"dir"` // In or Out, as the host sees it
	// Line is the packet in the manner of tcpdump: "IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, length 0".
	Line string `json:"line"`
	// Src and Dst are the addresses, with ports where the protocol has them; zero if the packet is not IP.
	Src netip.AddrPort `json:"src,omitzero"`
	Dst netip.AddrPort `json:"dst,omitzero"`
	// What is the packet in a word or two, "SYN+ACK", and Detail the rest of the line: "seq 1, win 65535, length 0".
	What   string `json:"what,omitempty"`
	Detail string `json:"detail,omitempty"`
	// State is what conntrack made of it: "NEW SYN_SENT [UNREPLIED]", "INVALID", "no entry"; empty: not known.
	State   string   `json:"state,omitempty"`
	Invalid bool     `json:"invalid,omitempty"` // conntrack called it INVALID
	Verdict string   `json:"verdict,omitempty"` // Dropped, Accepted, or empty: not known
	Causes  []Cause  `json:"causes,omitempty"`  // why it was dropped: the one cause, or one of several
	Reason  string   `json:"reason,omitempty"`  // in words, why it is invalid or was dropped
	Steps   []string `json:"steps,omitempty"`   // the rules that it met with their verdicts, a line each
}

// The directions of a Frame and what becomes of it.
const (
	In  = "in"
	Out = "out"

	Dropped  = "dropped"
	Accepted = "accepted"
)

// Direction returns "In" or "Out".
func (f Frame) Direction() string {
	if f.Dir == Out {
		return "Out"
	}
	return "In"
}

// Comment returns verdict, state and reason, those that there are, with "; " between them: what stands beside the
// packet in capture.pcapng.
func (f Frame) Comment() string {
	var s []string
	for _, word := range []string{f.Verdict, f.State, f.Reason} {
		if word != "" {
			s = append(s, word)
		}
	}
	return strings.Join(s, "; ")
}

// Moment is a line of the timeline.
type Moment struct {
	At   time.Duration `json:"at_ns"`
	Kind string        `json:"kind"` // "frame", "event", "reason", "trace", "drop", "count"
	// Frame is the number of the frame that it is or belongs to, as capture.pcapng counts: the first is 1. Zero: of none.
	Frame int    `json:"frame,omitempty"`
	Line  string `json:"line"`
	Loss  bool   `json:"loss,omitempty"` // it tells of a packet that was lost
}

// Text is the line with the number of the frame before it; what belongs to one is set in, below it.
func (m Moment) Text() string {
	switch {
	case m.Frame == 0:
		return m.Line
	case m.Kind == "frame":
		return fmt.Sprintf("#%d %s", m.Frame, m.Line)
	}
	return "   " + m.Line
}

// Flow is an entry of the conntrack table.
type Flow struct {
	Line  string `json:"line"`            // the canonical form, which sorts and diffs
	Proto string `json:"proto"`           // "tcp"
	State string `json:"state,omitempty"` // "SYN_SENT"; empty unless the protocol is TCP
	// Orig and Reply are the tuples in the words of conntrack -L: "src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80".
	Orig  string `json:"orig"`
	Reply string `json:"reply"`
	// OrigEnds and ReplyEnds are the tuples as people write them; see Ends.
	OrigEnds  string   `json:"orig_ends,omitempty"`
	ReplyEnds string   `json:"reply_ends,omitempty"`
	Status    string   `json:"status,omitempty"`    // the bits by the kernel's names: "SEEN_REPLY,ASSURED"
	NAT       string   `json:"nat,omitempty"`       // what was translated, on which side
	Timeout   int64    `json:"timeout_s,omitempty"` // seconds, as of reading it
	Mark      uint32   `json:"mark,omitempty"`
	Zone      uint16   `json:"zone,omitempty"`
	Helper    string   `json:"helper,omitempty"`
	Labels    string   `json:"labels,omitempty"`
	Packets   [2]int64 `json:"packets,omitzero"` // original, reply; zero where they are not counted
	Bytes     [2]int64 `json:"bytes,omitzero"`
	Life      []string `json:"life,omitempty"` // its events: "NEW SYN_SENT", "UPDATE SYN_RECV", "DESTROY"
}

// Ends returns a tuple as people write it: "198.18.0.2:10000 → 192.0.2.1:80"; of ICMP the type, the code and the identifier
// stand behind the addresses.
func Ends(t nf.Tuple) string {
	end := func(a netip.AddrPort) string {
		if !t.Proto.HasPorts() {
			return a.Addr().String()
		}
		return a.String()
	}
	s := end(t.Src) + " → " + end(t.Dst)
	switch {
	case t.Proto.IsICMP():
		s += fmt.Sprintf(" type=%d code=%d id=%d", t.ICMP.Type, t.ICMP.Code, t.ICMP.ID)
	case t.Proto == nf.GRE:
		s += fmt.Sprintf(" srckey=%#x dstkey=%#x", t.Src.Port(), t.Dst.Port())
	}
	return s
}

// Rule is a line of the ruleset with what it has counted.
type Rule struct {
	Backend string `json:"backend"` // "nft", "iptables-nft" or "iptables-legacy"
	Family  string `json:"family"`  // "ip", "ip6", "inet"
	Table   string `json:"table"`
	Chain   string `json:"chain,omitempty"`
	Kind    string `json:"kind"` // "rule", "policy" or "counter"
	Text    string `json:"text"`
	Counted bool   `json:"counted"` // false: Packets and Bytes say nothing
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// missing returns why a part could not be had; "" if it could.
func (d Data) missing(part string) string {
	for _, m := range d.Missing {
		if m.Part == part {
			return m.Why
		}
	}
	return ""
}

// tidy returns d with its reasons said once: what is shown beside the name of a part, or of a verdict, does not begin with
// it again. A law that is not applicable to a table without a limit is left out: nobody asked for it. The sysctls that the
// experiment has set come before those that ctexp has.
func (d Data) normalize() Data {
	missing := make([]Missing, len(d.Missing))
	for i, m := range d.Missing {
		m.Why = strings.TrimPrefix(m.Why, m.Part+": ")
		missing[i] = m
	}
	var laws []Law
	for _, l := range d.Laws {
		if l.Verdict == NotApplicable && !d.Room.Limited {
			continue
		}
		for _, prefix := range []string{"law not applicable: ", "law broken: "} {
			l.Why = strings.TrimPrefix(l.Why, prefix)
		}
		laws = append(laws, l)
	}
	d.Missing, d.Laws = missing, laws
	d.Sysctls = slices.Clone(d.Sysctls)
	slices.SortStableFunc(d.Sysctls, func(a, b Sysctl) int { return cmp.Compare(setterRank(a.By), setterRank(b.By)) })
	return d
}

// rank puts what ctexp itself has set behind what the experiment has.
func setterRank(setter string) int {
	if setter == "ctexp" {
		return 1
	}
	return 0
}

// WriteJSON writes d as result.json, indented, with a line feed at the end. It fails only if w does.
func (d Data) WriteJSON(w io.Writer) error {
	d.Version = Version
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // an arrow in a law is no markup
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return fmt.Errorf("write result.json: %w", err)
	}
	return nil
}

// ReadJSON reads what WriteJSON wrote. A version other than Version is an error; fields that it does not know are not.
func ReadJSON(r io.Reader) (Data, error) {
	var d Data
	if err := json.NewDecoder(r).Decode(&d); err != nil {
		return Data{}, fmt.Errorf("read result.json: %w", err)
	}
	if d.Version != Version {
		return Data{}, fmt.Errorf("read result.json: it is of version %d, and version %d is known here", d.Version, Version)
	}
	return d, nil
}
