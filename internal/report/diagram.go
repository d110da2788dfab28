package report

import (
	"fmt"
	"strings"
)

// drawing is a picture of the path in SVG: boxes for the stages with their counts, bands between them as thick as
// there were packets, and what was lost falling out of the box where it went. It is drawn twice: in rows for a wide screen, in
// a column for a telephone. All text is laid out here, since SVG neither breaks nor measures it.
type drawing struct {
	Kind  string // "wide" or "narrow"
	W, H  int
	Label string // what the picture says, for those who do not see it
	Boxes []box
	Lines []line
	Texts []text
	Heads []head
}

// box is a stage.
type box struct {
	X, Y, W, H int
	Point      Point
	Stage      string // short enough for the box
	StageX     int
	StageY     int
	Count      string
	CountX     int
	CountY     int
	Anchor     string // of the count: "middle" or "end"
	Squeeze    int    // width of a count that would not fit; zero: as it is
	Class      string
}

// line is a band of packets, or what falls out of it.
type line struct {
	X1, Y1, X2, Y2 int
	Thick          string
	Class          string
}

// text is a line of text from its left.
type text struct {
	X, Y  int
	Class string
	Text  string
}

// write puts a line of text into the drawing, if there is anything to write.
func (g *drawing) write(x, y int, class, s string) {
	if s != "" {
		g.Texts = append(g.Texts, text{x, y, class, s})
	}
}

// head is the point of an arrow.
type head struct {
	Points string
	Class  string
}

// The classes of what is drawn: plain, of conntrack itself, where packets were lost, and where they went on without an
// entry.
const (
	classPlain = "plain"
	classCT    = "ct"
	classLost  = "lost"
	classWarn  = "warn"
)

// The text beside a loss is 12 pixels high, in a font of fixed width: some 0.6 of that, and a bit to be sure.
const (
	reasonWide  = 74 // tenths of a pixel
	reasonLines = 16 // from one line to the next
)

// boxClass returns how the box of a stage looks; the worst loss of all is the most red.
func (d Data) boxClass(p Point, losses []Loss) string {
	class := classPlain
	switch p.Stage() {
	case "conntrack", "confirm", "confirmed":
		class = classCT
	}
	for _, l := range losses {
		if l.Unconfirmed {
			class = classWarn
			continue
		}
		if l.Lost == d.Path.worst() {
			return classLost + " worst"
		}
		class = classLost
	}
	return class
}

// worst returns how many packets the worst loss took.
func (p Path) worst() uint64 {
	var n uint64
	for _, l := range p.Losses {
		if !l.Unconfirmed {
			n = max(n, l.Lost)
		}
	}
	return n
}

func lossClass(l Loss) string {
	if l.Unconfirmed {
		return classWarn
	}
	return classLost
}

// thickness returns how thick the band of n packets is, of at most most.
func thickness(n, most uint64) string {
	if n == 0 {
		return "1"
	}
	return fmt.Sprintf("%.1f", 2+12*min(1, float64(n)/float64(most)))
}

// lossText returns the lines of text beside what was lost, each of at most width columns.
func lossText(l Loss, width int) []text {
	verb := "lost"
	if l.Unconfirmed {
		verb = "without an entry"
	}
	var out []text
	add := func(s, class string) {
		for _, line := range wrap(s, width) {
			out = append(out, text{Text: line, Class: class})
		}
	}
	add(fmt.Sprintf("%s of %s %s", thousands(l.Lost), thousands(l.Of), verb), "t-"+lossClass(l))
	add(l.Why, "t-why")
	for _, e := range l.Evidence {
		add(e, "t-dim")
	}
	return out
}

// onward says where the packets of a lane go from its end: "→ input 7, forward 3".
func onward(l lane, all []lane) []string {
	next := map[string][]string{ingress: {"prerouting"}, "prerouting": {"input", "forward"}, "forward": {"postrouting"}, "output": {"postrouting"}}[l.hook]
	var out []string
	for _, other := range all {
		if other.family != l.family || other.first() == 0 {
			continue
		}
		for _, hook := range next {
			if other.hook == hook {
				out = append(out, "→ "+hook)
			}
		}
	}
	arrived := l.points[len(l.points)-1].Packets > 0
	switch {
	case arrived && l.hook == "input":
		out = append(out, "→ the host")
	case arrived && l.hook == "postrouting":
		out = append(out, "→ a link")
	}
	return out
}

// whence says where the packets of a lane come from.
func (d Data) whence(hook string) string {
	switch hook {
	case ingress, "prerouting":
		if len(d.Links) == 1 {
			return "from " + d.Links[0].Name
		}
		return "from a link"
	case "input":
		return "to the host"
	case "forward":
		return "through it"
	case "output":
		return "from the host"
	case "postrouting":
		return "on the way out"
	}
	return ""
}

// lossTotal is how many packets a lane lost.
func lossTotal(l lane) uint64 {
	var n uint64
	for _, losses := range l.losses {
		for _, loss := range losses {
			if !loss.Unconfirmed {
				n += loss.Lost
			}
		}
	}
	return n
}

// spoken is the picture in words.
func (p Path) spoken() string {
	busy, _ := p.lanes()
	var s []string
	for _, l := range busy {
		s = append(s, fmt.Sprintf("%s %s: %s arrived, %s lost", familyName(l.family), l.hook, packets(l.first()), thousands(lossTotal(l))))
	}
	for _, l := range p.Losses {
		from, to := l.place()
		s = append(s, fmt.Sprintf("%s of %s between %s and %s: %s", thousands(l.Lost), thousands(l.Of), from, to, l.Why))
	}
	return strings.Join(s, ". ")
}
