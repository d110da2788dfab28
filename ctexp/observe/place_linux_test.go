package observe_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// A namespace that ctexp did not create is observed by its path, its process or a descriptor: flows, counts and
// frames. Methods that would need a rule in it return an error.
func TestNamespaceOfAnotherProgramIsObserved(t *testing.T) {
	t.Parallel()
	l := open(t, netnsenv.Config{Silent: true, NoPath: true})
	program := l.env.Command(t.Context(), "cat") // something that lives in it
	in, err := program.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]func() (*observe.Place, error){
		"path": func() (*observe.Place, error) { return observe.At(l.env.Path()) },
		"pid":  func() (*observe.Place, error) { return observe.AtPID(program.Process.Pid) },
		"fd":   func() (*observe.Place, error) { return observe.AtFD(l.env.FD()) },
	} {
		t.Run(name, func(t *testing.T) {
			place, err := at()
			needs.Check(t, err)
			defer place.Close()
			o, err := observe.Open(t.Context(), place, observe.Config{})
			needs.Check(t, err)
			defer o.Close()

			sent := packet.SYN(web.Nth(len(name)))
			if _, err := inject.New(l.env.Links()[0]).Send(t.Context(), packet.Packets(sent)); err != nil {
				t.Fatal(err)
			}

			tally, err := o.Tally(t.Context())
			if err != nil || tally.Entries != 1 {
				t.Errorf("tally %v, %v; want 1 entry more", tally, err)
			}
			found := false
			for e, err := range o.Flows(t.Context(), nf.Filter{}) {
				found = found || err == nil && e.Orig == sent.Tuple()
			}
			if !found {
				t.Error("the flow is not there")
			}
			if n := len(frames(t, o)); n != 1 {
				t.Errorf("%d frames, want 1", n)
			}
			if _, err := o.Path(t.Context()); !errors.Is(err, observe.ErrOff) {
				t.Errorf("path without probes: %v", err)
			}
		})
	}
}

func frames(t *testing.T, o *observe.Observer) []packet.Record {
	t.Helper()
	var all []packet.Record
	for f, err := range o.Frames(context.WithoutCancel(t.Context())) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return all
}

func TestOwnNamespaceIsOpenedByNameOnly(t *testing.T) {
	t.Parallel()
	if _, err := observe.AtPID(os.Getpid()); err == nil || !strings.Contains(err.Error(), "use Host") {
		t.Errorf("got %v", err)
	}
	if p, err := observe.Host(); err == nil {
		p.Close()
	} else if !errors.Is(err, errors.ErrUnsupported) { // after Enter the host's own is out of reach
		t.Errorf("host: %v", err)
	}
}

func TestInvalidPlacesAreRefused(t *testing.T) {
	t.Parallel()
	if _, err := observe.At("/no/such/namespace"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such path: %v", err)
	}
	if _, err := observe.At("/proc/self/ns/uts"); err == nil || !strings.HasPrefix(err.Error(), "observe: /proc/self/ns/uts is not a network namespace: ") {
		t.Errorf("a namespace of another kind: %v", err)
	}
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := observe.AtFD(int(f.Fd())); err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("observe: file descriptor %d is not a network namespace: ", f.Fd())) {
		t.Errorf("a file: %v", err)
	}
	if _, err := observe.AtFD(-1); err == nil {
		t.Error("a descriptor that is none was taken")
	}
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := observe.AtPID(dead.Process.Pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a process that has ended: %v", err)
	}
}
