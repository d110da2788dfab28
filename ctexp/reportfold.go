package ctexp

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/report"
)

// reasonLines says each reason once, in the order of the first packets, with how many had it. Reasons that differ in their
// numbers are one.
func reasonLines(reasons []observe.Reason) []string {
	type of struct {
		proto nf.Proto
		text  string
	}
	var firsts []observe.Reason
	times, at := []int{}, map[of]int{}
	for _, r := range reasons {
		key := of{r.Proto, number.ReplaceAllString(r.Text, "N")}
		i, known := at[key]
		if !known {
			i = len(firsts)
			at[key], firsts, times = i, append(firsts, r), append(times, 0)
		}
		times[i]++
	}
	out := lines(firsts)
	for i, n := range times {
		if n > 1 {
			out[i] += fmt.Sprintf(" ×%d", n)
		}
	}
	return out
}

var number = regexp.MustCompile(`[0-9]+`)

// frameLines returns the frames to show, and what is to be said of the others: neighbours that differ in a port of one side
// and in nothing else are one line, as on the page. What is known of their fate stands behind: known has the first frames.
func frameLines(frames []observe.Frame, known []report.Frame) (shown []string, rest string) {
	var folds []*fold
	left, dropped := 0, 0
	for i, f := range frames {
		var k report.Frame
		if i < len(known) {
			k = known[i]
		}
		if left == 0 {
			next := newFold(f.String(), k)
			if n := len(folds); n > 0 && folds[n-1].add(next) {
				continue
			}
			if len(folds) <= mostFrameLines {
				folds = append(folds, next)
				continue
			}
			last := folds[mostFrameLines] // there was room for it as long as it was the last
			folds, left = folds[:mostFrameLines], last.times
			if last.dropped {
				dropped = last.times
			}
		}
		left++
		if k.Verdict == report.Dropped {
			dropped++
		}
	}
	if left > 0 {
		rest = fmt.Sprintf("%d more", left)
	}
	if dropped > 0 {
		rest += fmt.Sprintf(", %d of them dropped", dropped)
	}
	return lines(folds), rest
}

// fold is the line of a frame, or of several that differ in a port of one side.
type fold struct {
	time    string
	side    [2]string   // what precedes the ports: "tun0 In  IP 198.18.0.2." and " > 192.0.2.1."; empty without ports
	port    [2][]string // source and destination; of several frames one has a port for each
	rest    string      // of the line
	fate    string
	times   int
	dropped bool
}

// ported is the line of a frame with ports behind the addresses, the fifth number of IPv4 and what follows a dot in IPv6.
var ported = regexp.MustCompile(`^(\S+ +\S+ +(?:IP (?:\d+\.){4}|IP6 [0-9a-f:]+\.))(\d+)( > (?:(?:\d+\.){4}|[0-9a-f:]+\.))(\d+)(: .*)$`)

func newFold(line string, k report.Frame) *fold {
	f := &fold{times: 1, dropped: k.Verdict == report.Dropped}
	f.time, f.rest, _ = strings.Cut(line, " ")
	if m := ported.FindStringSubmatch(f.rest); m != nil {
		f.side, f.rest = [2]string{m[1], m[3]}, m[5]
		f.port = [2][]string{{m[2]}, {m[4]}}
	}
	switch {
	case f.dropped && strings.HasPrefix(k.Reason, report.Dropped):
		f.fate = k.Reason
	case f.dropped:
		f.fate = strings.TrimSuffix(report.Dropped+": "+k.Reason, ": ")
	case k.State == "INVALID":
		f.fate = k.State
	}
	return f
}

// add takes the next frame into f if it may, and reports whether it did.
func (f *fold) add(next *fold) bool {
	if f.side != next.side || f.rest != next.rest || f.fate != next.fate {
		return false
	}
	if f.side != [2]string{} {
		src, dst := next.port[0][0], next.port[1][0]
		sameSrc, sameDst := constant(f.port[0], src), constant(f.port[1], dst)
		switch {
		case sameSrc && sameDst:
		case sameDst && (len(f.port[0]) > 1 || f.times == 1):
			f.port[0] = append(f.port[0], src)
		case sameSrc && (len(f.port[1]) > 1 || f.times == 1):
			f.port[1] = append(f.port[1], dst)
		default:
			return false
		}
	}
	f.times++
	return true
}

func constant(ports []string, port string) bool { return len(ports) == 1 && ports[0] == port }

// String prints "15:37:08.471190 tun0 In  IP 198.18.0.2.10000–10006 > 192.0.2.1.80: Flags [S], …, length 0 ×7".
func (f *fold) String() string {
	s := f.time + " "
	if f.side != [2]string{} {
		s += f.side[0] + ports(f.port[0]) + f.side[1] + ports(f.port[1])
	}
	s += f.rest
	if f.times > 1 {
		s += fmt.Sprintf(" ×%d", f.times)
	}
	if f.fate != "" {
		s += " (" + f.fate + ")"
	}
	return s
}

// ports prints a list of ports: "10000–10006" if each is the one after the last, else "10000 … 10019".
func ports(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	first, _ := strconv.Atoi(list[0])
	for i, p := range list {
		if n, err := strconv.Atoi(p); err != nil || n != first+i {
			return list[0] + " … " + list[len(list)-1]
		}
	}
	return list[0] + "–" + list[len(list)-1]
}
