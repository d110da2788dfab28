package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The tests below boot the kernel that CTEXP_VM_KERNEL names, which should be in the cache, with this test binary as the
// runner and as what runs in the machine.
const childOf, asRunner, asGuest = "CTEXP_VM_TEST", "runner", "guest"

func TestMain(m *testing.M) {
	switch {
	case os.Getpid() == 1 || filepath.Base(os.Args[0]) == "modprobe" || os.Getenv(childOf) == asRunner:
		if os.Getenv(childOf) == asRunner {
			os.Setenv(childOf, asGuest)
		}
		main()
	case os.Getenv(childOf) == asGuest:
		inMachine()
	}
	os.Exit(m.Run())
}

// inMachine does what a test of the runner asks for.
func inMachine() {
	switch what := os.Args[1]; what {
	case "status":
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
		os.Exit(7)
	case "terminal":
		is, err := os.Stdout.Stat()
		fmt.Println(is.Mode()&os.ModeCharDevice != 0, err)
		fmt.Fprintln(os.Stderr, "to stderr")
	case "who":
		dir, err := os.Getwd()
		fmt.Println(os.Getuid(), os.Getenv("CTEXP_VM"), os.Getenv("OWN"), filepath.Base(dir), err)
		b, err := os.ReadFile("go.mod")
		fmt.Println(len(b) > 0, err)
		release, err := os.ReadFile("/proc/sys/kernel/osrelease")
		fmt.Println(strings.TrimSpace(string(release)), err)
	case "file":
		if err := os.WriteFile(os.Args[2], []byte("from the machine"), 0o644); err != nil {
			fmt.Println(err)
		}
	case "report":
		dir, err := os.MkdirTemp("", "ctexp-TestOfTheRunner-")
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "report"), []byte("from the machine"), 0o600)
		}
		fmt.Print(dir)
		if err != nil {
			fmt.Println(err)
		}
	case "panic":
		_ = os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
	case "nft":
		_, err := exec.Command("nft", "table inet t { chain c { type filter hook input priority 0; ct state new counter; }; }").CombinedOutput()
		if err != nil {
			fmt.Println(err)
		}
		out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
		fmt.Printf("%s %v\n", out, err)
	case "die":
		self, _ := os.FindProcess(os.Getpid())
		_ = self.Kill()
		select {}
	default:
		fmt.Println("unknown:", what)
	}
	os.Exit(0)
}

// lacks skips the test for want of something, or fails it if CTEXP_REQUIRE is 1 and CTEXP_LACKS does not list the need.
func lacks(t *testing.T, need, hint string) {
	t.Helper()
	if os.Getenv("CTEXP_REQUIRE") == "1" && !slices.Contains(strings.Split(os.Getenv("CTEXP_LACKS"), ","), need) {
		t.Fatalf("needs %s: %s", need, hint)
	}
	t.Skipf("needs %s: %s", need, hint)
}

// needs is lacks if a program is not there.
func needs(t *testing.T, program, hint string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		lacks(t, program, fmt.Sprintf("%s: %v", hint, err))
	}
}

// command runs this binary in a machine.
func command(t *testing.T, flags []string, args ...string) *exec.Cmd {
	t.Helper()
	if os.Getenv("CTEXP_VM_KERNEL") == "" {
		lacks(t, "CTEXP_VM_KERNEL", "the version of a kernel to boot, CTEXP_VM_KERNEL=6.1")
	}
	needs(t, "qemu-system-x86_64", "apt-get install --no-install-recommends qemu-system-x86")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append(append(flags, self), args...)...)
	cmd.Env = append(os.Environ(), childOf+"="+asRunner, "OWN=mine")
	return cmd
}

// boot runs this binary in a machine and returns what it wrote, and its exit status.
func boot(t *testing.T, flags []string, args ...string) (output string, status int) {
	t.Helper()
	cmd := command(t, flags, args...)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return b.String(), cmd.ProcessState.ExitCode()
}

func TestOutputAndStatusComeBack(t *testing.T) {
	output, status := boot(t, nil, "status")
	if output != "to stdout\nto stderr\n" || status != 7 {
		t.Errorf("status %d, output %q", status, output)
	}
	if output, status := boot(t, nil, "die"); status != 128+9 || !strings.Contains(output, "signal: killed") {
		t.Errorf("killed: status %d, output %q", status, output)
	}
}

// Standard output and standard error come apart where they are apart here, and are no terminals.
func TestOutputsAreApart(t *testing.T) {
	var stdout, stderr bytes.Buffer
	cmd := command(t, nil, "terminal")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if stdout.String() != "false <nil>\n" || stderr.String() != "to stderr\n" || err != nil {
		t.Errorf("%q and %q, %v", stdout.String(), stderr.String(), err)
	}
}

func TestBinaryIsWhereItWouldBe(t *testing.T) {
	output, status := boot(t, []string{"-uid", "1234"}, "who")
	lines := strings.Split(output, "\n")
	want := strings.SplitN(os.Getenv("CTEXP_VM_KERNEL"), "-", 2)[0]
	if status != 0 || len(lines) < 3 || lines[0] != "1234 1 mine ctexp-vm <nil>" || lines[1] != "true <nil>" || !strings.HasPrefix(lines[2], strings.Join(strings.Split(want, ".")[:2], ".")) {
		t.Errorf("status %d, output %q", status, output)
	}
}

func TestFilesComeBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "with, comma", "file") // as go test asks for a profile
	output, status := boot(t, nil, "file", file, "-test.coverprofile="+file)
	if b, err := os.ReadFile(file); string(b) != "from the machine" || err != nil || status != 0 {
		t.Errorf("%q, %v; status %d, output %q", b, err, status, output)
	}
}

// The report of a failed test lies where its log says, and is closed to others.
func TestReportsComeBack(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir, status := boot(t, []string{"-uid", "1234"}, "report")
	file := filepath.Join(dir, "report")
	b, err := os.ReadFile(file)
	if string(b) != "from the machine" || err != nil || status != 0 {
		t.Fatalf("%q, %v; status %d, output %q", b, err, status, dir)
	}
	for path, want := range map[string]fs.FileMode{file: 0o600, dir: 0o700} {
		if is, err := os.Stat(path); err != nil || is.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, is.Mode(), err, want)
		}
	}
}

func TestProgramsAreThere(t *testing.T) {
	needs(t, "nft", "apt-get install nftables")
	if output, status := boot(t, nil, "nft"); status != 0 || !strings.Contains(output, "ct state new counter packets 0 bytes 0") {
		t.Errorf("status %d, output %q", status, output)
	}
}

func TestPanicOfTheKernelIsAnError(t *testing.T) {
	output, status := boot(t, nil, "panic")
	if status != failed || !strings.Contains(output, "Kernel panic") || !strings.Contains(output, "ended without a result") {
		t.Errorf("status %d, output %q", status, output)
	}
}

func TestImageThatDoesNotBootIsAnError(t *testing.T) {
	image := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(image, bytes.Repeat([]byte("no kernel "), 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	output, status := boot(t, []string{"-kernel", image}, "status")
	if status != failed || !strings.Contains(output, "ctexp-vm:") {
		t.Errorf("status %d, output %q", status, output)
	}
}
