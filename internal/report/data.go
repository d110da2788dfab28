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
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// Version is the version of result.json that this package writes, and the only one it reads. It grows when a field
// changes its meaning or is removed; new fields do not change it.
const Version = 3

// Data is what happened in one experiment. Every list may be empty and is then absent in JSON. Names of fields in
// nanoseconds end in "_ns". The zero Data is an experiment without a name of which nothing is known.
type Data struct {
	Version int    `json:"version"` // see Version; set by WriteJSON
	Test    string `json:"test"`    // as go test names it: "TestFullTable/strict"
	Failed  bool   `json:"failed"`  // whether the test is known to have failed
	// Failures are what the test said when it failed, in its order.
	Failures []Failure `json:"failures,omitempty"`
	// Commands run the test again; none if this was no test.
	Commands []Command     `json:"commands,omitempty"`
	Time     time.Time     `json:"time,omitzero"`     // when the experiment was opened; the reference of all At
	Took     time.Duration `json:"took_ns,omitempty"` // how long the experiment took

	Kernel   string     `json:"kernel,omitempty"`   // "6.18.44"
	Versions []Software `json:"versions,omitempty"` // of the software that took part
	Links    []Link     `json:"links,omitempty"`    // of the host under test
	Room     Room       `json:"room,omitzero"`      // in the conntrack table
	Sent     uint64     `json:"sent"`               // number of injected packets

	Path     Path     `json:"path,omitzero"`      // where packets went
	Tally    []Count  `json:"tally,omitempty"`    // in reading order
	Laws     []Law    `json:"laws,omitempty"`     // of the Tally
	Flows    []Flow   `json:"flows,omitempty"`    // entries of the conntrack table at the end
	Rules    []Rule   `json:"rules,omitempty"`    // the user's ruleset
	Frames   []Frame  `json:"frames,omitempty"`   // by time
	Timeline []Moment `json:"timeline,omitempty"` // by time
	Stats    []Count  `json:"stats,omitempty"`    // growth of the kernel's statistics; zeros are optional
	Sysctls  []Sysctl `json:"sysctls,omitempty"`  // those that differ from a new namespace, including those set by ctexp

	// Missing says which parts are not available. A part that is neither present nor missing was empty.
	Missing []Missing `json:"missing,omitempty"`
	// Omitted is how many items were left out of each list.
	Omitted Omitted `json:"omitted,omitzero"`
	// Artifacts are the names of the files beside the page. WriteFiles sets it.
	Artifacts []string `json:"artifacts,omitempty"`
}

// Failure is a message of a failed test.
type Failure struct {
	Place string `json:"place,omitempty"` // file and line: "first_test.go:38"; empty: not known
	Text  string `json:"text"`            // lines that begin with - and + are wanted and got
}

// String returns the failure as go test prints it: "first_test.go:38: entries: 7".
func (f Failure) String() string {
	if f.Place == "" {
		return f.Text
	}
	return f.Place + ": " + f.Text
}

// Command is a line for a shell, and what it is for.
type Command struct {
	For  string `json:"for"`  // "run it again"
	Line string `json:"line"` // "go test -run '^TestFullTable$' example.org/firewall"
}

// Software is a program or library that took part.
type Software struct {
	Name    string `json:"name"`    // "ctexp", "go", "iptables"
	Version string `json:"version"` // "go1.26.8"
}

// Link is an interface of the host under test. The test is at its far end.
type Link struct {
	Name  string   `json:"name"`            // "tun0"
	Kind  string   `json:"kind,omitempty"`  // "tun" or "veth"
	MTU   int      `json:"mtu,omitempty"`   // in bytes; zero: not known
	Addrs []string `json:"addrs,omitempty"` // "192.0.2.1/24"
}

// Room is the room in the conntrack table. The zero Room is a table that ctexp did not limit.
type Room struct {
	Limited bool `json:"limited"` // Free was requested
	Free    int  `json:"free"`    // entries that were left free
	Filler  int  `json:"filler"`  // entries that fill the rest of the table
	Limit   int  `json:"limit"`   // net.netfilter.nf_conntrack_max; zero: unlimited
}

// String returns the room and the limit: "room for 7 entries, limit 262,144, of which 262,137 are filler"; without room "limit 262,144".
func (r Room) String() string {
	limit := "no limit"
	if r.Limit > 0 {
		limit = "limit " + thousands(uint64(r.Limit))
	}
	if !r.Limited {
		return limit
	}
	s := fmt.Sprintf("room for %s, %s", entries(r.Free), limit)
	if r.Filler > 0 {
		s += fmt.Sprintf(", of which %s are filler", thousands(uint64(r.Filler)))
	}
	return s
}

// Count is a named count or difference of counts.
type Count struct {
	Name string `json:"name"` // "raw/prerouting"
	N    int64  `json:"n"`    // the count or the difference
}

// Law is a law that relates the counts, and whether they obey it.
type Law struct {
	Law     string `json:"law"`           // "before = behind + dropped"
	Verdict string `json:"verdict"`       // one of Holds, Broken and NotApplicable
	Why     string `json:"why,omitempty"` // for Broken and NotApplicable
}

// The verdicts of a Law.
const (
	Holds         = "holds"
	Broken        = "broken"
	NotApplicable = "not applicable"
)

// Sysctl is a sysctl that differs from a new namespace.
type Sysctl struct {
	Name   string `json:"name"`         // "net.netfilter.nf_conntrack_tcp_loose"
	Before string `json:"before"`       // value in a new namespace; for a link that of "default"
	After  string `json:"after"`        // value in the experiment
	By     string `json:"by,omitempty"` // who set it: "ctexp", "Config", "somebody else"
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

// Missing is a part that is not available, or incomplete.
type Missing struct {
	Part string `json:"part"` // one of the constants above; any other part is shown with the settings
	Why  string `json:"why"`  // reason; may begin with the name of the part
}

// Omitted is how many items each list lacks.
type Omitted struct {
	Flows    int `json:"flows,omitempty"`    // entries
	Rules    int `json:"rules,omitempty"`    // lines of the ruleset
	Frames   int `json:"frames,omitempty"`   // all omitted frames
	Dropped  int `json:"dropped,omitempty"`  // those of Frames that were dropped
	Timeline int `json:"timeline,omitempty"` // moments
}

// Frame is a frame that went over a link.
type Frame struct {
	At   time.Duration `json:"at_ns"` // since Data.Time
	Link string        `json:"link"`  // "tun0"
	Dir  string        `json:"dir"`   // In or Out, as seen by the host
	// Line is the packet in the format of tcpdump: "IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, length 0".
	Line string `json:"line"`
	// Src and Dst are the addresses, with ports if the protocol has them; zero if the packet is not IP.
	Src netip.AddrPort `json:"src,omitzero"`
	Dst netip.AddrPort `json:"dst,omitzero"` // see Src
	// What is the packet in one or two words, "SYN+ACK", and Detail the rest of the line: "seq 1, win 65535, length
	// 0".
	What   string `json:"what,omitempty"`
	Detail string `json:"detail,omitempty"` // see What
	// State is the conntrack state: "NEW SYN_SENT [UNREPLIED]", "INVALID", "no entry"; empty: not known.
	State   string   `json:"state,omitempty"`
	Invalid bool     `json:"invalid,omitempty"` // conntrack called it INVALID
	Verdict string   `json:"verdict,omitempty"` // Dropped, Accepted, or empty: not known
	Causes  []Cause  `json:"causes,omitempty"`  // why it was dropped: one cause, or several possible ones
	SetUp   bool     `json:"set_up,omitempty"`  // it was dropped as the experiment was set up to do; see Loss.SetUp
	Reason  string   `json:"reason,omitempty"`  // why it is invalid or was dropped, in words
	Steps   []string `json:"steps,omitempty"`   // the rules that it met with their verdicts, one per line
}

// The directions of a Frame and its verdicts.
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

// Comment returns verdict, state and reason, without empty ones, separated by "; ". It is the comment of the packet
// in capture.pcapng.
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
	At   time.Duration `json:"at_ns"` // since Data.Time
	Kind string        `json:"kind"`  // "frame", "event", "reason", "trace", "drop", "count"
	// Frame is the number of the frame that it is or belongs to, counted from 1 as in capture.pcapng. Zero: none.
	Frame int    `json:"frame,omitempty"`
	Line  string `json:"line"`           // one line, without time and number
	Loss  bool   `json:"loss,omitempty"` // it is about a packet that was lost
}

// Text returns the line after the number of its frame. What belongs to a frame is indented below it.
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
	Line  string `json:"line"`            // the canonical form, which can be sorted and compared
	Proto string `json:"proto"`           // "tcp"
	State string `json:"state,omitempty"` // "SYN_SENT"; empty unless the protocol is TCP
	// Orig and Reply are the tuples in the format of conntrack -L: "src=198.18.0.2 dst=192.0.2.1 sport=10000
	// dport=80".
	Orig  string `json:"orig"`
	Reply string `json:"reply"` // see Orig
	// OrigEnds and ReplyEnds are the tuples in the format of Ends.
	OrigEnds  string   `json:"orig_ends,omitempty"`
	ReplyEnds string   `json:"reply_ends,omitempty"` // see OrigEnds
	Status    string   `json:"status,omitempty"`     // the status bits by the kernel's names: "SEEN_REPLY,ASSURED"
	NAT       string   `json:"nat,omitempty"`        // what was translated, and on which side
	Timeout   int64    `json:"timeout_s,omitempty"`  // seconds, at the time of reading
	Mark      uint32   `json:"mark,omitempty"`       // ct mark
	Zone      uint16   `json:"zone,omitempty"`       // ct zone
	Helper    string   `json:"helper,omitempty"`     // "ftp"
	Labels    string   `json:"labels,omitempty"`     // ct labels
	Packets   [2]int64 `json:"packets,omitzero"`     // original, reply; zero if they are not counted
	Bytes     [2]int64 `json:"bytes,omitzero"`       // like Packets
	Life      []string `json:"life,omitempty"`       // its events: "NEW SYN_SENT", "UPDATE SYN_RECV", "DESTROY"
}

// Ends returns a tuple as two endpoints: "198.18.0.2:10000 → 192.0.2.1:80". For ICMP they are followed by type, code
// and identifier, for GRE by the keys.
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

// Rule is a line of the ruleset with its counters.
type Rule struct {
	Backend string `json:"backend"`         // "nft", "iptables-nft" or "iptables-legacy"
	Family  string `json:"family"`          // "ip", "ip6", "inet"
	Table   string `json:"table"`           // "filter"
	Chain   string `json:"chain,omitempty"` // empty for a counter
	Kind    string `json:"kind"`            // "rule", "policy" or "counter"
	Text    string `json:"text"`            // as nft or iptables lists it
	Counted bool   `json:"counted"`         // false: Packets and Bytes are meaningless
	Packets uint64 `json:"packets"`         // that the rule counted
	Bytes   uint64 `json:"bytes"`           // of these packets
}

// missing returns why a part is not available; "" if it is.
func (d Data) missing(part string) string {
	for _, m := range d.Missing {
		if m.Part == part {
			return m.Why
		}
	}
	return ""
}

// normalize returns d in the form in which it is shown: losses and frames say what of the set-up asks for them, reasons do not repeat the name of the part or the verdict
// that precedes them, laws that are not applicable are removed unless the table was limited, and sysctls set by the
// experiment come before those set by ctexp.
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
	d.Path.Losses, d.Frames = slices.Clone(d.Path.Losses), slices.Clone(d.Frames)
	for i, l := range d.Path.Losses {
		d.Path.Losses[i].SetUp = d.setUp(l.Causes)
	}
	for i, f := range d.Frames {
		d.Frames[i].SetUp = f.Verdict == Dropped && d.setUp(f.Causes) != ""
	}
	d.Sysctls = slices.Clone(d.Sysctls)
	slices.SortStableFunc(d.Sysctls, func(a, b Sysctl) int { return cmp.Compare(setterRank(a.By), setterRank(b.By)) })
	return d
}

// setUp returns what of the experiment's set-up asks for a loss with these causes: "room for 7 entries", "a rule of the
// experiment"; "" if one of the causes is another, or not certain.
func (d Data) setUp(causes []Cause) string {
	var asks []string
	for _, c := range causes {
		ask := ""
		switch {
		case c.Kind == string(observe.CauseTableFull) && d.Room.Limited:
			ask = "room for " + entries(d.Room.Free)
		case c.Kind == string(observe.CauseRule) && c.Certain:
			ask = "a rule of the experiment"
		default:
			return ""
		}
		if !slices.Contains(asks, ask) {
			asks = append(asks, ask)
		}
	}
	return strings.Join(asks, ", ")
}

// setterRank orders sysctls set by ctexp after the others.
func setterRank(setter string) int {
	if setter == "ctexp" {
		return 1
	}
	return 0
}

// ReadJSON reads what WriteJSON wrote. It returns an error for a version other than Version, and ignores unknown
// fields.
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
