package main

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// question is what expectations are drawn up from: the size of the experiment, and what was measured, because where a
// table overflows chance has a hand in it.
type question struct {
	n, m int
	got  fields
}

// dice returns how many entries left a full table by chance: early_drop evicted them for a new flow, or the garbage
// collector took them. Each of them may have let one packet more through.
func (q question) dice() int { return q.got.number("evicted") + q.got.number("collected") }

// through is how many of N new flows get through where M entries are free: M, and more for the dice.
func (q question) through() between { return between{min(q.n, q.m), min(q.n, q.m+q.dice())} }

// stay is how many entries there are afterwards.
func (q question) stay() between { return between{max(0, q.m-q.dice()), q.m} }

// lost is how many of N new flows are dropped.
func (q question) lost() between {
	return between{max(0, q.n-q.m-q.dice()), q.n - q.m}
}

// expectations say what is expected under each name.
type expectations []expectation

type expectation struct {
	name string
	want any // the value itself, or something that holds
}

// holder is an expectation that more than one value meets.
type holder interface {
	holds(got any) bool
}

// between is met by a number from lo to hi.
type between struct{ lo, hi int }

func (w between) holds(got any) bool {
	n, ok := got.(int)
	return ok && w.lo <= n && n <= w.hi
}

func (w between) String() string {
	if w.lo == w.hi {
		return fmt.Sprint(w.lo)
	}
	return fmt.Sprintf("%d to %d", w.lo, w.hi)
}

// atLeast is met by a number that is not smaller.
type atLeast int

func (w atLeast) holds(got any) bool {
	n, ok := got.(int)
	return ok && n >= int(w)
}

func (w atLeast) String() string { return fmt.Sprintf("at least %d", int(w)) }

// each is met by three numbers, each of which meets it.
type each struct{ between }

func (w each) holds(got any) bool {
	list, ok := got.([]int)
	for _, n := range list {
		ok = ok && w.between.holds(n)
	}
	return ok && len(list) == 3
}

func (w each) String() string { return w.between.String() + " each" }

// differences says where got is not as expected. With partial, what is not there is not expected.
func (e expectations) differences(got fields, partial bool) []string {
	var out []string
	for _, x := range e {
		v := got.get(x.name)
		switch h, ok := x.want.(holder); {
		case v == nil && partial, ok && h.holds(v), reflect.DeepEqual(v, x.want):
		case v == nil:
			out = append(out, fmt.Sprintf("%s was not measured", x.name))
		default:
			out = append(out, fmt.Sprintf("%s is %s, expected %s", x.name, show(v), show(x.want)))
		}
	}
	return out
}

// judge compares what was measured with what is expected, and gives the verdict. lack is what could not be had.
func (r row) judge(n size, got fields, notes []string, lack error) (verdict, string) {
	diff := r.expect(question{n.packets, n.free, got}).differences(got, lack != nil)
	switch {
	case len(diff) > 0:
		return refuted, sentence(append([]string{strings.Join(diff, "; ")}, notes...)...)
	case lack != nil:
		var need *nf.UnsupportedError
		if errors.As(lack, &need) {
			lack = need // whoever passed it on has nothing to add for the reader
		}
		return unsupported, sentence(append([]string{lack.Error()}, notes...)...)
	}
	return r.verdict, sentence(append([]string{n.fill(r.why)}, notes...)...)
}

// sentence joins remarks.
func sentence(parts ...string) string {
	var s []string
	for _, p := range parts {
		if p != "" {
			s = append(s, p)
		}
	}
	return strings.Join(s, "; ")
}
