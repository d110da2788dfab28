// Package mutant is the switch behind which every mutant of a test binary stands. Only overlays import it, which package
// mutate writes.
package mutant

import (
	"cmp"
	"os"
	"strconv"
	"sync"
)

// Environment variables of a test binary with mutants.
const (
	Switch  = "CTEXP_MUTANT"         // the number of the mutant that is on; none if absent
	Reached = "CTEXP_MUTANT_REACHED" // the file to which the numbers of the mutants are written whose code is executed
)

var on = number(os.Getenv(Switch))

func number(s string) int {
	n, _ := strconv.Atoi(s) // 0 is no mutant
	return n
}

var record = newRecorder(os.Getenv(Reached))

// recorder writes each number once.
type recorder struct {
	file *os.File
	seen sync.Map
}

func newRecorder(name string) *recorder {
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600) // tests execute themselves again: several append
	if err != nil {
		panic("mutant: " + err.Error())
	}
	return &recorder{file: f}
}

func (r *recorder) reach(id int) {
	if _, known := r.seen.LoadOrStore(id, true); known {
		return
	}
	if _, err := r.file.WriteString(strconv.Itoa(id) + "\n"); err != nil {
		panic("mutant: " + err.Error())
	}
}

// On reports whether a mutant is on.
func On(id int) bool {
	if record != nil {
		record.reach(id)
	}
	return id == on
}

// Not is cond; the mutant is its negation.
func Not(id int, cond bool) bool { return cond != On(id) }

// Err is err; the mutant swallows it.
func Err(id int, err error) error {
	if On(id) {
		return nil
	}
	return err
}

// And is x && y; the mutant is x || y.
func And(id int, x bool, y func() bool) bool {
	if On(id) {
		return x || y()
	}
	return x && y()
}

// Or is x || y; the mutant is x && y.
func Or(id int, x bool, y func() bool) bool {
	if On(id) {
		return x && y()
	}
	return x || y()
}

// Less is x < y; the mutant is x <= y.
func Less[T cmp.Ordered](id int, x, y T) bool {
	if On(id) {
		return x <= y
	}
	return x < y
}

// LessEqual is x <= y; the mutant is x < y.
func LessEqual[T cmp.Ordered](id int, x, y T) bool {
	if On(id) {
		return x < y
	}
	return x <= y
}

// Greater is x > y; the mutant is x >= y.
func Greater[T cmp.Ordered](id int, x, y T) bool { return Less(id, y, x) }

// GreaterEqual is x >= y; the mutant is x > y.
func GreaterEqual[T cmp.Ordered](id int, x, y T) bool { return LessEqual(id, y, x) }

// Number is what can be added and subtracted.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr | ~float32 | ~float64
}

// Add is x + y; the mutant is x - y.
func Add[T Number](id int, x, y T) T {
	if On(id) {
		return x - y
	}
	return x + y
}

// Sub is x - y; the mutant is x + y.
func Sub[T Number](id int, x, y T) T {
	if On(id) {
		return x + y
	}
	return x - y
}

// Const is x; the mutant is x + 1.
func Const[T Number](id int, x T) T {
	if On(id) {
		return x + 1
	}
	return x
}
