package xdpflood_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/inject/xdpflood"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// A kernel takes each packet of a flood that it makes itself, with an entry for each flow, and is done with all of them when
// Send returns.
func TestAKernelTakesEachPacketThatItMakes(t *testing.T) {
	t.Parallel()
	for _, f := range []packet.Flow{web, web6} {
		t.Run(fmt.Sprint(f.Src.Addr()), func(t *testing.T) {
			t.Parallel()
			probes := []nf.Probe{{Name: "raw", Hook: nf.Prerouting, Priority: nf.PriorityRaw - 1}}
			env := open(t, netnsenv.Config{Silent: true, Probes: probes})
			o, err := observe.Open(t.Context(), env, observe.Config{Probes: probes, NoFrames: true, NoEvents: true})
			needs.Check(t, err)
			defer o.Close()
			const n = 10_001
			done := send(t, env, inject.Flood{
				Template: f.UDP([]byte("hello")), N: n, Vary: []inject.Vary{ports(500), {Field: inject.VarySrc, Count: 4}},
			})
			tally, err := o.Tally(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			type counts struct {
				Sent, Arrived int
				Raw           uint64
				Entries       int
			}
			want := counts{n, n, n, 2000}
			if diff := cmp.Diff(want, counts{done.Sent, done.Arrived, tally.Packets["raw"], tally.Entries}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What the kernel made and what is written by a socket at the same time is all there when either returns.
func TestOthersMaySendMeanwhile(t *testing.T) {
	t.Parallel()
	env := open(t, netnsenv.Config{Silent: true})
	link := env.Links()[0]
	const n = 5000
	var floods sync.WaitGroup
	for i := range 2 {
		floods.Go(func() {
			f := web.Nth(20_000 + i*n)
			done, err := xdpflood.Send(t.Context(), link, inject.Flood{Template: packet.SYN(f), N: n, Vary: []inject.Vary{ports(n)}})
			if err != nil && !errors.Is(err, errors.ErrUnsupported) || err == nil && done.Sent != n {
				t.Errorf("%v, %v", done, err)
			}
		})
	}
	if _, err := inject.New(link).Send(t.Context(), packet.SYNs(n, web)); err != nil {
		t.Error(err)
	}
	if got, err := env.Table().Count(); got < n || err != nil {
		t.Errorf("%d entries, %v; %d were sent one by one", got, err, n)
	}
	floods.Wait()
	send(t, env, inject.Flood{Template: packet.SYN(web), N: 1})
	if got, err := env.Table().Count(); got != 3*n || err != nil {
		t.Errorf("%d entries, %v; want %d", got, err, 3*n)
	}
}

func TestAFloodEndsWithItsContext(t *testing.T) {
	t.Parallel()
	env := open(t, netnsenv.Config{Silent: true})
	send(t, env, inject.Flood{Template: packet.SYN(web), N: 1})
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	f := inject.Flood{
		Template: packet.SYN(web), N: 50_000_000, Every: 1,
		Progress: func(inject.FloodProgress) { cancel(enough) },
	}
	done, err := xdpflood.Send(ctx, env.Links()[0], f)
	if done.Sent == 0 || done.Sent == f.N || done.Arrived != done.Sent || !errors.Is(err, enough) {
		t.Errorf("%v, %v", done, err)
	}
	if done, err := xdpflood.Send(ctx, env.Links()[0], f); done != (inject.Flooded{}) || !errors.Is(err, context.Canceled) {
		t.Errorf("again: %v, %v", done, err)
	}
}

// Time and rate end and bound it.
func TestAFloodKeepsItsRate(t *testing.T) {
	t.Parallel()
	env := open(t, netnsenv.Config{Silent: true})
	var last inject.FloodProgress
	f := inject.Flood{
		Template: packet.SYN(web), Duration: 50 * time.Millisecond, Rate: 10_000,
		Progress: func(p inject.FloodProgress) { last = p },
	}
	done := send(t, env, f)
	if done.Sent < 1 || done.Sent > 500 || done.Arrived != done.Sent || done.Took < f.Duration || last.Sent != done.Sent {
		t.Errorf("%v; %v", done, last)
	}
	f.Rate = 0
	if done := send(t, env, f); done.Sent <= 1 || done.Arrived != done.Sent || done.Took < f.Duration {
		t.Errorf("without a rate: %v", done)
	}
}

func TestAFloodThatAProgramCannotSendSendsNothing(t *testing.T) {
	t.Parallel()
	env := open(t, netnsenv.Config{Silent: true, Links: []netnsenv.LinkConfig{
		{Kind: netnsenv.Veth, MTU: 9000}, {Kind: netnsenv.Auto},
	}})
	syn := packet.SYN(web)
	for want, f := range map[string]inject.Flood{
		"the count N is -1":                        {Template: syn, N: -1},
		"neither N nor Duration":                   {Template: syn},
		"vary[0] (source port): 55537 values":      {Template: syn, N: 1, Vary: []inject.Vary{ports(55537)}},
		"2 queues: live frames go by one":          {Template: syn, N: 1, Queues: 2},
		"9001 bytes into an MTU of 9000":           {Template: web.UDP(make([]byte, 8973)), N: 1},
		"2987 bytes: a live frame has room for 29": {Template: web.UDP(make([]byte, 2959)), N: 1},
		"the checksum of SCTP": {
			Template: web.SCTP(0, packet.SCTPInit(1, 100)), N: 1, Vary: []inject.Vary{ports(2)},
		},
		"vary[0] (source address): 4294967297 values at random": {
			Template: packet.SYN(web6), N: 1, Vary: []inject.Vary{{Field: inject.VarySrc, Count: 1<<32 + 1, Random: true}},
		},
	} {
		link := env.Links()[0]
		done, err := xdpflood.Send(t.Context(), link, f)
		if done != (inject.Flooded{}) || err == nil || !strings.HasPrefix(err.Error(), "flood "+link.Name()+" by XDP: "+want) {
			t.Errorf("%v, %v; want %q", done, err, want)
		}
		if strings.Contains(want, "bytes") && !errors.Is(err, syscall.EMSGSIZE) {
			t.Errorf("%v is no EMSGSIZE", err)
		}
		if n, err := link.Arrived(); n != 0 || err != nil {
			t.Errorf("%s: %d arrived, %v", want, n, err)
		}
	}
	if tun := env.Links()[1]; tun.Kind() == netnsenv.Tun {
		done, err := xdpflood.Send(t.Context(), tun, inject.Flood{Template: syn, N: 1})
		if done != (inject.Flooded{}) || err == nil || errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "netnsenv.Veth") {
			t.Errorf("by a tun: %v, %v", done, err)
		}
	}
}

// A signal ends a run of the kernel, which is begun anew: no packet is sent twice for it.
func TestSignalsDoNotChangeTheCount(t *testing.T) {
	t.Parallel()
	env := open(t, netnsenv.Config{Silent: true})
	var thread int
	if err := env.Do(func() error { thread = unix.Gettid(); return nil }); err != nil {
		t.Fatal(err)
	}
	var signals sync.WaitGroup
	over := make(chan struct{})
	signals.Go(func() {
		tick := time.NewTicker(500 * time.Microsecond)
		defer tick.Stop()
		for range 200 { // without an end a machine on which a run takes longer than a tick would hardly get on
			select {
			case <-over:
				return
			case <-tick.C:
				_ = unix.Tgkill(unix.Getpid(), thread, unix.SIGURG) // the Go runtime takes no notice
			}
		}
	})
	defer signals.Wait()
	defer close(over)
	done := send(t, env, inject.Flood{Template: packet.SYN(web), N: 30_000, Vary: []inject.Vary{ports(30_000)}})
	if n, err := env.Table().Count(); done.Sent != 30_000 || done.Arrived != 30_000 || n != 30_000 || err != nil {
		t.Errorf("%v, %d entries, %v", done, n, err)
	}
}

// Where the host takes packets later, on another CPU whose backlog has room for a thousand, none is lost.
func TestNoPacketIsLostToSteering(t *testing.T) {
	t.Parallel()
	cfg := netnsenv.Config{
		Silent: true, NoPath: true, NoReasons: true, Links: []netnsenv.LinkConfig{{Kind: netnsenv.Veth}},
		Sysctls: map[string]string{"net.core.rps_default_mask": "1"},
	}
	env, err := netnsenv.Open(t.Context(), cfg)
	if errors.Is(err, fs.ErrNotExist) {
		err = &nf.UnsupportedError{Need: "net.core.rps_default_mask", Hint: "Linux 6.3 or later", Err: err}
	}
	needs.Check(t, err)
	defer env.Close()
	done := send(t, env, inject.Flood{Template: packet.SYN(web), N: 20_000, Vary: []inject.Vary{ports(20_000)}})
	if done.Sent != 20_000 || done.Arrived != 20_000 {
		t.Error(done)
	}
}

// BenchmarkAgainstASocket sends the same packets in turn by a socket and by XDP and tells how much faster the latter is, once
// it has begun, where each makes a flow and where all are dropped at once.
func BenchmarkAgainstASocket(b *testing.B) {
	const n = 50_000
	for name, rules := range map[string][]netnsenv.Ruleset{
		"flows":   nil,
		"dropped": {netnsenv.NFT("table ip user { chain raw { type filter hook prerouting priority -300; drop; }; }")},
	} {
		b.Run(name, func(b *testing.B) {
			env := open(b, netnsenv.Config{Silent: true, Rules: rules})
			f := inject.Flood{Template: web.UDP(nil), N: n, Vary: []inject.Vary{ports(n)}}
			var socket, xdp, begun time.Duration
			for b.Loop() {
				done, err := f.Send(b.Context(), env.Links()[0])
				if err != nil {
					b.Fatal(err)
				}
				socket += done.Took
				if _, err := env.Table().Flush(b.Context(), nf.Filter{}); err != nil {
					b.Fatal(err)
				}
				start := time.Now()
				done = send(b, env, f)
				begun += time.Since(start) - done.Took
				xdp += done.Took
				if _, err := env.Table().Flush(b.Context(), nf.Filter{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(socket)/float64(xdp), "x")
			b.ReportMetric(float64(xdp.Nanoseconds())/float64(b.N*n), "ns/packet")
			b.ReportMetric(float64(begun.Milliseconds())/float64(b.N), "ms/begin")
		})
	}
}
