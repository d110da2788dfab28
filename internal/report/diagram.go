package report

import (
	"fmt"
	"strings"
)

// drawing is an SVG picture of the path: boxes for the stages with their counts, bands between them whose thickness
// shows the number of packets, and arrows from a box for what was lost there. There are two: one in rows for wide
// screens, and one in a column for phones. Text is laid out here, because SVG neither breaks nor measures it.
type drawing struct {
	Kind  string // "wide" or "narrow"
	W, H  int
	Label string // text alternative of the picture
	Boxes []box
	Lines []line
	Texts []text
	Heads []head
}

// box is a stage.
type box struct {
	X, Y, W, H int
	Point      Point
	Stage      string // abbreviated to fit
	StageX     int
	StageY     int
	Count      string
	CountX     int
	CountY     int
	Anchor     string // text-anchor of the count: "start" or "end"
	Squeeze    int    // width to which a long count is condensed; zero: not condensed
	Class      string
}

// line is a band of packets, or the shaft of an arrow for a loss.
type line struct {
	X1, Y1, X2, Y2 int
	Thick          string
	Class          string
}

// text is a line of text that begins at X.
type text struct {
	X, Y  int
	Class string
	Text  string
}

// head is the head of an arrow.
type head struct {
	Points string
	Class  string
}

// write adds a line of text to the drawing unless it is empty.
func (g *drawing) write(x, y int, class, s string) {
	if s != "" {
		g.Texts = append(g.Texts, text{x, y, class, s})
	}
}

// The CSS classes of boxes and lines: plain, conntrack's own, packets were lost, packets were lost as the experiment was
// set up to do, and packets continued without an entry.
const (
	classPlain = "plain"
	classCT    = "ct"
	classLost  = "lost"
	classSetUp = "setup"
	classWarn  = "warn"
)

// The text beside a loss is 12 pixels high, in a font of fixed width of about 0.6 of that, rounded up.
const (
	reasonWide  = 74 // tenths of a pixel per column
	reasonLines = 16 // pixels between lines
)

// The dimensions of the wide drawing, which has a lane for each hook with its boxes from left to right.
const (
	wideW      = 1040
	wideLeft   = 132 // where the boxes begin
	wideBoxW   = 92
	wideBoxH   = 50
	wideSlot   = 114
	wideTop    = 8
	wideGap    = 30 // between lanes
	wideDrop   = 22 // from a box to the text of its loss
	wideFamily = 30 // line with the name of a family
)

func (d Data) wide() drawing {
	busy, _ := d.Path.lanes()
	g := drawing{Kind: "wide", W: wideW, Label: d.Path.altText()}
	y, family := wideTop, ""
	for _, l := range busy {
		if l.family != family && d.Path.families() > 1 {
			g.write(0, y+16, "t-family", short(familyName(l.family), 60))
			y += wideFamily
		}
		family = l.family
		y = g.wideLane(d, l, busy, y) + wideGap
	}
	if n := d.Path.Silenced; n > 0 {
		y = g.wideSilenced(n, y) + wideGap
	}
	g.H = max(y-wideGap+wideTop, 1)
	return g
}

// wideLane draws a lane with its top at y and returns where it ends.
func (g *drawing) wideLane(d Data, l lane, all []lane, y int) int {
	mid, peak := y+wideBoxH/2, d.Path.maxPackets(l.family)
	g.write(0, mid-1, "t-hook", short(l.hook, 14))
	g.write(0, mid+15, "t-dim", short(d.origin(l.hook), 17))
	g.Lines = append(g.Lines, line{wideLeft - 16, mid, wideLeft, mid, thickness(l.first(), peak), bandClass(l.first())})
	perRow := (wideW - wideLeft) / wideSlot // a path with more than the standard probes continues in the next row
	for from := 0; from < len(l.points); from += perRow {
		to := min(from+perRow, len(l.points))
		row := lane{l.family, l.hook, l.points[from:to], l.losses[from:to]}
		end := g.wideRow(d, row, peak, y)
		if to == len(l.points) {
			x := wideLeft + (to-from)*wideSlot - wideSlot + wideBoxW
			for i, s := range destinations(l, all) {
				g.write(x+10, mid+4+16*i, "t-dim", s)
			}
		}
		y, mid = end+wideGap, end+wideGap+wideBoxH/2
	}
	return y - wideGap
}

// wideRow draws the boxes of a row and their losses, and returns where they end.
func (g *drawing) wideRow(d Data, l lane, peak uint64, y int) int {
	mid := y + wideBoxH/2
	for i, p := range l.points {
		x := wideLeft + i*wideSlot
		b := box{
			X: x, Y: y, W: wideBoxW, H: wideBoxH, Point: p, Class: d.boxClass(p, l.losses[i]),
			Stage: short(p.Stage(), 10), StageX: x + 9, StageY: y + 18,
			Count: thousands(p.Packets), CountX: x + 9, CountY: y + 40, Anchor: "start",
		}
		if len(b.Count) > 7 {
			b.Squeeze = wideBoxW - 16
		}
		g.Boxes = append(g.Boxes, b)
		if i > 0 {
			g.Lines = append(g.Lines, line{x - wideSlot + wideBoxW, mid, x, mid, thickness(p.Packets, peak), bandClass(p.Packets)})
		}
	}
	return g.wideLosses(l, peak, y+wideBoxH)
}

// wideLosses draws the losses below their boxes, from right to left. A loss goes below its right neighbour unless it
// fits to the left of it, so that no arrow crosses a text.
func (g *drawing) wideLosses(l lane, peak uint64, y int) int {
	bottom, level, next := y, y, wideW // level: where the text of the right neighbour begins; next: its arrow
	for i := len(l.points) - 1; i >= 0; i-- {
		for k, loss := range l.losses[i] {
			x := wideLeft + i*wideSlot + wideBoxW/2 - 24*k
			left := x + 16
			lines := lossText(loss, (next-10-left)*10/reasonWide)
			top := level
			switch {
			case bottom == y: // the first loss
				top = y
			case next-10-left < 100 || len(lines) > 3:
				lines, top = lossText(loss, (wideW-left)*10/reasonWide), bottom+8
			}
			class := lossClass(loss)
			tip := top + wideDrop
			g.Lines = append(g.Lines, line{x, y, x, tip - 8, thickness(loss.Lost, peak), class})
			g.Heads = append(g.Heads, head{fmt.Sprintf("%d,%d %d,%d %d,%d", x-10, tip-9, x+10, tip-9, x, tip+4), class})
			for n, t := range lines {
				t.X, t.Y = left, tip+2+n*reasonLines
				g.Texts = append(g.Texts, t)
			}
			bottom = max(bottom, tip+4+(len(lines)-1)*reasonLines)
			level, next = top, x-12
		}
	}
	return bottom
}

// wideSilenced draws the packets that a silent host drops.
func (g *drawing) wideSilenced(n uint64, y int) int {
	mid := y + wideBoxH/2
	g.write(0, mid-1, "t-hook", "output")
	g.write(0, mid+15, "t-dim", "from the host")
	b := box{
		X: wideLeft, Y: y, W: wideBoxW, H: wideBoxH, Class: "quiet", Point: silenced(n),
		Stage: "silenced", StageX: wideLeft + 9, StageY: y + 18,
		Count: thousands(n), CountX: wideLeft + 9, CountY: y + 40, Anchor: "start",
	}
	if len(b.Count) > 7 {
		b.Squeeze = wideBoxW - 16
	}
	g.Boxes = append(g.Boxes, b)
	g.write(wideLeft+wideBoxW+14, mid+4, "t-dim", silencedWhy)
	return y + wideBoxH
}

// The dimensions of the narrow drawing, which has one column of boxes with their losses to the right. It is drawn for
// a phone of 390 pixels and not enlarged.
const (
	narrowW    = 358
	narrowBoxW = 150
	narrowBoxH = 32
	narrowGap  = 12 // between boxes
	narrowHook = 30 // line with the name of a hook
	narrowText = narrowBoxW + 32
)

// narrowColumns is the number of text columns beside a box.
const narrowColumns = (narrowW - narrowText) * 10 / reasonWide

func (d Data) narrow() drawing {
	busy, _ := d.Path.lanes()
	g := drawing{Kind: "narrow", W: narrowW, Label: d.Path.altText()}
	y, family := 0, ""
	for _, l := range busy {
		if l.family != family && d.Path.families() > 1 {
			g.write(0, y+18, "t-family", short(familyName(l.family), 32))
			y += 26
		}
		family = l.family
		y = g.narrowLane(d, l, busy, y) + 18
	}
	if n := d.Path.Silenced; n > 0 {
		g.narrowHead("output", "from the host", y)
		y += narrowHook
		g.narrowBox(silenced(n), "quiet", y)
		lines := wrap(silencedWhy, narrowColumns)
		for i, s := range lines {
			g.write(narrowText, y+15+i*reasonLines, "t-dim", s)
		}
		y += max(narrowBoxH, len(lines)*reasonLines) + 18
	}
	g.H = max(y-10, 1)
	return g
}

func (g *drawing) narrowHead(hook, origin string, y int) {
	g.write(0, y+18, "t-hook", short(hook, 16))
	g.write(narrowBoxW+6, y+18, "t-dim", short(origin, narrowColumns+3))
}

func (g *drawing) narrowBox(p Point, class string, y int) {
	b := box{
		X: 1, Y: y, W: narrowBoxW, H: narrowBoxH, Point: p, Class: class,
		Stage: short(p.Stage(), 9), StageX: 9, StageY: y + 21,
		Count: thousands(p.Packets), CountX: narrowBoxW - 7, CountY: y + 22, Anchor: "end",
	}
	if room := narrowBoxW - 16 - columns(b.Stage)*8 - 6; len(b.Count)*9 > room {
		b.Squeeze = room
	}
	g.Boxes = append(g.Boxes, b)
}

// narrowLane draws a lane with its top at y and returns where it ends.
func (g *drawing) narrowLane(d Data, l lane, all []lane, y int) int {
	const mid = narrowBoxW / 2
	peak := d.Path.maxPackets(l.family)
	g.narrowHead(l.hook, d.origin(l.hook), y)
	y += narrowHook
	for i, p := range l.points {
		g.narrowBox(p, d.boxClass(p, l.losses[i]), y)
		end := y + narrowBoxH
		text := y + 15
		for _, loss := range l.losses[i] {
			text = g.narrowLoss(loss, peak, y+narrowBoxH/2, text)
			end = max(end, text-reasonLines-2)
			text += 4
		}
		if i == len(l.points)-1 {
			y = end
			break
		}
		next := end + narrowGap
		n := l.points[i+1].Packets
		g.Lines = append(g.Lines, line{mid, y + narrowBoxH, mid, next, thickness(n, peak), bandClass(n)})
		y = next
	}
	for _, s := range destinations(l, all) {
		y += reasonLines + 2
		g.write(9, y, "t-dim", s)
	}
	return y
}

// narrowLoss draws a loss to the right of the box with its middle at mid. Its text begins at the base line y; it
// returns the next free base line.
func (g *drawing) narrowLoss(l Loss, peak uint64, mid, y int) int {
	class := lossClass(l)
	x := narrowBoxW + 1
	if y <= mid { // the first loss of the box
		g.Lines = append(g.Lines, line{x, mid, x + 14, mid, thickness(l.Lost, peak), class})
		g.Heads = append(g.Heads, head{fmt.Sprintf("%d,%d %d,%d %d,%d", x+13, mid-10, x+13, mid+10, x+26, mid), class})
	}
	for _, t := range lossText(l, narrowColumns) {
		t.X, t.Y = narrowText, y
		g.Texts = append(g.Texts, t)
		y += reasonLines
	}
	return y
}

// boxClass returns the class of the box of a stage. The largest loss is emphasized.
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
		if l.SetUp != "" {
			if class != classLost {
				class = classSetUp
			}
			continue
		}
		if l.Lost == d.Path.worst() {
			return classLost + " worst"
		}
		class = classLost
	}
	return class
}

func lossClass(l Loss) string {
	if l.Unconfirmed {
		return classWarn
	}
	if l.SetUp != "" {
		return classSetUp
	}
	return classLost
}

func bandClass(n uint64) string {
	if n == 0 {
		return "band none"
	}
	return "band"
}

// thickness returns the thickness of the band of n packets, where the thickest band has peak packets.
func thickness(n, peak uint64) string {
	if n == 0 {
		return "1"
	}
	return fmt.Sprintf("%.1f", 2+12*min(1, float64(n)/float64(peak)))
}

// lossText returns the lines of text beside a loss, each of at most width columns.
func lossText(l Loss, width int) []text {
	var out []text
	add := func(s, class string) {
		for _, line := range wrap(s, width) {
			out = append(out, text{Text: line, Class: class})
		}
	}
	add(fmt.Sprintf("%s of %s %s", thousands(l.Lost), thousands(l.Of), l.verb()), "t-"+lossClass(l))
	add(l.Why, "t-why")
	if l.SetUp != "" {
		add("as set up: "+l.SetUp, "t-dim")
	}
	for _, e := range l.Evidence {
		add(e, "t-dim")
	}
	return out
}

// destinations returns where the packets of a lane continue: "→ input", "→ forward".
func destinations(l lane, all []lane) []string {
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

// origin describes where the packets of a hook come from.
func (d Data) origin(hook string) string {
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

func silenced(n uint64) Point { return Point{Name: "silenced/output", Hook: "output", Packets: n} }

const silencedWhy = "the host's own answers, dropped before conntrack saw them"

// altText describes the picture in words.
func (p Path) altText() string {
	busy, _ := p.lanes()
	var s []string
	for _, l := range busy {
		s = append(s, fmt.Sprintf("%s %s: %s arrived, %s lost", familyName(l.family), l.hook, packets(l.first()), thousands(l.lost())))
	}
	for _, l := range p.Losses {
		from, to := l.place()
		s = append(s, fmt.Sprintf("%s of %s between %s and %s: %s", thousands(l.Lost), thousands(l.Of), from, to, l.Why))
	}
	return strings.Join(s, ". ")
}
