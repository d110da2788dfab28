package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// The environment variables that make this test binary the command, and a program that fails behind a datagram to localhost.
const (
	asCommand = "CTEXP_ENV_TEST"
	asProgram = "CTEXP_ENV_TEST_PROGRAM"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asProgram) != "": // which the command has started

		c, err := net.Dial("udp", "127.0.0.1:9")
		if err == nil {
			_, err = c.Write([]byte("x"))
		}
		fmt.Println("sent:", err)
		os.Exit(1)
	case os.Getenv(asCommand) != "":
		main()
	}
	os.Exit(m.Run())
}

// command runs the command and returns what it wrote and its exit status.
func command(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var failed *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// canOpen skips the test where no Env can be opened.
func canOpen(t *testing.T) {
	t.Helper()
	switch _, stderr, status := command(t, "-bare", "true"); {
	case status == couldNot && strings.Contains(stderr, "needs "):
		needs.Check(t, &nf.UnsupportedError{Need: "user namespaces", Hint: "what the error says", Err: errors.New(stderr)})
	case status != 0:
		t.Fatalf("status %d: %s", status, stderr)
	}
}

// The program is root of another network, whose links and localhost are up, and its output and status are the command's.
func TestProgramIsRootOfANetwork(t *testing.T) {
	t.Parallel()
	canOpen(t)
	out, stderr, status := command(t, "-q", "-links", "a 192.0.2.1/24 default; b 198.51.100.1/24", "-forward", "sh", "-c",
		"id -u; grep -cE '^ *(lo|a|b):' /proc/net/dev; cat /proc/sys/net/ipv4/ip_forward; exit 7")
	if out != "0\n3\n1\n" || status != 7 || stderr != "" {
		t.Errorf("%q, %q, status %d; want root, lo and both links, forwarding, 7", out, stderr, status)
	}
}

// A program that fails leaves a report, with what its packets met.
func TestFailureIsReported(t *testing.T) {
	t.Parallel()
	canOpen(t)
	rules := filepath.Join(t.TempDir(), "rules.nft")
	if err := os.WriteFile(rules, []byte("# ours\ntable inet f { chain in { type filter hook input priority 0; udp dport 9 counter drop; }; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, stderr, status := command(t, "-rules", rules, "env", asProgram+"=1", os.Args[0])
	if status != 1 || out != "sent: <nil>\n" || !strings.Contains(stderr, "udp dport 9 counter drop") || !strings.Contains(stderr, "has failed; what happened in") {
		t.Errorf("%s, status %d: %s", out, status, stderr)
	}
	if _, stderr, status := command(t, "-rules", rules, "true"); status != 0 || stderr != "" {
		t.Errorf("without a failure: status %d: %s", status, stderr)
	}
}

// A signal that ends the program is told as shells do.
func TestSignalIsTold(t *testing.T) {
	t.Parallel()
	canOpen(t)
	if _, _, status := command(t, "-q", "-bare", "sh", "-c", "kill -TERM $$"); status != 128+15 {
		t.Errorf("status %d, want 143", status)
	}
}

// Wrong arguments are an error of one line, and another status than that of a test.
func TestWrongArguments(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"no program to run":      {},
		"-links: line 1: link x": {"-links", "x y", "true"},
		"-rules: open none.nft":  {"-rules", "none.nft", "true"},
	} {
		_, stderr, status := command(t, args...)
		if last := lastLine(stderr); !strings.Contains(last, want) || status != couldNot {
			t.Errorf("%q: status %d: %s; want %q", args, status, stderr, want)
		}
	}
}

// A program that is not there is named.
func TestMissingProgramIsNamed(t *testing.T) {
	t.Parallel()
	canOpen(t)
	if _, stderr, status := command(t, "no-such-program"); status != couldNot || !strings.Contains(stderr, "no-such-program") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
