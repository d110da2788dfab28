package queues

import (
	"errors"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// inOwnNetwork runs f on a thread in a network namespace of its own, in which lo is all there is. It needs the host's root, because
// only it may load programs.
func inOwnNetwork(t *testing.T, f func(*Links)) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, so that the thread ends
		err := unix.Unshare(unix.CLONE_NEWNET)
		var s *Links
		if err == nil {
			s, err = OpenLinks()
		}
		if err == nil {
			f(s)
			err = s.Close()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		needs.Check(t, &nf.UnsupportedError{Need: "BPF", Hint: "run as the host's root", Err: err})
	}
}

// Programs that are attached to a link itself are found; there are none of tcx before Linux 6.6.
func TestProgramsOfALinkAreFound(t *testing.T) {
	const lo = 1
	var before, got, want []Filter
	var errs []error
	inOwnNetwork(t, func(s *Links) {
		var err error
		before, err = s.Filters()
		errs = append(errs, err)
		load := func(typ ebpf.ProgramType) *ebpf.Program {
			p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: typ, License: "MIT", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}})
			errs = append(errs, err)
			return p
		}
		xdp, err := link.AttachXDP(link.XDPOptions{Program: load(ebpf.XDP), Interface: lo, Flags: link.XDPGenericMode})
		if errs = append(errs, err); err != nil {
			return
		}
		defer xdp.Close()
		want = append(want, Filter{lo, false, kindXDP})
		tcx, err := link.AttachTCX(link.TCXOptions{Program: load(ebpf.SchedCLS), Interface: lo, Attach: ebpf.AttachTCXEgress})
		switch {
		case errors.Is(err, ebpf.ErrNotSupported):
		case err != nil:
			errs = append(errs, err)
		default:
			defer tcx.Close()
			want = append(want, Filter{lo, true, kindTCX})
		}
		got, err = s.Filters()
		errs = append(errs, err)
	})
	if err := errors.Join(errs...); err != nil {
		if errors.Is(err, unix.EPERM) {
			err = &nf.UnsupportedError{Need: "BPF", Hint: "run as the host's root", Err: err}
		}
		needs.Check(t, err)
	}
	if diff := cmp.Diff(want, got); diff != "" || before != nil {
		t.Errorf("before %v (-want +got):\n%s", before, diff)
	}
}
