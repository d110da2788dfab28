package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/internal/golden"
)

func TestWrongFlagsAreStatus2(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"-packets 7", "more packets than fit"},
		{"-packets 7 -free 8", "more packets than fit"},
		{"-packets 50001", "at most 50000"},
		{"-free 0", "at least 1"},
		{"-free -1", "at least 1"},
		{"-packets many", "invalid value"},
		{"-backend pf", "want nft, iptables-nft or iptables-legacy"},
		{"-run (", "missing closing )"},
		{"-run ^no-such-claim$", "no claim matches"},
		{"-colour", "not defined"},
		{"table-full", "want flags only"},
	} {
		var out, errOut strings.Builder
		if status := run(strings.Fields(c.args), &out, &errOut); status != statusFailed {
			t.Errorf("%s: exit status %d, want %d", c.args, status, statusFailed)
		}
		if out.String() != "" || !strings.Contains(errOut.String(), c.want) {
			t.Errorf("%s: output %q, error %q, want one with %q", c.args, out.String(), errOut.String(), c.want)
		}
	}
}

func TestHelpIsNoFailure(t *testing.T) {
	t.Parallel()
	var out, errOut strings.Builder
	if status := run([]string{"-help"}, &out, &errOut); status != statusFine || !strings.Contains(errOut.String(), "-backend") {
		t.Errorf("exit status %d, %s", status, errOut.String())
	}
}

func TestTheSmallestAndTheLargestSizeAreTaken(t *testing.T) {
	t.Parallel()
	for _, n := range []size{{2, 1}, {50_000, 49_999}} {
		if err := n.check(); err != nil {
			t.Errorf("%+v: %v", n, err)
		}
	}
}

// asProgram makes the test binary the program: it enters namespaces by executing itself, as the program does.
const asProgram = "CTEXP_TALES_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "1" {
		main()
	}
	os.Exit(m.Run())
}

// program runs the program in a process of its own.
func program(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

func TestTheExitStatusIsThatOfTheWorstThatMatters(t *testing.T) {
	t.Parallel()
	fine, bad, not := result{Verdict: refined}, result{Verdict: refuted}, result{Verdict: unsupported}
	failed := result{Error: "ours"}
	for _, c := range []struct {
		name    string
		results []result
		want    int
	}{
		{"nothing", nil, 2},
		{"all asked", []result{fine, {Verdict: confirmed}, {Verdict: changed}}, 0},
		{"some asked", []result{not, fine}, 0},
		{"none asked", []result{not, not}, 2},
		{"refuted", []result{fine, bad, not}, 1},
		{"no answer", []result{fine, failed}, 2},
		{"refuted, and one without an answer", []result{failed, bad}, 1},
	} {
		if got := exitStatus(c.results); got != c.want {
			t.Errorf("%s: exit status %d, want %d", c.name, got, c.want)
		}
	}
}

func TestListPrintsEveryClaimWithItsNumbers(t *testing.T) {
	t.Parallel()
	var out, errOut strings.Builder
	status := run([]string{"-list", "-packets", "23", "-free", "11"}, &out, &errOut)
	if status != 0 || errOut.String() != "" {
		t.Errorf("exit status %d, %s", status, errOut.String())
	}
	golden.Check(t, "list.golden", out.String())
}
