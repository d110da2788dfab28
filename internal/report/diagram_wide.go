package report

import "fmt"

// The measures of the wide picture: a lane for each hook, its boxes from left to right.
const (
	wideW      = 1040
	wideLeft   = 132 // where the boxes begin
	wideBoxW   = 92
	wideBoxH   = 50
	wideSlot   = 114
	wideTop    = 8
	wideGap    = 30 // between lanes
	wideDrop   = 22 // from a box to the text of what it lost
	wideFamily = 30 // the line with the name of a family
)

func (d Data) wide() drawing {
	busy, _ := d.Path.lanes()
	g := drawing{Kind: "wide", W: wideW, Label: d.Path.spoken()}
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

// wideLane draws the lane l with its top at y and returns where it ends.
func (g *drawing) wideLane(d Data, l lane, all []lane, y int) int {
	mid, most := y+wideBoxH/2, d.Path.most(l.family)
	g.write(0, mid-1, "t-hook", short(l.hook, 14))
	g.write(0, mid+15, "t-dim", short(d.whence(l.hook), 17))
	g.Lines = append(g.Lines, line{wideLeft - 16, mid, wideLeft, mid, thickness(l.first(), most), bandClass(l.first())})
	perRow := (wideW - wideLeft) / wideSlot // a path with more probes than the standard ones goes on below
	for from := 0; from < len(l.points); from += perRow {
		to := min(from+perRow, len(l.points))
		row := lane{l.family, l.hook, l.points[from:to], l.losses[from:to]}
		end := g.wideRow(d, row, most, y)
		if to == len(l.points) {
			x := wideLeft + (to-from)*wideSlot - wideSlot + wideBoxW
			for i, s := range onward(l, all) {
				g.write(x+10, mid+4+16*i, "t-dim", s)
			}
		}
		y, mid = end+wideGap, end+wideGap+wideBoxH/2
	}
	return y - wideGap
}

// wideRow draws the boxes of a row and what they lost, and returns where that ends.
func (g *drawing) wideRow(d Data, l lane, most uint64, y int) int {
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
			g.Lines = append(g.Lines, line{x - wideSlot + wideBoxW, mid, x, mid, thickness(p.Packets, most), bandClass(p.Packets)})
		}
	}
	return g.wideLosses(l, most, y+wideBoxH)
}

// wideLosses hangs what was lost below the boxes, from the right to the left: what hangs further left goes deeper, unless
// it fits before its right neighbour, so that no arrow crosses a text.
func (g *drawing) wideLosses(l lane, most uint64, y int) int {
	bottom, level, next := y, y, wideW // level: where the text of the right neighbour begins; next: its arrow
	for i := len(l.points) - 1; i >= 0; i-- {
		for k, loss := range l.losses[i] {
			x := wideLeft + i*wideSlot + wideBoxW/2 - 24*k
			left := x + 16
			lines := lossText(loss, (next-10-left)*10/reasonWide)
			top := level
			switch {
			case bottom == y: // the first
				top = y
			case next-10-left < 100 || len(lines) > 3:
				lines, top = lossText(loss, (wideW-left)*10/reasonWide), bottom+8
			}
			class := lossClass(loss)
			tip := top + wideDrop
			g.Lines = append(g.Lines, line{x, y, x, tip - 8, thickness(loss.Lost, most), class})
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

// wideSilenced draws what the host would have said.
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

func bandClass(n uint64) string {
	if n == 0 {
		return "band none"
	}
	return "band"
}

func silenced(n uint64) Point { return Point{Name: "silenced/output", Hook: "output", Packets: n} }

const silencedWhy = "the host's own answers, dropped before conntrack saw them"
