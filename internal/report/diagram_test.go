package report

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// results reads the results in testdata.
func results(t *testing.T) map[string]Data {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no results in testdata: %v", err)
	}
	out := map[string]Data{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d, err := ReadJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(file), ".json")] = d
	}
	return out
}

// shape is the area that an element of a drawing covers.
type shape struct {
	what           string
	x1, y1, x2, y2 int
}

func (a shape) over(b shape) bool { return a.x1 < b.x2 && b.x1 < a.x2 && a.y1 < b.y2 && b.y1 < a.y2 }

// sizes are the column widths in tenths of a pixel, and the heights, of texts by class.
var sizes = map[string][2]int{
	"t-hook": {86, 14}, "t-family": {98, 16}, "t-dim": {74, 12}, "t-why": {74, 12}, "t-lost": {74, 12}, "t-warn": {74, 12},
	"stage": {80, 13},
}

func textShape(x, y int, class, s string) shape {
	size := sizes[class]
	return shape{fmt.Sprintf("%q", s), x, y - size[1]*8/10, x + columns(s)*size[0]/10, y + 2}
}

// crowded returns the elements of a drawing that are outside of it or overlap others.
func crowded(g drawing) []string {
	var shapes []shape
	for _, b := range g.Boxes {
		shapes = append(shapes, shape{"box " + b.Stage, b.X, b.Y, b.X + b.W, b.Y + b.H})
	}
	for _, x := range g.Texts {
		shapes = append(shapes, textShape(x.X, x.Y, x.Class, x.Text))
	}
	for i, l := range g.Lines {
		if l.Class == classLost || l.Class == classWarn { // bands touch boxes, arrows leave them
			shapes = append(shapes, shape{fmt.Sprintf("loss %d", i), min(l.X1, l.X2), min(l.Y1, l.Y2) + 1, max(l.X1, l.X2) + 1, max(l.Y1, l.Y2) + 1})
		}
	}
	var out []string
	for i, s := range shapes {
		if s.x1 < 0 || s.y1 < 0 || s.x2 > g.W+2 || s.y2 > g.H {
			out = append(out, fmt.Sprintf("%s: %+v is cut", g.Kind, s))
		}
		for _, o := range shapes[:i] {
			if s.over(o) {
				out = append(out, fmt.Sprintf("%s: %+v lies on %+v", g.Kind, s, o))
			}
		}
	}
	for _, b := range g.Boxes {
		if s := textShape(b.StageX, b.StageY, "stage", b.Stage); s.x2 > b.X+b.W {
			out = append(out, fmt.Sprintf("%s: %v does not fit into its box", g.Kind, s))
		}
		if b.Squeeze < 0 {
			out = append(out, fmt.Sprintf("%s: no room for the count of %s", g.Kind, b.Stage))
		}
	}
	return out
}

func TestNothingOverlapsAtEitherWidth(t *testing.T) {
	t.Parallel()
	for name, d := range results(t) {
		for _, g := range []drawing{d.wide(), d.narrow()} {
			for _, s := range crowded(g) {
				t.Errorf("%s: %s", name, s)
			}
		}
	}
}

// Losses at any boxes, with reasons of any length, never overlap.
func TestNothingOverlapsWhereverPacketsAreLost(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 0))
		var d Data
		n := uint64(1_000_000)
		for i := range 1 + r.IntN(20) {
			name := fmt.Sprintf("stage%d/prerouting", i)
			if i > 0 && r.IntN(2) == 0 {
				for range 1 + r.IntN(2) {
					d.Path.Losses = append(d.Path.Losses, Loss{
						Family: "ipv4", Hook: "prerouting", From: []string{d.Path.Points[i-1].Name}, To: []string{name}, Lost: 7, Of: n, Why: strings.Repeat("why ", r.IntN(25)),
						Evidence: make([]string, r.IntN(2)),
					})
				}
				n -= 7
			}
			d.Path.Points = append(d.Path.Points, Point{Name: name, Family: "ipv4", Hook: "prerouting", Packets: n})
		}
		for _, g := range []drawing{d.wide(), d.narrow()} {
			for _, s := range crowded(g) {
				t.Fatalf("seed %d: %s", seed, s)
			}
		}
	}
}

var box1 = regexp.MustCompile(`data-probe="([^"]*)" data-packets="(\d+)".*?<text class="count"[^>]*>([0-9,]+)</text></g>`)

// Both pictures have the numbers of the result: those of each probe of a hook that packets met.
func TestTheNumbersAreThoseOfTheResult(t *testing.T) {
	t.Parallel()
	for name, d := range results(t) {
		if name == "hostile" { // its names are escaped
			continue
		}
		page, err := os.ReadFile(filepath.Join("testdata", name+".html"))
		if err != nil {
			t.Fatal(err)
		}
		want, got := map[string]uint64{}, map[string]uint64{}
		busy, _ := d.Path.lanes()
		for _, l := range busy {
			for _, p := range l.points {
				want[p.Name] = 2 * p.Packets
			}
		}
		if d.Path.Silenced > 0 {
			want["silenced/output"] = 2 * d.Path.Silenced
		}
		for _, m := range box1.FindAllStringSubmatch(string(page), -1) {
			shown, err := strconv.ParseUint(strings.ReplaceAll(m[3], ",", ""), 10, 64)
			if err != nil || m[2] != strconv.FormatUint(shown, 10) {
				t.Errorf("%s: %q shows %s and holds %s", name, m[1], m[3], m[2])
			}
			got[m[1]] += shown
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: twice the counts (-result +pictures):\n%s", name, diff)
		}
	}
}
