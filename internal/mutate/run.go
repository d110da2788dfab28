package mutate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ctexp/go-ctexp/internal/mutate/mutant"
)

// Outcome is what the tests made of a mutant.
type Outcome string

// Outcomes.
const (
	Failed    Outcome = "failed"    // a test failed, or the process ended
	Hung      Outcome = "hung"      // the tests took much longer than without the mutant, and were killed
	Survived  Outcome = "survived"  // all tests passed
	Unreached Outcome = "unreached" // no test executes the place, so none can fail
)

// Result is a mutant after its tests.
type Result struct {
	Mutant
	Outcome Outcome
	By      string        // the first test that failed; "" if the process ended without one
	Took    time.Duration // of the tests that were executed
}

// Killed reports whether the tests noticed the mutant.
func (r Result) Killed() bool { return r.Outcome == Failed || r.Outcome == Hung }

// Killed returns how many of the results are.
func Killed(results []Result) int {
	n := 0
	for _, r := range results {
		if r.Killed() {
			n++
		}
	}
	return n
}

// Runner executes the tests of mutants.
type Runner struct {
	Exec []string   // a program and its arguments that executes the test binaries, as -exec of go test; none if empty
	Log  io.Writer  // what is being done; nowhere if nil
	With []*Package // their tests are executed, too, if those of a mutant's own package notice nothing

	dir      string // ours, until Run returns
	overlay  string
	binaries map[string]*binary // by the path of the package
}

// Run executes the tests of each mutant of a sample, and calls done with each result as soon as there is one. The packages'
// tests must pass without a mutant. Nothing is left behind but what a killed test leaves outside of its folder of temporary
// files, its namespaces and its process group. The environment is passed on: with CTEXP_REQUIRE a test that skips because of
// a mutant is one that fails.
func (r *Runner) Run(ctx context.Context, sample []Mutant, done func(Result)) (err error) {
	if r.dir, err = os.MkdirTemp("", "mutate"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	if r.overlay, err = writeOverlay(r.dir, sample); err != nil {
		return err
	}
	r.binaries = map[string]*binary{}
	for _, m := range sample {
		res := Result{Mutant: m, Outcome: Unreached}
		for _, p := range append([]*Package{m.pkg}, r.With...) {
			next, err := r.try(ctx, p, m)
			if err != nil {
				return fmt.Errorf("tests of %s, mutant %d: %w", p.Path, m.ID, err)
			}
			next.Took += res.Took
			if next.Outcome == Unreached {
				next.Outcome = res.Outcome
			}
			if res = next; res.Killed() {
				break
			}
		}
		done(res)
	}
	return nil
}

// try executes the tests of a package that reach a mutant.
func (r *Runner) try(ctx context.Context, p *Package, m Mutant) (Result, error) {
	b := r.binaries[p.Path]
	if b == nil {
		var err error
		if b, err = r.build(ctx, p); err != nil {
			return Result{}, err
		}
		r.binaries[p.Path] = b
	}
	return b.try(ctx, m)
}

func (r *Runner) logf(format string, args ...any) {
	if r.Log != nil {
		fmt.Fprintf(r.Log, format+"\n", args...)
	}
}

// binary is a package's tests with all mutants.
type binary struct {
	*Runner
	pkg   *Package
	path  string
	tests []test
}

// test is a test of a binary, executed alone and without a mutant.
type test struct {
	name    string
	took    time.Duration
	reached map[int]bool // numbers of mutants
}

var testName = regexp.MustCompile(`^(Test|Fuzz|Example)\w*$`)

// build compiles a package's tests and executes each alone.
func (r *Runner) build(ctx context.Context, p *Package) (*binary, error) {
	b := &binary{Runner: r, pkg: p, path: filepath.Join(r.dir, strings.ReplaceAll(p.Path, "/", "-")+".test")}
	if _, err := goCommand(ctx, p.Root, "test", "-c", "-overlay", r.overlay, "-o", b.path, p.Path); err != nil {
		return nil, err
	}
	var names bytes.Buffer
	if err := b.command(ctx, &names, time.Minute, "-test.list=.").Run(); err != nil {
		return nil, fmt.Errorf("%s: list the tests: %w", p.Path, err)
	}
	start := time.Now()
	for name := range strings.FieldsSeq(names.String()) {
		if !testName.MatchString(name) { // a benchmark
			continue
		}
		t, err := b.measure(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %s without a mutant: %w", p.Path, name, err)
		}
		b.tests = append(b.tests, t)
	}
	r.logf("%s: %d tests, one by one in %.1f s", p.Path, len(b.tests), time.Since(start).Seconds())
	return b, nil
}

// measure executes a test alone, without a mutant.
func (b *binary) measure(ctx context.Context, name string) (test, error) {
	t := test{name: name, reached: map[int]bool{}}
	file := filepath.Join(b.dir, "reached")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return t, err
	}
	start := time.Now()
	outcome, by, err := b.run(ctx, 10*time.Minute, []string{name}, mutant.Reached+"="+file)
	t.took = time.Since(start)
	if err != nil {
		return t, err
	}
	if outcome != Survived {
		return t, fmt.Errorf("%s %s", outcome, by)
	}
	ids, err := os.ReadFile(file)
	if err != nil {
		return t, err
	}
	for id := range strings.FieldsSeq(string(ids)) {
		n, err := strconv.Atoi(id)
		if err != nil {
			return t, err
		}
		t.reached[n] = true
	}
	return t, nil
}

// try executes the tests that reach a mutant. It waits three times as long as they took one by one, and two seconds more,
// because the shortest would otherwise be judged by how busy the machine is.
//
// What a busy machine does is not the mutant's doing: a test that failed must do so again, alone, else the others are
// executed without it. Tests that took too long must do so again, in twice the time, and must not without the mutant.
func (b *binary) try(ctx context.Context, m Mutant) (Result, error) {
	var names []string
	limit := 2 * time.Second
	for _, t := range b.tests {
		if t.reached[m.ID] {
			names = append(names, t.name)
			limit += 3 * t.took
		}
	}
	if names == nil {
		return Result{Mutant: m, Outcome: Unreached}, nil
	}
	on := mutant.Switch + "=" + strconv.Itoa(m.ID)
	start := time.Now()
	hung := false
	result := func(o Outcome, by string) Result {
		return Result{Mutant: m, Outcome: o, By: by, Took: time.Since(start)}
	}
	for len(names) > 0 {
		outcome, by, err := b.run(ctx, limit, names, on)
		failed, _, _ := strings.Cut(by, "/") // without the subtest
		switch {
		case err != nil:
			return Result{}, err
		case outcome == Hung:
			without, _, err := b.run(ctx, limit, names)
			if err != nil || hung && without != Hung {
				return result(Hung, ""), err
			}
			hung = without != Hung
			limit *= 2
		case failed != "":
			alone, _, err := b.run(ctx, limit, []string{failed}, on)
			if err != nil || alone != Survived {
				return result(Failed, by), err
			}
			names = slices.DeleteFunc(names, func(name string) bool { return name == failed })
		default:
			return result(outcome, ""), nil
		}
	}
	return result(Survived, ""), nil
}

// run executes tests until the first one fails.
func (b *binary) run(ctx context.Context, limit time.Duration, tests []string, env ...string) (Outcome, string, error) {
	temp, err := os.MkdirTemp(b.dir, "t")
	if err != nil {
		return "", "", err
	}
	defer func() { _ = os.RemoveAll(temp) }() // what is left goes with our folder
	out, w, err := os.Pipe()
	if err != nil {
		return "", "", err
	}
	defer out.Close()
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := b.command(timed, w, limit, "-test.v", "-test.run=^("+strings.Join(tests, "|")+")$")
	cmd.Env = append(append(os.Environ(), "TMPDIR="+temp), env...)
	err = cmd.Start()
	w.Close()
	if err != nil {
		return "", "", err
	}
	by := firstFailure(out)
	if by != "" {
		cancel()
	}
	err = cmd.Wait()
	_, _ = io.Copy(io.Discard, out)
	switch {
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	case by != "":
		return Failed, by, nil
	case timed.Err() != nil:
		return Hung, "", nil
	case err != nil:
		return Failed, "", nil
	}
	return Survived, "", nil
}

// command is one of the test binary's, in a process group that ends with ctx, at the limit. Its output goes to w alone.
func (b *binary) command(ctx context.Context, w io.Writer, limit time.Duration, flags ...string) *exec.Cmd {
	// The binary's own limit is for when this process is gone: it must not race with ours, because it ends as a failure does.
	args := slices.Concat(b.Exec, []string{b.path, "-test.timeout=" + (limit + time.Minute).String()}, flags)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = b.pkg.Dir
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// firstFailure reads the output of tests until one fails, whose name it returns, or until it ends.
func firstFailure(r io.Reader) string {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if rest, ok := strings.CutPrefix(strings.TrimLeft(line, " "), "--- FAIL: "); ok {
			name, _, _ := strings.Cut(rest, " ")
			return name
		}
		if err != nil {
			return ""
		}
	}
}
