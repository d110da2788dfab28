package ctexp

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/userns"
)

// failures is what has gone wrong in a test, as far as the Experiment was told.
type failures struct {
	mu    sync.Mutex
	texts []string
}

func (f *failures) add(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.texts = append(f.texts, strings.TrimRight(text, "\n"))
}

func (f *failures) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.texts, "\n\n")
}

// Errorf is the test's Errorf, whose words the report keeps: report.html and result.json then begin with the difference,
// as the log does. Lines that begin with - and + are shown as what was wanted and what there was.
//
//	if diff := x.Tally().Diff(want); diff != "" {
//		x.Errorf("10 SYNs into a table with room for 7 (-want +got):\n%s", diff)
//	}
//
// The test's own Errorf does as well; of that only the log knows. It may be called from any goroutine of the test. In a
// subtest it is the parent that it fails: there use t.Errorf, or an Experiment of the subtest's own.
func (x *Experiment) Errorf(format string, args ...any) {
	x.t.Helper()
	x.failures.add(fmt.Sprintf(format, args...))
	x.t.Errorf(format, args...)
}

// Fatalf is Errorf that ends the test. Like t.Fatalf it is for the test's own goroutine, and so for no subtest.
func (x *Experiment) Fatalf(format string, args ...any) {
	x.t.Helper()
	x.failures.add(fmt.Sprintf(format, args...))
	x.t.Fatalf(format, args...)
}

// explaining returns the context in which a failure is explained: of a test with a deadline it has half of what is left,
// which operations have kept free for it.
func explaining(t TB) (context.Context, context.CancelFunc) {
	room := longest
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if at, ok := d.Deadline(); ok {
			room = min(room, time.Until(at)/2)
		}
	}
	return context.WithTimeout(context.Background(), room)
}

// panicking reports whether a panic is unwinding this goroutine. That is how a cleanup knows of a test that panics: package
// testing runs the cleanups first and calls the test failed afterwards (testing.go, tRunner). Of a panic and a
// runtime.Goexit, which is how t.Fatal ends a test, the later one tells how the goroutine ends.
func panicking() bool {
	pcs := make([]uintptr, 64)
	n := runtime.Callers(0, pcs)
	for n == len(pcs) {
		pcs = make([]uintptr, 2*len(pcs))
		n = runtime.Callers(0, pcs)
	}
	frames := runtime.CallersFrames(pcs[:n])
	for {
		f, more := frames.Next()
		if f.Function == "runtime.gopanic" || f.Function == "runtime.Goexit" || !more {
			return f.Function == "runtime.gopanic"
		}
	}
}

// envHold is the environment variable that keeps a failed test's namespace open.
const envHold = "CTEXP_HOLD"

// hold waits until it is interrupted if the user has asked for that, so that the namespace can be looked at. It speaks
// past the test's log, which go test shows only afterwards. Of several experiments of a test each waits in its turn.
func hold(name string, env *netnsenv.Env) {
	if os.Getenv(envHold) != "1" {
		return
	}
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupt)
	fmt.Fprintf(os.Stderr, "%s failed; its namespace stays until ^C. To enter it (with go test -timeout 0 for as long as you like):\n\t%s\n", name, enterLine(env))
	<-interrupt
}

// enterLine is the command that leads into the namespace of a process that may be in a user namespace. It is for
// the user that runs the tests: another one, root included, has no part in that user namespace.
func enterLine(env *netnsenv.Env) string {
	pid := os.Getpid()
	user := "" // the host's: one cannot enter the user namespace that one is in
	if userns.Own() {
		user = fmt.Sprintf(" --preserve-credentials --user=/proc/%d/ns/user", pid)
	}
	return fmt.Sprintf("nsenter%s --mount=/proc/%d/ns/mnt --net=%s", user, pid, env.Path())
}

// Require ends the test like New does if err says that something cannot be done here, and fails it if it says anything
// else; a nil error does nothing. It is for what a test needs beside its Experiment.
func Require(t TB, doing string, err error) {
	t.Helper()
	if err != nil {
		cannot(t, doing, err)
	}
}

// cannot ends a test that cannot be done here: by a skip, or by a failure where nothing may be skipped.
func cannot(t TB, doing string, err error) {
	t.Helper()
	needs.Check(t, fmt.Errorf("%s: %w", doing, err))
}

// checkLacks fails a test on a machine that has what is listed as missing: the list would hide a skip some day.
func checkLacks(t TB, env *netnsenv.Env) {
	t.Helper()
	for _, need := range needs.Listed() {
		there := false
		switch need {
		case "user namespaces":
			there = true
		case "/dev/net/tun":
			for _, l := range env.Links() {
				there = there || l.Kind() == netnsenv.Tun
			}
		default:
			_, err := exec.LookPath(need)
			there = err == nil
		}
		if there {
			t.Fatalf("%s lists %q, which is there", needs.Lacks, need)
		}
	}
}
