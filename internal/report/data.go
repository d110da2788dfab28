package report

import "time"

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
	Timeline int `json:"timeline,omitempty"`
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
