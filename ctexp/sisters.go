package ctexp

import (
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"
)

// sisters tells the Experiments of one test apart, whose reports would else take each other's place. It is a variable of
// the package because a TB has no place to keep anything in; what it knows of a test leaves with the test's last Experiment.
var sisters = registry{of: map[TB]*brood{}}

type registry struct {
	mu sync.Mutex
	of map[TB]*brood
}

// brood counts the Experiments of one test: those that were made, and those that are still open.
type brood struct{ made, open int }

// enter puts down one more Experiment of t and returns which one it is, from 1. A fake TB that cannot be compared counts
// as a new test each time.
func (r *registry) enter(t TB) int {
	if !reflect.ValueOf(t).Comparable() {
		return 1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.of[t]
	if b == nil {
		b = &brood{}
		r.of[t] = b
	}
	b.made++
	b.open++
	return b.made
}

// made returns how many Experiments of t there have been since the last time that none was open.
func (r *registry) made(t TB) int {
	if !reflect.ValueOf(t).Comparable() {
		return 1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.of[t]; b != nil {
		return b.made
	}
	return 0
}

// leave says that an Experiment of t is closed.
func (r *registry) leave(t TB) {
	if !reflect.ValueOf(t).Comparable() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.of[t]
	if b.open--; b.open == 0 {
		delete(r.of, t)
	}
}

// name is what the files of the report are called: the test's name, with a number from the test's second Experiment on.
func (x *Experiment) name() string {
	if x.order > 1 {
		return fmt.Sprintf("%s.%d", x.t.Name(), x.order)
	}
	return x.t.Name()
}

// which tells the Experiment from the others of its test: "experiment 2 of 3 (first_test.go:24)". It is empty if there are
// no others.
func (x *Experiment) which() string {
	n := sisters.made(x.t)
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf("experiment %d of %d (%s)", x.order, n, x.place)
}

// caller returns where the caller of its caller stands: "first_test.go:24".
func caller() string {
	_, file, line, ok := runtime.Caller(2)
	if !ok {
		return "somewhere"
	}
	return fmt.Sprintf("%s:%d", filepath.Base(file), line)
}
