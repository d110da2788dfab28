// Package redtest runs tests that are meant to fail. Its own tests are the self-test of ctexp: they break each source of an
// answer in each way that is known, and demand an error that names it; see docs/trust.md.
package redtest

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Tidy runs the tests of a package with a folder for temporary files of their own, in which those that fail on purpose leave their
// artifacts. It is removed, unless a test has failed that should not.
type Tidy struct{ M interface{ Run() int } }

// Run returns the status of the tests.
func (t Tidy) Run() int {
	dir, err := os.MkdirTemp("", "ctexp-test-")
	if err != nil {
		panic(err)
	}
	if err := os.Setenv("TMPDIR", dir); err != nil {
		panic(err)
	}
	status := t.M.Run()
	if status == 0 {
		if err := os.RemoveAll(dir); err != nil {
			panic(err)
		}
	}
	return status
}

// TB is a test that fails without failing the one it runs in. It implements ctexp.TB.
type TB struct {
	TestName string // what Name returns
	Panics   bool   // the function that Run runs panics, and is meant to

	failed   bool
	skipped  bool
	lack     error // why
	mu       sync.Mutex
	log      strings.Builder
	cleanups []func()
}

// Helper does nothing.
func (t *TB) Helper() {}

// Name returns TestName.
func (t *TB) Name() string { return t.TestName }

// Logf adds a line to the log.
func (t *TB) Logf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(&t.log, format+"\n", args...)
}

// Errorf adds a line to the log, and the test has failed.
func (t *TB) Errorf(format string, args ...any) {
	t.Logf(format, args...)
	t.failed = true
}

// Fatalf is Errorf, and ends the goroutine.
func (t *TB) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

// Skipf adds a line to the log, and ends the goroutine of the test, which was skipped.
func (t *TB) Skipf(format string, args ...any) {
	t.Logf(format, args...)
	t.skipped, t.lack = true, fmt.Errorf("skipped: "+format, args...)
	for _, a := range args {
		if err, ok := a.(error); ok { // internal/needs
			t.lack = err
		}
	}
	runtime.Goexit()
}

// Lack returns what the machine lacks, if the test was skipped for that. The test that runs it passes it on: needs.Check(t,
// fake.Lack()).
func (t *TB) Lack() error { return t.lack }

// Failed reports whether the test has failed.
func (t *TB) Failed() bool { return t.failed }

// Skipped reports whether the test was skipped.
func (t *TB) Skipped() bool { return t.skipped }

// Cleanup adds a function that Run calls at the end.
func (t *TB) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// Log returns what was logged so far.
func (t *TB) Log() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.log.String()
}

// Run runs a test function and its cleanups to the end and returns what it logged.
func (t *TB) Run(test func(t *TB)) string {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if t.Panics {
				t.Logf("panic: %v", recover())
			}
		}()
		defer func() {
			cleanups := t.cleanups
			t.cleanups = nil
			for _, c := range slices.Backward(cleanups) {
				c()
			}
		}()
		test(t)
	}()
	<-done
	return t.Log()
}

// Ask runs a question to a test that goes on, and returns what it logged. failed says whether it has failed, which does not
// count for later questions.
func (t *TB) Ask(question func()) (log string, failed bool) {
	before := len(t.Log())
	t.failed = false
	done := make(chan struct{})
	go func() {
		defer close(done)
		question()
	}()
	<-done
	failed, t.failed = t.failed, false
	return t.Log()[before:], failed
}
