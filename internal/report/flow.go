package report

import "strings"

// Flow is an entry of the conntrack table.
type Flow struct {
	Line  string `json:"line"`            // the canonical form, which sorts and diffs
	Proto string `json:"proto"`           // "tcp"
	State string `json:"state,omitempty"` // "SYN_SENT"; empty unless the protocol is TCP
	// Orig and Reply are the tuples in the words of conntrack -L: "src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80".
	Orig    string   `json:"orig"`
	Reply   string   `json:"reply"`
	Status  string   `json:"status,omitempty"`    // the bits by the kernel's names: "SEEN_REPLY,ASSURED"
	NAT     string   `json:"nat,omitempty"`       // what was translated, on which side
	Timeout int64    `json:"timeout_s,omitempty"` // seconds, as of reading it
	Mark    uint32   `json:"mark,omitempty"`
	Zone    uint16   `json:"zone,omitempty"`
	Helper  string   `json:"helper,omitempty"`
	Labels  string   `json:"labels,omitempty"`
	Packets [2]int64 `json:"packets,omitzero"` // original, reply; zero where they are not counted
	Bytes   [2]int64 `json:"bytes,omitzero"`
	Life    []string `json:"life,omitempty"` // its events: "NEW SYN_SENT", "UPDATE SYN_RECV", "DESTROY"
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

// ends returns a tuple as people write it, "198.18.0.2:10000 → 192.0.2.1:80"; one that has more to it than addresses
// and ports keeps the rest as it is.
func ends(tuple string) string {
	is := map[string]string{}
	var rest []string
	for _, word := range strings.Fields(tuple) {
		k, v, ok := strings.Cut(word, "=")
		switch {
		case ok && is[k] == "" && (k == "src" || k == "dst" || k == "sport" || k == "dport"):
			is[k] = v
		default:
			rest = append(rest, word)
		}
	}
	if is["src"] == "" || is["dst"] == "" {
		return tuple
	}
	s := join(is["src"], is["sport"]) + " → " + join(is["dst"], is["dport"])
	return strings.Join(append([]string{s}, rest...), " ")
}

// join puts a port behind an address, if there is one.
func join(addr, port string) string {
	switch {
	case port == "":
		return addr
	case strings.Contains(addr, ":"):
		return "[" + addr + "]:" + port
	}
	return addr + ":" + port
}
