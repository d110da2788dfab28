//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// row is one comparison.
type row struct {
	id   string
	what string  // what is compared, in a line
	goal float64 // the ratio that is wanted at least
	unit unit
	peer string // what ours is compared with

	programs []string                 // that must be there
	limit    float64                  // in the row's unit: the peer, if open returns none
	open     func(b *bench) contender // prepares both
	absent   string                   // why the row cannot be measured yet
}

// unit is the unit of a row's numbers. Of milliseconds fewer are better.
type unit string

// The units.
const (
	milliseconds unit = "ms"
	thousands    unit = "k/s" // packets, entries or events
	share        unit = "share"
)

// contender has the functions of both sides. Each does its work once and returns how much that was.
type contender struct {
	ours, theirs func() amount
	before       func() // prepares each of them, and is not measured; may be nil
}

// amount is how much was done: a number of packets or entries, or 1.
type amount struct {
	n    float64
	took time.Duration // by the program's own clock, if its start does not count; zero: as measured
}

func done(n int) amount { return amount{n: float64(n)} }

// bench is what a row is opened with. What goes wrong ends the row.
type bench struct {
	ctx      context.Context
	cleanups []func()
}

// failure is what must panics with.
type failure struct{ err error }

func (b *bench) must(err error) {
	if err != nil {
		panic(failure{err})
	}
}

// later calls f when the row has been measured.
func (b *bench) later(f func()) { b.cleanups = append(b.cleanups, f) }

func (b *bench) close() {
	for _, f := range slices.Backward(b.cleanups) {
		f()
	}
}

// result is what a row has shown.
type result struct {
	row    row
	rounds int
	ours   float64 // median, in the row's unit
	peer   float64
	wall   quartiles // of the ratio
	cpu    quartiles
	left   string // why it was left out
	err    error
}

func (r result) met() bool { return r.wall.median >= r.row.goal }

func (r result) status() int {
	switch {
	case r.err != nil:
		return statusFailed
	case r.left == "" && !r.met():
		return statusMissed
	}
	return statusMet
}

// The number of rounds of a row: at most, and at least even if they take longer than its share of the time.
const mostRounds, fewestRounds = 15, 3

const timeIsOver = "the time is over"

// measure measures a row in about the time of its budget.
func measure(ctx context.Context, r row, budget time.Duration) (res result) {
	res.row = r
	if r.absent != "" {
		res.left = "not there yet: " + r.absent
		return res
	}
	for _, p := range r.programs {
		if _, err := exec.LookPath(p); err != nil {
			res.left = p + " is missing"
			return res
		}
	}
	end := time.Now().Add(budget)
	b := &bench{ctx: ctx}
	defer b.close()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			switch {
			case ctx.Err() != nil:
				res.left = timeIsOver
			case errors.Is(p.err, errors.ErrUnsupported):
				res.left = strings.TrimSpace(p.err.Error())
			default:
				res.err = p.err
			}
		default:
			panic(p)
		}
	}()
	c := r.open(b)
	c.round(r, false) // the first is slower: memory, modules
	var rounds []round
	for len(rounds) < mostRounds && (len(rounds) < fewestRounds || time.Now().Before(end)) && ctx.Err() == nil {
		rounds = append(rounds, c.round(r, rand.IntN(2) == 0))
	}
	if len(rounds) == 0 {
		res.left = timeIsOver
		return res
	}
	res.sum(rounds)
	return res
}

func (r *result) sum(rounds []round) {
	var ours, peer, wall, cpu []float64
	for _, one := range rounds {
		ours, peer = append(ours, one.ours), append(peer, one.peer)
		wall, cpu = append(wall, one.wall), append(cpu, one.cpu)
	}
	r.rounds = len(rounds)
	r.ours, r.peer = quartilesOf(ours).median, quartilesOf(peer).median
	r.wall, r.cpu = quartilesOf(wall), quartilesOf(cpu)
}

// round is one measurement of both sides.
type round struct {
	ours, peer float64 // in the row's unit
	wall, cpu  float64 // ratios
}

// round measures both sides, the peer first if that is drawn.
func (c contender) round(r row, peerFirst bool) round {
	if c.theirs == nil {
		o := c.sample(c.ours)
		return o.against(r)
	}
	var o, p sample
	if peerFirst {
		p = c.sample(c.theirs)
	}
	o = c.sample(c.ours)
	if !peerFirst {
		p = c.sample(c.theirs)
	}
	return round{
		ours: o.in(r.unit), peer: p.in(r.unit),
		wall: o.n / o.wall * p.wall / p.n, cpu: o.n / o.cpu * p.cpu / p.n,
	}
}

// sample is one measurement: so much was done in so many seconds.
type sample struct{ n, wall, cpu float64 }

func (c contender) sample(do func() amount) sample {
	if c.before != nil {
		c.before()
	}
	runtime.GC() // what was left over is not of this sample
	cpu, began := cpuTime(), time.Now()
	a := do()
	s := sample{a.n, time.Since(began).Seconds(), (cpuTime() - cpu).Seconds()}
	if a.took > 0 {
		s.wall, s.cpu = a.took.Seconds(), a.took.Seconds()
	}
	s.n, s.cpu = max(s.n, 1e-9), max(s.cpu, 1e-6)
	return s
}

// in returns the sample in a unit.
func (s sample) in(u unit) float64 {
	switch u {
	case milliseconds:
		return s.wall / s.n * 1e3
	case thousands:
		return s.n / s.wall / 1e3
	}
	return s.n
}

// against returns the ratio to the limit of the row.
func (s sample) against(r row) round {
	ours := s.in(r.unit)
	if r.unit != milliseconds {
		return round{ours, r.limit, ours / r.limit, ours / r.limit}
	}
	return round{ours, r.limit, r.limit / ours, r.limit / (s.cpu / s.n * 1e3)}
}

// cpuTime returns the CPU time of this process and of the programs that it has waited for.
func cpuTime() (t time.Duration) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err == nil {
			t += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return t
}

// quartiles are the quarter, the half and three quarters of some numbers.
type quartiles struct{ low, median, high float64 }

func quartilesOf(numbers []float64) quartiles {
	slices.Sort(numbers)
	at := func(q float64) float64 {
		x := q * float64(len(numbers)-1)
		i := int(x)
		if i+1 == len(numbers) {
			return numbers[i]
		}
		return numbers[i] + (x-float64(i))*(numbers[i+1]-numbers[i])
	}
	return quartiles{at(.25), at(.5), at(.75)}
}

// String returns "[0.91..1.10]".
func (q quartiles) String() string { return fmt.Sprintf("[%s..%s]", digits(q.low), digits(q.high)) }
