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

// mostHops bounds how often the fence follows packets over wires while others keep on sending. A packet crosses no more
// than 255, nor does the answer to it.
const mostHops = 512

// settleWires returns when what is under way on the wires, and what it brings about, has come to its end in all the Envs
// that are joined to this one.
//
// A packet on a wire is counted by the end that sends it, once it is in the other's queue, and there at ingress, when its
// host begins with it. In one round, the fence reads what was sent, waits until as much has arrived, and visits every CPU, so
// that all hosts are done with all of it; what they sent meanwhile is counted, too, by then. When a round begins and ends
// with the same counts there is no packet left.
func (e *Env) settleWires(ctx context.Context) error {
	for range mostHops {
		wires := e.joined()
		if len(wires) == 0 {
			return nil
		}
		before, err := sentOn(wires)
		if err != nil {
			return err
		}
		for _, w := range wires {
			if err := w.arrive(ctx, before[w]); err != nil {
				return err
			}
		}
		if err := visitCPUs(); err != nil {
			return err
		}
		after, err := sentOn(wires)
		if err != nil {
			return err
		}
		still := true
		for _, w := range wires {
			still = still && before[w] == after[w]
		}
		if still {
			return nil
		}
	}
	return nil // what was there at the beginning is long done
}

// joined returns the wires that can be reached from the Env.
func (e *Env) joined() []*wire {
	var wires []*wire
	seen := map[*wire]bool{}
	visited := map[*Env]bool{}
	for todo := []*Env{e}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if visited[at] {
			continue
		}
		visited[at] = true
		at.mu.Lock()
		for _, w := range at.wires {
			if !seen[w] {
				seen[w] = true
				wires = append(wires, w)
				todo = append(todo, w.ends[0].env, w.ends[1].env)
			}
		}
		at.mu.Unlock()
	}
	return wires
}

// sentOn returns what each wire's ends have sent. A wire that is cut has sent nothing.
func sentOn(wires []*wire) (map[*wire][2]uint64, error) {
	sent := map[*wire][2]uint64{}
	for _, w := range wires {
		var n [2]uint64
		for i, end := range w.ends {
			is, err := end.env.route.Link.Get(end.index)
			if w.cut.Load() {
				n = [2]uint64{}
				break
			}
			if err != nil {
				return nil, fmt.Errorf("link %q: read what it has sent: %w", end.cfg.Name, err)
			}
			if is.Attributes.Stats64 != nil {
				n[i] = is.Attributes.Stats64.TXPackets
			}
		}
		sent[w] = n
	}
	return sent, nil
}

// arrive waits until as much has arrived at each end as the other had sent.
func (w *wire) arrive(ctx context.Context, sent [2]uint64) error {
	w.arriving.Lock()
	defer w.arriving.Unlock()
	for i := range w.ends {
		from, to := &w.ends[i], &w.ends[1-i]
		want := sent[i] - min(sent[i], w.lost[i])
		got, err := to.ingress()
		if err == nil && got < want {
			f := fence{count: to.ingress}
			got, err = f.wait(ctx, got, want)
		}
		if w.cut.Load() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wire from %q to %q: %w", from.cfg.Name, to.cfg.Name, err)
		}
		if got < want {
			w.lost[i] += want - got
			return fmt.Errorf("wire from %q to %q: %d of %d packets did not arrive in %v", from.cfg.Name, to.cfg.Name, want-got, want, patience.Truncate(time.Second))
		}
	}
	return nil
}
