package ctexp

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/patience"
	"github.com/ctexp/go-ctexp/internal/plain"
	"github.com/ctexp/go-ctexp/internal/report"
	"github.com/ctexp/go-ctexp/internal/userns"
)

// failures has the failures of a test that went through its Experiment.
type failures struct {
	mu   sync.Mutex
	list []report.Failure
}

// add adds a failure at the place in the test that the caller was called from.
func (f *failures) add(text string) {
	place := testPlace()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, report.Failure{Place: place, Text: strings.TrimRight(text, "\n")})
}

// all returns the failures in their order.
func (f *failures) all() []report.Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

// testPlace returns the line of a test file that is being executed, the innermost one: "first_test.go:38"; "" if there is
// none, as in a program or a goroutine of another package.
func testPlace() string {
	for _, f := range stack() {
		if strings.HasSuffix(f.File, "_test.go") {
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
	}
	return ""
}

// stack returns the frames of this goroutine, the innermost first.
func stack() []runtime.Frame {
	pcs := make([]uintptr, 64)
	n := runtime.Callers(2, pcs)
	for n == len(pcs) {
		pcs = make([]uintptr, 2*len(pcs))
		n = runtime.Callers(2, pcs)
	}
	var all []runtime.Frame
	frames := runtime.CallersFrames(pcs[:n])
	for more := n > 0; more; {
		var f runtime.Frame
		f, more = frames.Next()
		all = append(all, f)
	}
	return all
}

// Errorf is the test's Errorf, and keeps the message for report.html, which begins with it and its line, and for result.json. Lines
// that begin with - and + are shown as a difference of want and got. What is not visible is escaped, \x1b, so that a payload
// or a comment cannot change the terminal.
//
//	if diff := x.Tally().Diff(want); diff != "" {
//		x.Errorf("10 SYNs into a table with room for 7 (-want +got):\n%s", diff)
//	}
//
// Messages of the test's own t.Errorf are only in the log. Errorf may be called from any goroutine of the test. In a
// subtest it would fail the parent: there use t.Errorf, or an Experiment of the subtest's own.
func (x *Experiment) Errorf(format string, args ...any) {
	x.t.Helper()
	text := fmt.Sprintf(format, args...)
	x.failures.add(text)
	x.t.Errorf("%s", plain.Text(text))
}

// Fatalf is Errorf, and ends the test. Like t.Fatalf it must be called from the test's own goroutine, so not in a subtest.
func (x *Experiment) Fatalf(format string, args ...any) {
	x.t.Helper()
	text := fmt.Sprintf(format, args...)
	x.failures.add(text)
	x.t.Fatalf("%s", plain.Text(text))
}

// explaining returns the context for the report of a failure. Its timeout is half of the time until the test's deadline,
// which the operations have left free for it (see deadline).
func explaining(t TB) (context.Context, context.CancelFunc) {
	timeout := expectTimeout
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if at, ok := d.Deadline(); ok {
			timeout = min(timeout, time.Until(at)/2)
		}
	}
	return patience.WithTimeout(context.Background(), timeout, timeoutError(timeout))
}

// panicking reports whether a panic is unwinding this goroutine. A cleanup cannot use Failed for that: package testing runs
// the cleanups before it marks a test that panics as failed (testing.go, tRunner). If the stack has both a panic and a
// runtime.Goexit, by which t.Fatal ends a test, the later one decides.
func panicking() bool {
	for _, f := range stack() {
		if f.Function == "runtime.gopanic" || f.Function == "runtime.Goexit" {
			return f.Function == "runtime.gopanic"
		}
	}
	return false
}

// envHold is the environment variable that keeps a failed test's namespace open.
const envHold = "CTEXP_HOLD"

// hold waits for an interrupt if the user has asked for that, so that the namespace can be inspected. It prints to stderr,
// because go test shows the test's log only afterwards. Several experiments of a test wait one after the other.
func hold(name string, env *netnsenv.Env) {
	if !needs.On(envHold) {
		return
	}
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupt)
	fmt.Fprintf(os.Stderr, "%s failed; its namespace stays open until ^C (use go test -timeout 0 to avoid the time limit). To enter it:\n\t%s\n", name, enterLine(env))
	<-interrupt
}

// enterLine returns the command that enters the namespace of this process. It is for the user that runs the tests: others,
// including root, have no rights in its user namespace.
func enterLine(env *netnsenv.Env) string {
	pid := os.Getpid()
	user := ""
	if userns.Own() { // else the shell is in the same user namespace, which setns(2) refuses to enter again
		user = fmt.Sprintf(" --preserve-credentials --user=/proc/%d/ns/user", pid)
	}
	return fmt.Sprintf("nsenter%s --mount=/proc/%d/ns/mnt --net=%s", user, pid, env.Path())
}

// envTrace is the environment variable that makes New trace every Env.
const envTrace = "CTEXP_TRACE"

// traced returns cfg with Trace, if the user has asked for that.
func traced(cfg netnsenv.Config) netnsenv.Config {
	cfg.Trace = cfg.Trace || needs.On(envTrace)
	return cfg
}

// howToTrace returns the line for the log which says how to find out what rule dropped packets, if only a trace can tell; it
// is empty otherwise.
func howToTrace(t TB, env *netnsenv.Env, path observe.Path) string {
	mayBeRule := func(c observe.Cause) bool { return c.Kind == observe.CauseRule && !c.Certain }
	if env.Config().Trace || !slices.ContainsFunc(path.Losses(), func(l observe.Loss) bool { return slices.ContainsFunc(l.Causes, mayBeRule) }) {
		return ""
	}
	return "\n--- which rule dropped packets is not certain; a trace tells:\n" + command(envTrace+"=1 go test", t.Name())
}

// command returns a line for the shell that runs a test by a command as "go test". Only the package's import path works in
// every folder of the module.
func command(run, test string) string {
	pkg := "."
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasSuffix(info.Path, ".test") {
		pkg = strings.TrimSuffix(info.Path, ".test")
	}
	parts := strings.Split(test, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return plain.Line(fmt.Sprintf("%s -run '%s' %s", run, strings.ReplaceAll(strings.Join(parts, "/"), "'", `'\''`), pkg))
}

// rerun returns the command that runs a test again.
func rerun(test string) string { return command("go test", test) }

// commands returns the commands for the page of a failed test.
func commands(test string) []report.Command {
	return []report.Command{
		{For: "run this test again", Line: rerun(test)},
		{For: "run it again, and keep its namespace open if it fails", Line: command(envHold+"=1 go test -timeout 0", test)},
		{For: "run it again with a trace of the rules", Line: command(envTrace+"=1 go test", test)},
	}
}

// Require ends the test if err is not nil: like New, it skips if err is an errors.ErrUnsupported, and fails otherwise. It is
// for what a test needs in addition to its Experiment.
func Require(t TB, doing string, err error) {
	t.Helper()
	if err != nil {
		cannot(t, doing, err)
	}
}

// cannot ends the test because of err: by a skip if this machine lacks something, else by a failure.
func cannot(t TB, doing string, err error) {
	t.Helper()
	needs.Check(t, fmt.Errorf("%s: %w", doing, err))
}

// checkLacks fails the test if a need that CTEXP_LACKS lists is present, since an outdated list would hide a later skip.
func checkLacks(t TB, env *netnsenv.Env) {
	t.Helper()
	for _, need := range needs.Listed() {
		present := false
		switch need {
		case "user namespaces":
			present = true
		case "/dev/net/tun":
			for _, l := range env.Links() {
				present = present || l.Kind() == netnsenv.Tun
			}
		default:
			_, err := exec.LookPath(need)
			present = err == nil
		}
		if present {
			t.Fatalf("%s lists %q, which is present", needs.Lacks, need)
		}
	}
}
