package ctexp

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/report"
	"github.com/ctexp/go-ctexp/internal/ruleset"
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

// WriteReport writes into the folder dir, which it makes if it is not there, everything that the Lab knows, for people and
// for programs: report.html (one page, self-contained), result.json, capture.pcapng with a comment for each packet,
// timeline.txt, flows.txt, stats.txt, the rules with their counters and the sysctls that differ from a new namespace's.
// The name precedes every file's; what does not belong into the name of a file is "-" there. It returns the names of the
// files; what could not be had is named in the report. Of a Lab that is closed nothing is written, and the error is an
// os.ErrClosed.
func (l *Lab) WriteReport(ctx context.Context, dir, name string) ([]string, error) {
	k := l.lookAtAll(ctx)
	if err := k.closed(); err != nil {
		return nil, fmt.Errorf("ctexp: write the report: %w", err)
	}
	return writeReport(dir, l.reportData(k, name), k)
}

func writeReport(dir string, d report.Data, k look) ([]string, error) {
	files, err := report.WriteFiles(dir, d, append(listingFiles(k.listings), report.File{
		Name: report.NameCapture,
		Write: func(w io.Writer) error {
			next := 0 // the comments are asked for in the order of the frames
			return observe.WritePcapng(w, k.record.Frames, func(packet.Record) string {
				next++
				if next > len(d.Frames) {
					return ""
				}
				return d.Frames[next-1].Comment()
			})
		},
	})...)
	if err != nil {
		return files, fmt.Errorf("ctexp: write the report: %w", err)
	}
	return files, nil
}

// listingFiles makes a file of the listings of nft, and one of those of iptables.
func listingFiles(listings []ruleset.Listing) []report.File {
	var files []report.File
	for _, name := range []string{report.NameNFT, report.NameIPTables} {
		var all strings.Builder
		for _, l := range listings {
			if (l.Program == "nft") == (name == report.NameNFT) {
				all.WriteString(l.Text)
			}
		}
		if all.Len() > 0 {
			files = append(files, report.File{Name: name, Write: func(w io.Writer) error {
				_, err := io.WriteString(w, all.String())
				return err
			}})
		}
	}
	return files
}

// keepArtifacts writes the report of a failed test where it is found again: into the test's artifact folder if it has one
// that is kept (go test -artifacts), else into a fresh one. It returns a line for the log.
func (x *Experiment) keepArtifacts(k look, d report.Data) string {
	dir, err := artifactFolder(x.t, d.Test)
	if err != nil {
		return fmt.Sprintf("no artifacts: %v", err)
	}
	d.Failed, d.Diff = true, x.failures.String()
	if which := x.which(); which != "" {
		if d.Diff == "" {
			d.Diff = "It has been told of no failure: another one of the test may have been, or the test's own t."
		}
		d.Diff = which + "\n\n" + d.Diff
	}
	files, err := writeReport(dir, d, k)
	if len(files) == 0 {
		return fmt.Sprintf("no artifacts: %v", err)
	}
	line := "artifacts: " + filepath.Join(dir, files[0])
	if err != nil {
		line += fmt.Sprintf(" (%v)", err)
	}
	return line
}

// artifactFolder returns the folder of testing's ArtifactDir under -artifacts; without that flag it would vanish with the
// test, so that a failed one gets a folder of its own, which has the name.
func artifactFolder(t TB, name string) (string, error) {
	a, ok := t.(interface{ ArtifactDir() string })
	if ok && slices.ContainsFunc(os.Args, func(s string) bool {
		return s == "-test.artifacts" || s == "-test.artifacts=true" || s == "--test.artifacts"
	}) {
		return a.ArtifactDir(), nil
	}
	return os.MkdirTemp("", "ctexp-"+report.Stem(name)+"-")
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

// cannot ends a test that cannot be done here: by a skip, or by a failure where nothing may be skipped.
func cannot(t TB, doing string, err error) {
	t.Helper()
	needs.Check(t, fmt.Errorf("%s: %w", doing, err))
}

// Require ends the test like New does if err says that something cannot be done here, and fails it if it says anything
// else; a nil error does nothing. It is for what a test needs beside its Experiment.
func Require(t TB, doing string, err error) {
	t.Helper()
	if err != nil {
		cannot(t, doing, err)
	}
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

// TB is what an Experiment needs of a test: *testing.T, *testing.B and *testing.F have it.
type TB interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Failed() bool
	Cleanup(func())
}

// How long an operation may wait where the test has no deadline, and what it leaves of one for the failure to
// explain itself. An expectation waits no longer than longest: a test that fails should not take its ten minutes for that.
const (
	patience     = tooLong(30 * time.Second)
	longest      = 10 * time.Second
	shareOfGrace = 20 // one part in so many
	leastGrace   = 500 * time.Millisecond
)

// deadline returns when an operation that begins now has to give up: some time before the test's own deadline if it has one.
func deadline(t TB, now time.Time) (time.Time, tooLong) {
	d, ok := t.(interface{ Deadline() (time.Time, bool) })
	if !ok {
		return now.Add(time.Duration(patience)), patience
	}
	at, ok := d.Deadline()
	if !ok {
		return now.Add(time.Duration(patience)), patience
	}
	return at.Add(-max(leastGrace, at.Sub(now)/shareOfGrace)), 0
}

// operation returns the context of one operation of a test: it ends with the test, and in time for the test to say why.
func operation(t TB) (context.Context, context.CancelFunc) {
	ctx := context.Background()
	if c, ok := t.(interface{ Context() context.Context }); ok {
		// During Cleanup the test's own context is over already, but what is being cleaned up still has to be asked.
		if c.Context().Err() == nil {
			ctx = c.Context()
		}
	}
	at, why := deadline(t, time.Now())
	return context.WithDeadlineCause(ctx, at, why)
}

// tooLong is why an operation has given up: for how long it has waited, 0 if until the test's deadline.
type tooLong time.Duration

func (d tooLong) Error() string {
	if d == 0 {
		return "not before the test's deadline"
	}
	return fmt.Sprintf("not within %v", time.Duration(d))
}

func (d tooLong) Unwrap() error { return context.DeadlineExceeded }
