package ctexp

import (
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"
)

// experimentsOf counts the Experiments of each test, whose reports would otherwise overwrite each other. It is a variable of
// the package because a TB has no place for it; the count of a test is removed with the test's last Experiment.
var experimentsOf = experimentCounts{of: map[TB]*experimentCount{}}

type experimentCounts struct {
	mu sync.Mutex
	of map[TB]*experimentCount
}

// experimentCount counts the Experiments of one test: those that were made, and those that are still open.
type experimentCount struct{ made, open int }

// add counts one more Experiment of t and returns its number, from 1. A fake TB that is not comparable counts as a new test
// each time.
func (c *experimentCounts) add(t TB) int {
	if !reflect.ValueOf(t).Comparable() {
		return 1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.of[t]
	if n == nil {
		n = &experimentCount{}
		c.of[t] = n
	}
	n.made++
	n.open++
	return n.made
}

// made returns how many Experiments of t there have been since none was open.
func (c *experimentCounts) made(t TB) int {
	if !reflect.ValueOf(t).Comparable() {
		return 1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.of[t]; n != nil {
		return n.made
	}
	return 0
}

// remove notes that an Experiment of t is closed.
func (c *experimentCounts) remove(t TB) {
	if !reflect.ValueOf(t).Comparable() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.of[t]
	if n.open--; n.open == 0 {
		delete(c.of, t)
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
	n := experimentsOf.made(x.t)
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
