package netnsenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// fence determines when the host has processed all packets written to a link.
//
// When a write to a tun returns, the packet has been processed: tun_get_user passes it to netif_receive_skb with bottom
// halves disabled. This does not hold if receive packet steering (RPS) moves the packet to another CPU, or on veth,
// whose backlog may be left to ksoftirqd. There, the counter at the ingress hook only shows that the host has begun to
// process a packet (net/core/dev.c, __netif_receive_skb_core). Once it has begun with all packets, the thread runs on
// every CPU once: a CPU does not run a thread while it executes a softirq, so that all packets have been processed
// then. What the host has sent on veth and on wires is compared likewise (see pipe).
type fence struct {
	count func() (uint64, error) // packets that the ingress hook of the link has seen
	async bool                   // the host may process packets after the write has returned
	seen  atomic.Uint64          // packets written that are known to have arrived
	// takers names what may take packets before the ingress hook; nil: it is not known.
	takers func() (string, error)

	mu   sync.Mutex
	lost uint64 // packets already reported as lost
}

// Missing packets count as lost when the ingress counter has not changed in lostAfter rounds. In each round, which begins
// after a pause, this thread has run on every CPU, so that on a busy machine a round takes as long as it must: the kernel
// schedules ksoftirqd and this thread alike. A round in which a CPU has a backlog and has processed no packet does
// not count. The longest delay observed is 95 ms, on a machine with all CPUs busy; lostAfter rounds take two seconds or more.
const (
	lostAfter = 200
	pause     = 10 * time.Millisecond
)

// Fence waits until the host under test has processed every packet written to the link before. Counters, the table,
// captures and replies are then final, also in the Envs joined to this one. Packets that did not reach the host are
// reported as an error once.
func (l *Link) Fence(ctx context.Context) error {
	if err := l.settle(ctx); err != nil {
		return err
	}
	if err := l.env.settlePipes(ctx); err != nil {
		return fmt.Errorf("link %q: fence: %w", l.cfg.Name, err)
	}
	return nil
}

// settle is Fence for the link's own namespace.
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
		return l.lostBefore(want - got)
	}
	return nil
}

// lostBefore is the error of n packets that did not get to the ingress hook.
func (l *Link) lostBefore(n uint64) error {
	by, err := "", error(nil)
	if l.fence.takers != nil {
		by, err = l.fence.takers()
	}
	return errors.Join(fmt.Errorf("link %q: %d of %d packets were lost before ingress%s", l.cfg.Name, n, l.written.Load(), by), err)
}

// wait reads the counter until it reaches want, or has not changed in lostAfter rounds.
func (f *fence) wait(ctx context.Context, got, want uint64) (uint64, error) {
	const shortest = 50 * time.Microsecond
	next := shortest
	timer := time.NewTimer(next)
	defer timer.Stop()
	var before backlogs
	for rounds := 0; got < want && rounds < lostAfter; timer.Reset(next) {
		select {
		case <-ctx.Done():
			return got, fmt.Errorf("%d of %d packets arrived: %w", got, want, context.Cause(ctx))
		case <-timer.C:
		}
		if next == pause {
			if err := visitCPUs(); err != nil {
				return got, err
			}
			now := readBacklogs()
			if !now.stuckSince(before) {
				rounds++
			}
			before = now
		}
		now, err := f.count()
		if err != nil {
			return got, err
		}
		next = min(2*next, pause)
		if now != got {
			got, rounds, next = now, 0, shortest
		}
	}
	return got, nil
}

// backlogs are the numbers of packets that CPUs have processed, and that wait in their backlogs.
type backlogs []struct{ processed, waiting uint64 }

// stuckSince reports whether a CPU has a backlog of which it has processed nothing since an earlier reading.
func (b backlogs) stuckSince(before backlogs) bool {
	for i := range min(len(b), len(before)) {
		if b[i].waiting > 0 && b[i].processed == before[i].processed {
			return true
		}
	}
	return false
}

// readBacklogs reads the backlogs of the CPUs (net/core/net-procfs.c, softnet_seq_show). It returns nothing if the kernel does
// not report them, as before 5.10.
func readBacklogs() backlogs {
	text, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		return nil
	}
	var all backlogs
	for line := range strings.Lines(string(text)) {
		const processed, waiting = 0, 11
		f := strings.Fields(line)
		if len(f) <= waiting {
			return nil
		}
		done, err := strconv.ParseUint(f[processed], 16, 64)
		left, werr := strconv.ParseUint(f[waiting], 16, 64)
		if err != nil || werr != nil {
			return nil
		}
		all = append(all, struct{ processed, waiting uint64 }{done, left})
	}
	return all
}

// visitCPUs runs the calling thread on each CPU that it is allowed to run on.
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

// steered reports whether RPS may move packets of links created from now on. It is true for the host's root, which may
// enable RPS at any time, and otherwise if the namespace's default enables it.
func (e *Env) steered() bool {
	mask, err := e.readFile("/proc/sys/net/core/rps_default_mask")
	if err != nil {
		return !e.inUserNS // before 6.3 there is no default, and only the host's root may write rps_cpus
	}
	return !e.inUserNS || strings.Trim(mask, "0,\n") != ""
}

// maxHops is the maximum number of rounds of settlePipes, which limits it if others keep sending. A packet and its
// reply each cross at most 255 wires.
const maxHops = 512

// pipe is one direction of a veth pair: of a wire, or that from the host to the outer end of a link. The sending end counts
// a packet once it is in the queue of the other end, which counts it at ingress. What is in the queue may be left to
// ksoftirqd, above all by kernels before 6.5, where softirqs wait for ksoftirqd as soon as it is to run (kernel/softirq.c,
// ksoftirqd_running; removed by d15121be7485 "Revert "softirq: Let ksoftirqd do its job"").
type pipe struct {
	name    string // for errors: `link "tun0"`
	sender  *Env
	index   uint32                 // of the sending interface
	arrived func() (uint64, error) // packets that the ingress hook of the other end has seen
	cut     *atomic.Bool           // the pair is deleted

	mu   sync.Mutex
	lost uint64 // packets already reported as lost
}

// sent returns the number of packets that the sending end has sent; 0 if the pair is deleted.
func (p *pipe) sent() (uint64, error) {
	is, err := p.sender.route.Link.Get(p.index)
	switch {
	case p.cut.Load(), errors.Is(err, unix.ENODEV):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("%s: read the number of packets sent: %w", p.name, err)
	case is.Attributes.Stats64 == nil:
		return 0, nil
	}
	return is.Attributes.Stats64.TXPackets, nil
}

// arrive waits until as many packets have arrived as were sent.
func (p *pipe) arrive(ctx context.Context, sent uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	want := sent - min(sent, p.lost)
	got, err := p.arrived()
	if err == nil && got < want {
		f := fence{count: p.arrived}
		got, err = f.wait(ctx, got, want)
	}
	switch {
	case p.cut.Load():
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", p.name, err)
	case got < want:
		p.lost += want - got
		return fmt.Errorf("%s: %d of %d packets did not arrive", p.name, want-got, want)
	}
	return nil
}

// settlePipes waits until all packets in pipes, and the packets sent because of them, have been processed in this Env
// and all Envs joined to it.
//
// Each round reads the number of packets sent, waits until as many have arrived, and visits every CPU, after which the
// hosts have processed these packets and counted those that they sent meanwhile. If the numbers sent are the same at the
// start and the end of a round, no packet is left.
func (e *Env) settlePipes(ctx context.Context) error {
	for range maxHops {
		pipes := e.pipes()
		if len(pipes) == 0 {
			return nil
		}
		before, err := sentBy(pipes)
		if err != nil {
			return err
		}
		for i, p := range pipes {
			if err := p.arrive(ctx, before[i]); err != nil {
				return err
			}
		}
		if err := visitCPUs(); err != nil {
			return err
		}
		after, err := sentBy(pipes)
		if err != nil {
			return err
		}
		if slices.Equal(before, after) {
			return nil
		}
	}
	return nil // the packets that were under way at the start have been processed
}

// pipes returns the pipes of the Env and of those that are joined to it.
func (e *Env) pipes() []*pipe {
	var pipes []*pipe
	for _, at := range e.joined() {
		for _, l := range at.links {
			if l.answers != nil {
				pipes = append(pipes, l.answers)
			}
		}
		at.mu.Lock()
		for _, w := range at.wires {
			for i, end := range w.ends {
				if end.env == at {
					pipes = append(pipes, w.pipes[i])
				}
			}
		}
		at.mu.Unlock()
	}
	return pipes
}

// joined returns the Env and those that are reachable from it by wires.
func (e *Env) joined() []*Env {
	all := []*Env{e}
	for i := 0; i < len(all); i++ {
		all[i].mu.Lock()
		for _, w := range all[i].wires {
			for _, end := range w.ends {
				if !slices.Contains(all, end.env) {
					all = append(all, end.env)
				}
			}
		}
		all[i].mu.Unlock()
	}
	return all
}

// sentBy returns the number of packets that each pipe's end has sent.
func sentBy(pipes []*pipe) ([]uint64, error) {
	sent := make([]uint64, len(pipes))
	for i, p := range pipes {
		var err error
		if sent[i], err = p.sent(); err != nil {
			return nil, err
		}
	}
	return sent, nil
}
