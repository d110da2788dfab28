package report

import (
	"regexp"
	"strings"
)

// words is the line of a packet taken apart.
type words struct {
	Src, Dst         string // addresses
	SrcPort, DstPort string // empty without ports
	What             string // "SYN+ACK", "UDP", "ICMP echo request"
	Detail           string // the rest: "seq 1, win 65535, length 0"
}

var packetLine = regexp.MustCompile(`^IP6? ([0-9a-fA-F.:]+) > ([0-9a-fA-F.:]+): (.*)$`)

// split takes the line of a packet apart, as tcpdump and this module print it. Of a line that reads otherwise all is in
// What.
func split(line string) words {
	m := packetLine.FindStringSubmatch(line)
	if m == nil {
		return words{What: line}
	}
	var w words
	w.Src, w.SrcPort = endpoint(m[1])
	w.Dst, w.DstPort = endpoint(m[2])
	w.What, w.Detail = kind(m[3])
	if flags, ok := strings.CutPrefix(w.What, "Flags ["); ok && strings.HasSuffix(flags, "]") {
		w.What = flagNames(strings.TrimSuffix(flags, "]"))
	}
	return w
}

// kind divides what a packet is from the rest of its line: "UDP", "ICMP echo request", "ICMP6 port unreachable", whose rest
// begins with the packet that it is about.
func kind(s string) (what, detail string) {
	prefix := ""
	if of, ok := strings.CutPrefix(s, "ICMP6, "); ok {
		prefix, s = "ICMP6 ", of
	}
	what, detail, _ = strings.Cut(s, ", ")
	if before, about, ok := strings.Cut(s, " for ("); ok && len(before) < len(what) {
		what, detail = before, "for ("+about
	}
	return prefix + what, detail
}

// endpoint divides an address from its port: the fifth number of IPv4, what follows a dot in IPv6.
func endpoint(s string) (addr, port string) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 || !strings.Contains(s, ":") && strings.Count(s, ".") != 4 {
		return s, ""
	}
	return s[:i], s[i+1:]
}

// flagNames spells tcpdump's letters out: "S." is "SYN+ACK".
func flagNames(letters string) string {
	names := map[rune]string{'S': "SYN", 'F': "FIN", 'R': "RST", 'P': "PSH", '.': "ACK", 'U': "URG", 'E': "ECE", 'W': "CWR"}
	var s []string
	for _, r := range letters {
		name, ok := names[r]
		if !ok {
			return "TCP [" + letters + "]" // "none" among others
		}
		s = append(s, name)
	}
	return strings.Join(s, "+")
}
