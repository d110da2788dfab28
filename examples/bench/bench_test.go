//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/golden"
)

func TestMain(m *testing.M) { ctexp.Main(m) }

// Each row says what it compares, and can be measured or says why not.
func TestRowsAreWhole(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range rows() {
		if r.id == "" || r.what == "" || r.goal <= 0 || r.peer == "" || (r.open == nil) == (r.absent == "") || seen[r.id] {
			t.Errorf("%+v", r)
		}
		if (r.peer == "limit") != (r.limit > 0 && r.unit == milliseconds) {
			t.Errorf("%s has the peer %s and the limit %v", r.id, r.peer, r.limit)
		}
		seen[r.id] = true
	}
	if len(seen) != 27 {
		t.Errorf("%d rows", len(seen))
	}
}

func TestQuartiles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		numbers []float64
		want    quartiles
	}{
		{[]float64{3}, quartiles{3, 3, 3}},
		{[]float64{5, 1, 2, 4, 3}, quartiles{2, 3, 4}},
		{[]float64{2, 1}, quartiles{1.25, 1.5, 1.75}},
	} {
		if got := quartilesOf(c.numbers); got != c.want {
			t.Errorf("%v: got %+v, want %+v", c.numbers, got, c.want)
		}
	}
}

// Above 1 ours is better, whatever the unit.
func TestRatioIsAboveOneIfOursIsBetter(t *testing.T) {
	t.Parallel()
	of := func(n float64, took time.Duration) func() amount { return func() amount { return amount{n, took} } }
	for name, c := range map[string]struct {
		row  row
		c    contender
		want round
	}{
		"twice as many":        {row{unit: thousands}, contender{ours: of(4000, time.Second), theirs: of(1000, time.Second/2)}, round{4, 2, 2, 2}},
		"half of the time":     {row{unit: milliseconds}, contender{ours: of(1, time.Second), theirs: of(1, 2*time.Second)}, round{1000, 2000, 2, 2}},
		"half of the limit":    {row{unit: milliseconds, limit: 3}, contender{ours: of(2, 3*time.Millisecond)}, round{1.5, 3, 2, 2}},
		"three quarters of it": {row{unit: share, limit: 1}, contender{ours: of(.75, time.Second)}, round{.75, 1, .75, .75}},
	} {
		for _, peerFirst := range []bool{false, true} {
			if got := c.c.round(c.row, peerFirst); got != c.want {
				t.Errorf("%s: got %+v, want %+v", name, got, c.want)
			}
		}
	}
}

// A row without its program is left out, one that lacks something of the machine as well; one that goes wrong has failed. What
// was opened is closed in any case.
func TestRowsThatAreNotMeasured(t *testing.T) {
	t.Parallel()
	closed := 0
	opened := func(err error) func(*bench) contender {
		return func(b *bench) contender {
			b.later(func() { closed++ })
			b.must(err)
			return contender{ours: func() amount { return done(1) }}
		}
	}
	for _, c := range []struct {
		row    row
		want   string
		status int
	}{
		{row{programs: []string{"no-such-program"}, open: opened(nil)}, "no-such-program is missing", statusMet},
		{row{absent: "nobody has written it"}, "not there yet: nobody has written it", statusMet},
		{row{open: opened(&nf.UnsupportedError{Need: "wings", Hint: "grow some"})}, "needs wings (grow some)", statusMet},
		{row{open: opened(errors.New("broken"))}, "", statusFailed},
		{row{unit: milliseconds, limit: 1e9, goal: 1, open: opened(nil)}, "", statusMet},
		{row{unit: milliseconds, limit: 1e-9, goal: 1, open: opened(nil)}, "", statusMissed},
	} {
		if r := measure(t.Context(), c.row, 0); r.left != c.want || r.status() != c.status {
			t.Errorf("%+v: left out %q, status %d, error %v; want %q, %d", c.row, r.left, r.status(), r.err, c.want, c.status)
		}
	}
	if closed != 4 {
		t.Errorf("%d of 4 rows were closed", closed)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if r := measure(over, row{open: opened(context.Canceled)}, 0); r.left != timeIsOver || r.status() != statusMet {
		t.Errorf("without time: left out %q, status %d", r.left, r.status())
	}
}

// Rows are measured, and print the same as a table and as objects.
func TestRowsAreMeasured(t *testing.T) {
	t.Parallel()
	for _, id := range []string{
		"flood-write-raw", "dump-small-limit", "events-kept", "events-listen", "tally-limit", "env-limit",
		"inject-scapy-raw", "inject-hping3", "inject-tcpreplay", "fill-restore", "capture-tcpdump", "experiment-script",
	} {
		i := slices.IndexFunc(rows(), func(r row) bool { return r.id == id })
		r := measure(t.Context(), rows()[i], 0)
		if r.err != nil || r.left == "" && r.rounds != fewestRounds {
			t.Errorf("%s: %d rounds, %v", id, r.rounds, r.err)
		}
		if r.left != "" {
			t.Logf("%s is left out: %s", id, r.left)
		}
		var table, object, progress bytes.Buffer
		newPrinter(false, &table, &progress).print(r)
		newPrinter(true, &object, &progress).print(r)
		var l line
		if err := json.Unmarshal(object.Bytes(), &l); err != nil || l.ID != id || l.Rounds != r.rounds || l.Ratio != r.wall.median {
			t.Errorf("%v: %s", err, object.String())
		}
		if lines := strings.Split(table.String(), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], id+" ") {
			t.Errorf("the table is\n%s", table.String())
		}
	}
}

// A cost that grows as the size does is a straight line from one corner to the other.
func TestPlot(t *testing.T) {
	t.Parallel()
	var svg bytes.Buffer
	curves := []curve{{"linear", []float64{0.1, 1, 10, 100}}, {"constant", []float64{100, 100, 100, 100}}}
	if err := writePlot(&svg, curves); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "plot.svg", svg.String())
}

// The operations whose growth is shown can be measured, of a small size at least.
func TestGrowthIsMeasured(t *testing.T) {
	t.Parallel()
	b := &bench{ctx: t.Context()}
	defer b.close()
	for _, g := range growing {
		if ms := once(b, sizes[0], g.prepare, g.do); ms <= 0 {
			t.Errorf("%s took %v ms", g.name, ms)
		}
	}
}

func TestDigits(t *testing.T) {
	t.Parallel()
	got := map[float64]string{}
	for _, x := range []float64{0, 0.09612, 0.9, 9.876, 98.76, 987.6, 12345.6} {
		got[x] = digits(x)
	}
	want := map[float64]string{0: "0", 0.09612: "0.096", 0.9: "0.900", 9.876: "9.88", 98.76: "98.8", 987.6: "988", 12345.6: "12346"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The command line is checked before anything is opened.
func TestFlags(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]int{"-list": statusMet, "-run ^x$": statusFailed, "-run (": statusFailed, "-for 0s": statusFailed, "x": statusFailed, "-h": statusMet} {
		var out, said bytes.Buffer
		if got := run(strings.Fields(args), &out, &said); got != want || out.Len()+said.Len() == 0 {
			t.Errorf("%s: status %d, %q, %q; want %d", args, got, out.String(), said.String(), want)
		}
	}
}
