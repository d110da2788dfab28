//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// curve is the cost of an operation by size: packets, entries or events.
type curve struct {
	name string
	cost []float64 // in milliseconds, one for each of sizes; fewer if the time was over
}

var sizes = []int{100, 1000, 10_000, 100_000}

// growing are the operations whose growth is shown. prepare makes the Lab what the operation needs, which is not measured.
var growing = []struct {
	name    string
	prepare func(b *bench, lab *ctexp.Lab, n int)
	do      func(b *bench, lab *ctexp.Lab, n int)
}{
	{"Flood", nothing, floodLab},
	{"CreateAll", nothing, createIn},
	{"Flows", createIn, func(b *bench, lab *ctexp.Lab, n int) { flowsOf(b, lab, nf.Filter{}, n)() }},
	{"Flows of one tuple", createIn, func(b *bench, lab *ctexp.Lab, n int) { flowsOf(b, lab, nf.Filter{Tuple: entry(n / 2).Orig}, 1)() }},
	{"Events", createIn, func(b *bench, lab *ctexp.Lab, n int) {
		for _, err := range lab.Observer.Events(b.ctx) {
			b.must(err)
		}
	}},
	{"Flush", createIn, func(b *bench, lab *ctexp.Lab, n int) {
		_, err := lab.Flush(b.ctx)
		b.must(err)
	}},
	{"Report", floodLab, func(b *bench, lab *ctexp.Lab, n int) { _ = lab.Report(b.ctx) }},
}

func nothing(*bench, *ctexp.Lab, int) {}

func createIn(b *bench, lab *ctexp.Lab, n int) {
	create(b, lab.Env.Table().WatchedBy(netnsenv.Watcher{Drain: lab.Observer.Drain}), n)
}

func floodLab(b *bench, lab *ctexp.Lab, n int) {
	ports := min(n, 50_000)
	_, err := lab.Flood(b.ctx, inject.Flood{
		Template: packet.SYN(web), N: n, Vary: []inject.Vary{{Field: inject.VarySrcPort, Count: ports}, {Field: inject.VarySrc, Count: n / ports}},
	})
	b.must(err)
}

// grow measures the operations, each in a Lab of its own, and returns the median of three.
func grow(ctx context.Context, progress func(name string, size int)) (curves []curve, err error) {
	b := &bench{ctx: ctx}
	defer b.close()
	defer func() {
		if p := recover(); p != nil {
			f, ok := p.(failure)
			if !ok {
				panic(p)
			}
			err = f.err
		}
	}()
	for _, g := range growing {
		c := curve{name: g.name}
		for _, n := range sizes {
			progress(g.name, n)
			var took []float64
			for range 3 {
				took = append(took, once(b, n, g.prepare, g.do))
			}
			c.cost = append(c.cost, quartilesOf(took).median)
		}
		curves = append(curves, c)
	}
	return curves, nil
}

func once(b *bench, n int, prepare, do func(*bench, *ctexp.Lab, int)) float64 {
	lab, err := ctexp.Open(b.ctx, netnsenv.Config{Silent: true})
	b.must(err)
	defer lab.Close()
	prepare(b, lab, n)
	began := time.Now()
	do(b, lab, n)
	return time.Since(began).Seconds() * 1e3
}

// The plot: logarithmic on both sides, so that a cost that grows as the size does is a diagonal.
const (
	plotWidth, plotHeight = 720, 440
	plotLeft, plotRight   = 70, 170
	plotTop, plotBottom   = 20, 50
	leastCost, mostCost   = 0.01, 10_000.0 // ms
)

var colours = []string{"#1b6ca8", "#c0392b", "#218c54", "#8e44ad", "#b7791f", "#16a2b8", "#555555"}

func plotX(size int) float64 {
	low, high := math.Log10(float64(sizes[0])), math.Log10(float64(sizes[len(sizes)-1]))
	return plotLeft + (math.Log10(float64(size))-low)/(high-low)*(plotWidth-plotLeft-plotRight)
}

func plotY(cost float64) float64 {
	low, high := math.Log10(leastCost), math.Log10(mostCost)
	return plotHeight - plotBottom - (math.Log10(min(max(cost, leastCost), mostCost))-low)/(high-low)*(plotHeight-plotTop-plotBottom)
}

// writePlot draws the curves as an SVG.
func writePlot(w io.Writer, curves []curve) error {
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&s, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, plotHeight)
	for _, n := range sizes {
		x := plotX(n)
		fmt.Fprintf(&s, `<path d="M%.1f %d V%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n", x, plotTop, plotHeight-plotBottom, x, plotHeight-plotBottom+18, n)
	}
	for c := leastCost; c <= mostCost*1.01; c *= 10 {
		y := plotY(c)
		fmt.Fprintf(&s, `<path d="M%d %.1f H%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%g ms</text>`+"\n", plotLeft, y, plotWidth-plotRight, plotLeft-6, y+4, math.Round(c*100)/100)
	}
	fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="middle">packets, entries or events</text>`+"\n", (plotLeft+plotWidth-plotRight)/2, plotHeight-10)
	for i, label := range labels(curves) {
		c, colour := curves[i], colours[i%len(colours)]
		var points []string
		for j, cost := range c.cost {
			points = append(points, fmt.Sprintf("%.1f,%.1f", plotX(sizes[j]), plotY(cost)))
		}
		fmt.Fprintf(&s, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colour)
		fmt.Fprintf(&s, `<text x="%d" y="%.1f" fill="%s">%s</text>`+"\n", plotWidth-plotRight+8, label+4, colour, c.name)
	}
	s.WriteString("</svg>\n")
	_, err := io.WriteString(w, s.String())
	return err
}

// labels returns where the names of the curves stand: at their ends, but no two on top of each other.
func labels(curves []curve) []float64 {
	const apart = 15
	order, at := make([]int, len(curves)), make([]float64, len(curves))
	for i, c := range curves {
		order[i], at[i] = i, plotY(c.cost[len(c.cost)-1])
	}
	slices.SortFunc(order, func(i, j int) int { return int(math.Copysign(1, at[i]-at[j])) })
	for k := 1; k < len(order); k++ {
		at[order[k]] = max(at[order[k]], at[order[k-1]]+apart)
	}
	return at
}
