package eventtest

import (
	"iter"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

const many = 100_000

// flow returns one of many flows, half of them from one address.
func flow(i int) packet.Flow {
	addresses := [...]string{"198.18.0.2", "198.18.0.3"}
	return packet.Flow{
		Src: netip.AddrPortFrom(netip.MustParseAddr(addresses[i%2]), uint16(1024+i/2)),
		Dst: netip.MustParseAddrPort("192.0.2.1:80"),
	}
}

func syns(yield func(packet.Packet) bool) {
	for i := range many {
		if !yield(packet.SYN(flow(i))) {
			return
		}
	}
}

func entries(yield func(nf.Entry) bool) {
	for i := range many {
		f := flow(i)
		t := nf.Tuple{Proto: nf.TCP, Src: f.Src, Dst: f.Dst}
		if !yield(nf.Entry{Orig: t, Reply: t.Reverse(), State: nf.Established, Timeout: time.Hour}) {
			return
		}
	}
}

func open(t *testing.T) *ctexp.Lab {
	t.Helper()
	lab, err := ctexp.Open(t.Context(), netnsenv.Config{Silent: true, NoPath: true, NoFrames: true})
	needs.Check(t, err)
	t.Cleanup(func() { lab.Close() })
	if limit := lab.Env.Room().Limit; limit > 0 && limit < many {
		needs.Check(t, &nf.UnsupportedError{Need: "a table of 100,000", Hint: "sudo sysctl -w net.netfilter.nf_conntrack_max=262144"})
	}
	return lab
}

// pause is what is called between batches: nothing where the receive buffer may be as large as it needs to be, so that
// the recorder has to keep up with the full rate.
func pause(t *testing.T, lab *ctexp.Lab) func() {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20) == nil {
		t.Log("as the host's root: at full rate")
		return func() {}
	}
	t.Log("with the receive buffer of an ordinary user: drained in between")
	return lab.Observer.Drain
}

// recorded counts the events by kind, and how many flows have had just one NEW and then one DESTROY.
func recorded(t *testing.T, lab *ctexp.Lab) map[string]int {
	t.Helper()
	count := map[string]int{}
	began := map[nf.Tuple]bool{}
	for e, err := range lab.Observer.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		count[e.Kind.String()]++
		switch {
		case e.Kind == observe.EventNew && !began[e.Entry.Orig]:
			began[e.Entry.Orig] = true
		case e.Kind == observe.EventDestroy && began[e.Entry.Orig]:
			delete(began, e.Entry.Orig)
			count["lives"]++
		}
	}
	return count
}

func check(t *testing.T, lab *ctexp.Lab, pause func()) {
	t.Helper()
	start := time.Now()
	if n, err := lab.Env.Table().WatchedBy(netnsenv.Watcher{Drain: pause}).Flush(t.Context(), nf.Filter{}); n != many || err != nil {
		t.Errorf("flush: %d, %v", n, err)
	}
	t.Logf("flushed in %v", time.Since(start).Round(time.Millisecond))
	start = time.Now()
	want := map[string]int{"NEW": many, "DESTROY": many, "lives": many}
	if diff := cmp.Diff(want, recorded(t, lab)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	t.Logf("looked at in %v", time.Since(start).Round(time.Millisecond))
}

// 100,000 flows made by netlink at full rate, and flushed: no event is lost.
func TestEventsOfManyEntries(t *testing.T) {
	lab := open(t)
	pause := pause(t, lab)
	start := time.Now()
	if n, err := lab.Env.Table().WatchedBy(netnsenv.Watcher{Drain: pause}).CreateAll(t.Context(), entries); n != many || err != nil {
		t.Fatalf("create: %d, %v", n, err)
	}
	t.Logf("created in %v", time.Since(start).Round(time.Millisecond))
	check(t, lab, pause)
}

// The same by packets.
func TestEventsOfManyPackets(t *testing.T) {
	lab := open(t)
	pause := pause(t, lab)
	start := time.Now()
	if n, err := inject.New(lab.Env.Links()[0]).Send(t.Context(), every(256, syns, pause)); n != many || err != nil {
		t.Fatalf("inject: %d, %v", n, err)
	}
	t.Logf("injected in %v", time.Since(start).Round(time.Millisecond))
	check(t, lab, pause)
}

// every calls f after every n packets.
func every(n int, packets iter.Seq[packet.Packet], f func()) iter.Seq[packet.Packet] {
	return func(yield func(packet.Packet) bool) {
		i := 0
		for p := range packets {
			if !yield(p) {
				return
			}
			if i++; i%n == 0 {
				f()
			}
		}
	}
}
