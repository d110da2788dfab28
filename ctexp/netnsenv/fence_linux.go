package netnsenv

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// fence knows when the host is done with what was written to a link.
//
// A write to a tun is over when it returns: tun_get_user hands the packet to netif_receive_skb with bottom halves
// off. Where receive packet steering (RPS) moves it to another CPU, and on veth, whose backlog may be left to
// ksoftirqd, it is not. Then the count of the ingress hook says only that the host has begun with a packet
// (net/core/dev.c, __netif_receive_skb_core): once it has begun with all of them, a visit to every CPU makes sure that
// it has ended, because no CPU runs us while it is in the middle of a softirq.
type fence struct {
	count func() (uint64, error) // packets that the ingress hook of the link has seen
	async bool                   // the host may finish after the write has returned
	seen  atomic.Uint64          // of the packets written, how many are known to have arrived

	mu   sync.Mutex
	lost uint64 // packets already reported as lost
}

// patience is how long the ingress count may stand still before what is missing counts as lost. The longest delay
// that was ever seen is 95 ms, on a machine with every CPU busy.
const patience = 2 * time.Second

// Fence returns when the host under test is done with every packet that was written to the link before: counters, table,
// capture and answers are final then, also in the Envs that are joined to this one. Packets that never reached the host are
// an error, once.
func (l *Link) Fence(ctx context.Context) error {
	if err := l.settle(ctx); err != nil {
		return err
	}
	if err := l.env.settleWires(ctx); err != nil {
		return fmt.Errorf("link %q: fence: %w", l.cfg.Name, err)
	}
	return nil
}

// settle is Fence for what happens in the link's own namespace.
func (l *Link) settle(ctx context.Context) error {
	f := l.fence
	f.mu.Lock()
	defer f.mu.Unlock()
	want := l.written.Load() - f.lost
	got, err := f.count()
	if err != nil {
		return fmt.Errorf("link %q: fence: %w", l.cfg.Name, err)
	}
	if got >= want && !f.async {
		return nil
	}
	if got < want {
		if got, err = f.wait(ctx, got, want); err != nil {
			return fmt.Errorf("link %q: fence: %w", l.cfg.Name, err)
		}
	}
	if err := visitCPUs(); err != nil {
		return fmt.Errorf("link %q: fence: %w", l.cfg.Name, err)
	}
	if got < want {
		f.lost += want - got
		return fmt.Errorf("link %q: %d of %d packets were lost before ingress", l.cfg.Name, want-got, l.written.Load())
	}
	return nil
}

// wait reads the count until it is want or stands still for too long.
func (f *fence) wait(ctx context.Context, got, want uint64) (uint64, error) {
	tick := time.NewTicker(50 * time.Microsecond)
	defer tick.Stop()
	moved := time.Now()
	for got < want && time.Since(moved) < patience {
		select {
		case <-ctx.Done():
			return got, fmt.Errorf("%d of %d packets arrived: %w", got, want, context.Cause(ctx))
		case <-tick.C:
		}
		now, err := f.count()
		if err != nil {
			return got, err
		}
		if now != got {
			got, moved = now, time.Now()
		}
	}
	return got, nil
}

// visitCPUs runs the calling thread once on every CPU that it may run on.
func visitCPUs() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	defer unix.SchedSetaffinity(0, &allowed)
	left := allowed.Count()
	for cpu := 0; left > 0; cpu++ {
		if !allowed.IsSet(cpu) {
			continue
		}
		left--
		one.Zero()
		one.Set(cpu)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			return os.NewSyscallError("sched_setaffinity", err)
		}
	}
	return nil
}

// steered reports whether RPS may move packets of links made from now on: always for the host's root, who may
// switch it on behind our back, else if the namespace's default says so.
func (e *Env) steered() bool {
	mask, err := e.readFile("/proc/sys/net/core/rps_default_mask")
	if err != nil {
		return !e.inUserNS // before 6.3 there is no default, and rps_cpus is writable for the host's root alone
	}
	return !e.inUserNS || strings.Trim(mask, "0,\n") != ""
}
