package kernel

import (
	"errors"
	"strings"
	"testing"
)

// Releases are compared by number. What is not a release counts as the latest.
func TestReleasesAreComparedByNumber(t *testing.T) {
	t.Parallel()
	had := Behavior{until: release{5, 19}}
	for name, want := range map[string]bool{
		"5.18.0": true, "5.19.0-rc1": false, "5.10.262": true, "4.20": true, "6.1.192": false, "6.18.44-x1": false,
		"": false, "x": false,
	} {
		if got := had.in(systemOf(name, "").release); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestKernelHasDebiansVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, version, want string }{
		{"6.1.0-50-cloud-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-3 (2026-11-01)", "6.1.0-50-cloud-amd64 (Debian 6.1.192-3)"},
		{"6.18.44", "#2 SMP", "6.18.44"},
	} {
		if got := systemOf(c.name, c.version).name; got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// A behavior holds from the release that brought it on, until the one that removed it.
func TestBehaviorsHoldInTheirReleases(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		b     Behavior
		in    map[release]bool
		words string
	}{
		{Behavior{since: release{5, 12}}, map[release]bool{{5, 11}: false, {5, 12}: true, {6, 1}: true}, "since Linux 5.12"},
		{Behavior{until: release{5, 19}}, map[release]bool{{5, 18}: true, {5, 19}: false, latest: false}, "before Linux 5.19"},
		{Behavior{since: release{5, 12}, until: release{6, 1}}, map[release]bool{{5, 11}: false, {6, 0}: true, {6, 1}: false}, "since Linux 5.12 and before 6.1"},
	} {
		for r, want := range c.in {
			if got := c.b.in(r); got != want {
				t.Errorf("%s, %v: %v", c.words, r, got)
			}
		}
		if got := c.b.releases(); got != c.words {
			t.Errorf("got %q, want %q", got, c.words)
		}
	}
}

// A lack says what is needed, which kernels have it, what brought it, and which kernel this is. What the kernel shows itself
// is believed.
func TestLackSaysWhichKernelsHaveIt(t *testing.T) {
	t.Parallel()
	later := Behavior{need: "wings", since: latest, why: `abc "fly"`}
	later.since.minor++
	err := later.Lack()
	if !errors.Is(err, errors.ErrUnsupported) || !strings.HasPrefix(err.Error(), "needs wings (since Linux ") || !strings.HasSuffix(err.Error(), `, abc "fly"; this is `+running().name+")") {
		t.Errorf("got %v", err)
	}
	later.shown = func() bool { return true }
	if err := later.Lack(); err != nil {
		t.Errorf("it is shown, and %v", err)
	}
}
