package report

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sequence is the picture of the packets between the outside of each link and the host. Time goes down.
type sequence struct {
	Lifelines []string // names, from left to right; the host is the second
	Messages  []kept[message]
}

// message is an arrow: a frame, or several that differ in a port and nothing else.
type message struct {
	At       time.Duration
	Gap      int    // which gap between lifelines it crosses, from 1
	Wide     int    // how many gaps
	Toward   string // "right" or "left"
	words    words
	Frame    Frame
	Times    int
	srcPorts []string
	dstPorts []string
}

// mostMessages is how many arrows are drawn.
const mostMessages = 60

// mostLifelines is how many there is room for; what is beyond shares the last.
const mostLifelines = 8

// host is the index of the host among the lifelines.
const host = 1

func (d Data) sequence() sequence {
	s := sequence{Lifelines: []string{"", "host"}}
	place := map[string]int{}
	learn := func(link string) {
		if _, ok := place[link]; ok {
			return
		}
		if len(place) == 0 {
			place[link], s.Lifelines[0] = 0, link
			return
		}
		if len(s.Lifelines) == mostLifelines {
			place[link], s.Lifelines[mostLifelines-1] = mostLifelines-1, "other links"
			return
		}
		place[link], s.Lifelines = len(s.Lifelines), append(s.Lifelines, link)
	}
	used := map[string]bool{}
	for _, f := range d.Frames {
		used[f.Link] = true
	}
	for _, l := range d.Links {
		if used[l.Name] {
			learn(l.Name)
		}
	}
	var all []message
	for _, f := range d.Frames {
		learn(f.Link)
		m := newMessage(f, place[f.Link])
		if n := len(all); n == 0 || !all[n-1].add(m) {
			all = append(all, m)
		}
	}
	s.Messages = keep(all, mostMessages, 0, message.Lost)
	return s
}

func newMessage(f Frame, outside int) message {
	w := split(f.Line)
	m := message{At: f.At, words: w, Frame: f, Times: 1, srcPorts: []string{w.SrcPort}, dstPorts: []string{w.DstPort}}
	m.Gap, m.Wide = min(outside, host)+1, max(outside, host)-min(outside, host)
	m.Toward = "left"
	if (f.Dir == In) == (outside < host) {
		m.Toward = "right"
	}
	return m
}

// add takes a later message into m if they differ in a port of one side and in nothing else, and reports whether it did.
func (m *message) add(next message) bool {
	a, b := m.words, next.words
	a.SrcPort, a.DstPort, b.SrcPort, b.DstPort = "", "", "", ""
	same := a == b && m.Gap == next.Gap && m.Wide == next.Wide && m.Toward == next.Toward && m.Frame.State == next.Frame.State &&
		m.Frame.Verdict == next.Frame.Verdict && m.Frame.Reason == next.Frame.Reason && slices.Equal(m.Frame.Steps, next.Frame.Steps)
	sameSrc := constant(m.srcPorts, next.words.SrcPort)
	sameDst := constant(m.dstPorts, next.words.DstPort)
	if !same || !sameSrc && !sameDst || len(m.srcPorts) > 1 && !sameDst || len(m.dstPorts) > 1 && !sameSrc {
		return false
	}
	m.Times++
	if !sameSrc {
		m.srcPorts = append(m.srcPorts, next.words.SrcPort)
	}
	if !sameDst {
		m.dstPorts = append(m.dstPorts, next.words.DstPort)
	}
	return true
}

func constant(ports []string, port string) bool { return len(ports) == 1 && ports[0] == port }

// Lost reports whether the packet went no further than the host.
func (m message) Lost() bool { return m.Frame.Verdict == Dropped }

// What is the word on the arrow.
func (m message) What() string { return m.words.What }

// Detail is the rest of the line.
func (m message) Detail() string { return m.words.Detail }

// Ends are the endpoints in the direction of the packet: "198.18.0.2:10000–10006 → 192.0.2.1:80".
func (m message) Ends() string {
	if m.words.Src == "" {
		return ""
	}
	return join(m.words.Src, ports(m.srcPorts)) + " → " + join(m.words.Dst, ports(m.dstPorts))
}

// ports prints a list of ports: "10000–10006" if they follow each other, else the first few.
func ports(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	if run(list) {
		return list[0] + "–" + list[len(list)-1]
	}
	const most = 3
	if len(list) > most {
		return fmt.Sprintf("%s … %s", strings.Join(list[:most], ", "), list[len(list)-1])
	}
	return strings.Join(list, ", ")
}

// run reports whether each port is the one after the last.
func run(list []string) bool {
	first, err := strconv.Atoi(list[0])
	for i, p := range list {
		if n, e := strconv.Atoi(p); err != nil || e != nil || n != first+i {
			return false
		}
	}
	return true
}

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
