package entertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// hostNetworkChild prints its network namespace and what happens to a function that goes back there from an Env.
func hostNetworkChild() {
	fmt.Println(os.Readlink("/proc/self/ns/net"))
	e, err := netnsenv.Open(context.Background(), netnsenv.Config{})
	if err == nil {
		err = e.Do(backToBase)
		e.Close()
	}
	fmt.Println(errors.Is(err, unix.EPERM), err)
	os.Exit(0)
}

// backToBase moves the thread to the base namespace, as a library does that has entered an Env.
func backToBase() error {
	f, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
}

func TestHostNetworkIsKeptOnRequestAndNamed(t *testing.T) {
	t.Parallel()
	namespaces(t)
	unentered(t)
	out, err := again(t, "host's network").Output()
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	network, failure, _ := strings.Cut(string(out), "\n")
	if want := own + " <nil>"; network != want {
		t.Errorf("the network is %s, want %s", network, want)
	}
	if !strings.HasPrefix(failure, "true ") || !strings.Contains(failure, "netnsenv.Entry.HostNetwork") {
		t.Errorf("got %q, want EPERM with the reason", failure)
	}
}

// unentered skips the test if unshare has made the namespaces, which EnterWith then takes as they are.
func unentered(t *testing.T) {
	t.Helper()
	e, err := netnsenv.Open(t.Context(), netnsenv.Config{})
	if err == nil {
		e.Close()
		needs.Check(t, &nf.UnsupportedError{Need: "a start outside of unshare -Urnm", Hint: "what that has made is taken as it is"})
	}
}
