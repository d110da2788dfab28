package nfnl_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// listen opens a Listener in the namespace.
func listen(t *testing.T, env *netnsenv.Env, filter []bpf.Instruction, groups ...uint32) nfnl.Listener {
	t.Helper()
	var l nfnl.Listener
	if err := env.Do(func() (err error) { l, err = nfnl.Listen(1<<20, filter, groups...); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// queued returns the events that are queued in the socket. The kernel queues them before it replies to what caused them.
func queued(t *testing.T, l nfnl.Listener) (kinds []nfnl.EventKind) {
	t.Helper()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	add := func(b *mmsg.Buffer, n int) error {
		for i := range n {
			kind, _, err := nfnl.KindOf(b.Payload(i))
			if err != nil {
				return err
			}
			kinds = append(kinds, kind)
		}
		return nil
	}
	overrun := func() { t.Error("events are lost") }
	if cerr := raw.Control(func(fd uintptr) { err = nfnl.ReadAll(int(fd), overrun, add) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return kinds
}

func TestListenReceivesWhatGroupsAndFilterSelect(t *testing.T) {
	t.Parallel()
	env, c := open(t)
	all := []bpf.Instruction{bpf.RetConstant{Val: 1 << 16}}
	listeners := map[string]nfnl.Listener{
		"no group":       listen(t, env, nil),
		"new":            listen(t, env, nil, unix.NFNLGRP_CONNTRACK_NEW),
		"both":           listen(t, env, all, unix.NFNLGRP_CONNTRACK_NEW, unix.NFNLGRP_CONNTRACK_DESTROY),
		"both, filtered": listen(t, env, []bpf.Instruction{bpf.RetConstant{}}, unix.NFNLGRP_CONNTRACK_NEW, unix.NFNLGRP_CONNTRACK_DESTROY),
	}
	for _, request := range [][]byte{nfnl.AppendCreate(nil, ping), nfnl.AppendDelete(nil, nf.Entry{Orig: ping.Orig})} {
		if err := c.Do(request); err != nil {
			t.Fatal(err)
		}
	}

	got := map[string][]nfnl.EventKind{}
	for name, l := range listeners {
		got[name] = queued(t, l)
	}

	want := map[string][]nfnl.EventKind{"no group": nil, "new": {nfnl.New}, "both": {nfnl.New, nfnl.Destroy}, "both, filtered": nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestListenToAGroupThatIsNoneFails(t *testing.T) {
	t.Parallel()
	env, _ := open(t)
	err := env.Do(func() error { _, err := nfnl.Listen(1<<20, nil, 1000, unix.NFNLGRP_CONNTRACK_NEW); return err })
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("got %v, want %v", err, unix.EINVAL)
	}
}

// An NFLOG group and an NFQUEUE have one reader.
func TestASecondReaderIsRefused(t *testing.T) {
	t.Parallel()
	env, _ := open(t)
	first, second := listen(t, env, nil), listen(t, env, nil)
	for name, c := range map[string]struct {
		bind, unbind func(nfnl.Listener) error
	}{
		"log": {
			func(l nfnl.Listener) error { return l.BindLog(4, 5) },
			func(l nfnl.Listener) error { return l.UnbindLog(4, 5) },
		},
		"queue": {func(l nfnl.Listener) error { return l.BindQueues(8, 5) }, nil},
	} {
		if err := c.bind(first); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.bind(second); !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: the second reader gets %v, want %v", name, err, unix.EPERM)
		}
		if c.unbind == nil {
			continue
		}
		if err := errors.Join(c.unbind(first), c.bind(second)); err != nil {
			t.Errorf("%s: after the first has gone: %v", name, err)
		}
	}
}
