package observe_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

const expecting = `
table ip u {
	ct expectation data { protocol udp; dport 5000; timeout 1m; size 12; l3proto ip; }
	chain in {
		type filter hook input priority 0;
		tcp dport 80 ct expectation set "data"
	}
}`

// A rule expects a flow. It comes from the server's side, is RELATED, and uses the expectation up.
func TestExpectationsComeAndAreUsedUp(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(expecting)}})
	other := inject.Flow{Src: addrPort("198.18.0.3:10000"), Dst: web.Dst}
	x.send(inject.SYN(other), inject.SYN(web))

	const (
		first  = "udp src=192.0.2.1 dst=198.18.0.2 sport=0 dport=5000 master src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80"
		second = "udp src=192.0.2.1 dst=198.18.0.3 sport=0 dport=5000 master src=198.18.0.3 dst=192.0.2.1 sport=10000 dport=80"
	)
	var got []string
	for _, e := range x.expectations() {
		if e.ID == 0 || e.Timeout < 30*time.Second { // 6.18 makes 1,000 minutes of one
			t.Errorf("id %d, timeout %v", e.ID, e.Timeout)
		}
		got = append(got, e.String())
	}
	if diff := cmp.Diff([]string{first, second}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	conn, err := x.env.Dial(t.Context(), "udp", "198.18.0.2:5000")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("data")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(observe.Stats{ExpectCreate: 2, ExpectNew: 1, ExpectDelete: 1}, x.stats()); diff != "" {
		t.Errorf("when one has come (-want +got):\n%s", diff)
	}
	if left := x.expectations(); len(left) != 1 || left[0].String() != second {
		t.Errorf("left: %v, want %s", left, second)
	}
	e, err := x.o.Get(t.Context(), web.Tuple(nf.TCP), 0)
	if err != nil {
		t.Fatal(err)
	}
	related := x.entries(nf.Filter{Status: nf.Expected, StatusMask: nf.Expected})
	if len(related) != 1 || related[0].Master != e.Orig {
		t.Errorf("EXPECTED entries %v, want one with the master %v", related, e.Orig)
	}
}

func (l lab) entries(f nf.Filter) []nf.Entry {
	l.Helper()
	var list []nf.Entry
	for e, err := range l.o.Flows(l.Context(), f) {
		if err != nil {
			l.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

func (l lab) expectations() []nf.Expectation {
	l.Helper()
	var list []nf.Expectation
	for e, err := range l.o.Expectations(l.Context()) {
		if err != nil {
			l.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// Nobody waits for the end of the entries here.
func TestNothingIsDying(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.sendSYNs(3, web)
	for e, err := range x.o.Dying(t.Context()) {
		t.Errorf("got %v, %v", e, err)
	}
}

// Entries whose end a listener should hear of that is sure to hear of everything, and that does not listen, are no longer in the
// table and not yet gone. When it listens, the kernel tells it again, and they go.
func TestEntriesThatCouldNotBeReportedAreDying(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	listener := x.sureListener()
	x.sendSYNs(20, web)
	if _, err := x.env.Table().Flush(t.Context(), nf.Filter{}); err != nil {
		t.Fatal(err)
	}

	flows := map[nf.Tuple]bool{}
	for i := range 20 {
		flows[inject.SYN(web.Nth(i)).Tuple()] = true
	}
	dying := x.dying()
	for _, e := range dying {
		if !flows[e.Orig] {
			t.Errorf("%v is dying, which was not there or is twice", e)
		}
		delete(flows, e.Orig)
	}
	if len(dying) == 0 || len(dying) == 20 {
		t.Errorf("%d of 20 are dying; want those that the listener's buffer has no room for", len(dying))
	}
	if left := x.flows(nf.Filter{}); len(left) != 0 {
		t.Errorf("the table still has %q", left)
	}

	buffer := make([]byte, 64<<10)
	x.await("nothing is dying when the listener reads", func() bool {
		for {
			if _, err := unix.Read(listener, buffer); err != nil && err != unix.ENOBUFS {
				break
			}
		}
		return len(x.dying()) == 0
	})
}

// sureListener returns a socket for the ends of entries with a small buffer, without which the kernel lets none of them end
// (net/netfilter/nf_conntrack_ecache.c, ecache_work_evict_list).
func (l lab) sureListener() int {
	l.Helper()
	fd := -1
	err := l.env.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
		return err
	})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { unix.Close(fd) })
	const destroyed = 3 // NFNLGRP_CONNTRACK_DESTROY
	if err := errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_BROADCAST_ERROR, 1),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, destroyed),
	); err != nil {
		l.Fatal(err)
	}
	return fd
}

func (l lab) dying() []nf.Entry {
	l.Helper()
	var list []nf.Entry
	for e, err := range l.o.Dying(l.Context()) {
		if err != nil {
			l.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// Where the kernel has no list of them, that is no empty list.
func TestUnconfirmedSaysWhereItHasNoList(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	for e, err := range x.o.Unconfirmed(t.Context()) {
		if u := new(nf.UnsupportedError); !errors.As(err, &u) || u.Hint == "" {
			t.Errorf("got %v, %v", e, err)
		}
	}
}
