package ctexp

import (
	"fmt"
	"os/exec"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/needs"
)

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
