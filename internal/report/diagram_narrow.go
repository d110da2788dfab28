package report

import "fmt"

// The measures of the narrow picture: one column of boxes, what they lost to their right. It is drawn for a telephone
// of 390 pixels and shown no larger.
const (
	narrowW    = 358
	narrowBoxW = 150
	narrowBoxH = 32
	narrowGap  = 12 // between boxes
	narrowHook = 30 // the line with the name of a hook
	narrowText = narrowBoxW + 32
)

func (d Data) narrow() drawing {
	busy, _ := d.Path.lanes()
	g := drawing{Kind: "narrow", W: narrowW, Label: d.Path.spoken()}
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

// narrowColumns is how many columns there are beside a box.
const narrowColumns = (narrowW - narrowText) * 10 / reasonWide

func (g *drawing) narrowHead(hook, whence string, y int) {
	g.write(0, y+18, "t-hook", short(hook, 16))
	g.write(narrowBoxW+6, y+18, "t-dim", short(whence, narrowColumns+3))
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

// narrowLane draws the lane l with its top at y and returns where it ends.
func (g *drawing) narrowLane(d Data, l lane, all []lane, y int) int {
	const mid = narrowBoxW / 2
	most := d.Path.most(l.family)
	g.narrowHead(l.hook, d.whence(l.hook), y)
	y += narrowHook
	for i, p := range l.points {
		g.narrowBox(p, d.boxClass(p, l.losses[i]), y)
		end := y + narrowBoxH
		text := y + 15
		for _, loss := range l.losses[i] {
			text = g.narrowLoss(loss, most, y+narrowBoxH/2, text)
			end = max(end, text-reasonLines-2)
			text += 4
		}
		if i == len(l.points)-1 {
			y = end
			break
		}
		next := end + narrowGap
		n := l.points[i+1].Packets
		g.Lines = append(g.Lines, line{mid, y + narrowBoxH, mid, next, thickness(n, most), bandClass(n)})
		y = next
	}
	for _, s := range onward(l, all) {
		y += reasonLines + 2
		g.write(9, y, "t-dim", s)
	}
	return y
}

// narrowLoss draws a loss to the right of the box whose middle is at mid, its text from the base line y on, and returns
// the base line of what may follow.
func (g *drawing) narrowLoss(l Loss, most uint64, mid, y int) int {
	class := lossClass(l)
	x := narrowBoxW + 1
	if y <= mid { // the first of the box
		g.Lines = append(g.Lines, line{x, mid, x + 14, mid, thickness(l.Lost, most), class})
		g.Heads = append(g.Heads, head{fmt.Sprintf("%d,%d %d,%d %d,%d", x+13, mid-10, x+13, mid+10, x+26, mid), class})
	}
	for _, t := range lossText(l, narrowColumns) {
		t.X, t.Y = narrowText, y
		g.Texts = append(g.Texts, t)
		y += reasonLines
	}
	return y
}
