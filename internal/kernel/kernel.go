// Package kernel is the one place that knows what kernels do differently, as far as an answer of the library or a test
// depends on it. Each difference is a Behavior with the kernel's own words for it and what changed it.
//
// A Behavior is decided by what the running kernel shows where it shows it without an experiment, as by a file of
// /proc/sys. Otherwise it is decided by the release. What an answer of the kernel itself shows, such as an attribute that a
// message has or has not, is decided where the answer is read, and is not here.
//
// The library asks Here, or returns Lack as its error. A test of a behavior needs it in one line. A test that holds on every
// kernel asks Here, and says what it wants on the others:
//
//	needs.Check(t, kernel.TraceState.Lack())
//
//	if !kernel.OwnedTables.Here() { want = observe.ErrProbeLost }
package kernel

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Behavior is something that some kernels do, and others do not.
type Behavior struct {
	need  string      // in a few words, as CTEXP_LACKS lists it
	why   string      // what changed it: a commit with its subject, or a file and a symbol of the kernel
	since release     // the first release that does it; zero: it always did
	until release     // the first release that no longer does it; zero: it still does
	shown func() bool // whether the running kernel does it, if it shows that
}

// Here reports whether the running kernel does it.
func (b Behavior) Here() bool {
	if b.shown != nil {
		return b.shown()
	}
	return b.in(running().release)
}

// Lack returns nil if the running kernel does it, else an *nf.UnsupportedError that says which kernels do, and why.
func (b Behavior) Lack() error {
	if b.Here() {
		return nil
	}
	return &nf.UnsupportedError{Need: b.need, Hint: fmt.Sprintf("%s, %s; this is %s", b.releases(), b.why, running().name)}
}

// in reports whether a release does it.
func (b Behavior) in(r release) bool {
	return r.compare(b.since) >= 0 && (b.until == release{} || r.compare(b.until) < 0)
}

// releases says which releases do it.
func (b Behavior) releases() string {
	switch {
	case b.since == release{} && b.until == release{}:
		return "of the kernel's configuration"
	case b.until == release{}:
		return fmt.Sprintf("since Linux %v", b.since)
	case b.since == release{}:
		return fmt.Sprintf("before Linux %v", b.until)
	}
	return fmt.Sprintf("since Linux %v and before %v", b.since, b.until)
}

// release is a release of Linux without its patch level.
type release struct{ major, minor int }

// String returns "5.12".
func (r release) String() string { return fmt.Sprintf("%d.%d", r.major, r.minor) }

func (r release) compare(s release) int {
	return cmp.Or(cmp.Compare(r.major, s.major), cmp.Compare(r.minor, s.minor))
}

// parse reads the beginning of what uname -r prints: "5.10.0-45-cloud-amd64". ok is false if it does not begin with a
// release.
func parse(name string) (r release, ok bool) {
	n, _ := fmt.Sscanf(name, "%d.%d", &r.major, &r.minor)
	return r, n == 2
}

// latest is later than all releases.
var latest = release{major: 1 << 30}

// system is the running kernel.
type system struct {
	release release
	name    string // "6.18.44-x1", or with Debian's version: "6.1.0-50-cloud-amd64 (Debian 6.1.192-3)"
}

// Name returns the running kernel's release, with Debian's version if it is one of Debian's, whose releases have no patch
// level: "6.18.44", "6.1.0-50-cloud-amd64 (Debian 6.1.192-3)".
func Name() string { return running().name }

// systemOf returns the kernel of which uname -r and uname -v print release and version. A release that does not begin with
// numbers counts as the latest.
func systemOf(name, version string) system {
	r, ok := parse(name)
	if !ok {
		r = latest
	}
	if _, debian, ok := strings.Cut(version, " Debian "); ok { // whose releases are without the patch level
		debian, _, _ = strings.Cut(debian, " ")
		name += " (Debian " + debian + ")"
	}
	return system{r, name}
}
