package xdpflood

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/flood"
	"github.com/ctexp/go-ctexp/internal/nsthread"
)

// flooding is a running Flood.
type flooding struct {
	inject.Flood
	link  Link
	frame packet.Frame
	state *ebpf.Map
	prog  *ebpf.Program
	idle  *idle

	plan       *flood.Plan
	sent       int
	progressed time.Time // when Progress was last called
}

const (
	maxBatch = 1024             // packets per call of a flood with a duration, so that it ends in time
	minPause = time.Millisecond // between calls of a flood with a rate: bursts cost less than single packets
)

func send(ctx context.Context, link Link, f inject.Flood) (done inject.Flooded, err error) {
	r, err := check(link, f)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return done, err
	}
	l := &flooding{Flood: f, link: link, frame: r.Template.Frame(link.PeerHardwareAddr(), link.HardwareAddr())}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.open(r); err != nil {
		return done, unsupported(err)
	}
	before, err := link.Arrived()
	if err != nil {
		return done, err
	}
	l.plan = flood.NewPlan(f.N, f.Duration, f.Rate, minPause)
	sendErr := l.run(ctx)
	done.Sent = l.sent
	if sendErr != nil {
		if done.Sent == 0 {
			sendErr = unsupported(sendErr)
		}
		sendErr = fmt.Errorf("after %d packets: %w", done.Sent, sendErr)
	}
	fenceErr := flood.Fence(ctx, link)
	done.Took = time.Since(l.plan.Start())
	now, err := link.Arrived()
	if err == nil {
		done.Arrived = int(now - before)
	}
	l.progress()
	return done, errors.Join(sendErr, fenceErr, err)
}

// unsupported converts the error of a kernel that does not support live frames, or only for the host's root, to an
// nf.UnsupportedError.
func unsupported(err error) error {
	hint := ""
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		hint = "run it as root of the host, with netnsenv.EnterWith(netnsenv.Entry{RealRoot: true})"
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, unix.EINVAL), errors.Is(err, unix.E2BIG), errors.Is(err, unix.EOPNOTSUPP):
		hint = "Linux 5.18 or later, with BPF, has live frames"
	default:
		return err
	}
	return &nf.UnsupportedError{Need: "BPF", Hint: hint, Err: err}
}

func (l *flooding) open(r inject.Recipe) (err error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("lift the limit of locked memory: %w", err)
	}
	l.state, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: stateSize, MaxEntries: 1})
	if err != nil {
		return fmt.Errorf("make a BPF map: %w", err)
	}
	if l.prog, err = ebpf.NewProgram(program(r, l.frame, l.state)); err != nil {
		return fmt.Errorf("load an XDP program: %w", err)
	}
	l.idle, err = openIdle(l.prog)
	return err
}

func (l *flooding) close() error {
	var errs []error
	if l.idle != nil {
		errs = append(errs, l.idle.close())
	}
	if l.prog != nil {
		errs = append(errs, l.prog.Close())
	}
	if l.state != nil {
		errs = append(errs, l.state.Close())
	}
	return errors.Join(errs...)
}

// run sends packets according to the plan until its end or the end of ctx.
func (l *flooding) run(ctx context.Context) error {
	l.progressed = l.plan.Start()
	for ctx.Err() == nil {
		var n int
		var wait time.Duration
		_, err := l.link.WriteBy(func(ifindex, most int) (int, error) {
			if l.Duration > 0 {
				most = min(most, maxBatch)
			}
			var first uint64
			if first, n, wait = l.plan.Claim(most); n == 0 {
				return 0, nil
			}
			return l.frames(ifindex, first, n)
		})
		switch {
		case err != nil:
			return err
		case n == 0 && wait == 0:
			return nil
		case n == 0:
			flood.Pause(ctx, wait)
		}
		if time.Since(l.progressed) >= l.every() {
			l.progress()
			l.progressed = time.Now()
		}
	}
	return context.Cause(ctx)
}

// xdpMD is struct xdp_md.
type xdpMD struct {
	_, DataEnd, _, IngressIfindex, _, _ uint32 // end of the data, and the interface with its queue
}

// frames has the kernel make n frames, beginning with the given number, and returns how many it has made. After a
// signal the library repeats a run, so the number comes from the program's own count.
func (l *flooding) frames(ifindex int, first uint64, n int) (int, error) {
	if err := l.state.Put(uint32(0), [2]uint64{first, first + uint64(n)}); err != nil {
		return 0, fmt.Errorf("write a BPF map: %w", err)
	}
	_, runErr := l.prog.Run(&ebpf.RunOptions{
		Data: l.frame, Repeat: uint32(n), Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES,
		Context: xdpMD{DataEnd: uint32(len(l.frame)), IngressIfindex: uint32(ifindex)},
	})
	var state [2]uint64
	if err := l.state.Lookup(uint32(0), &state); err != nil {
		return 0, errors.Join(runErr, fmt.Errorf("read a BPF map: %w", err))
	}
	made := int(state[0] - first)
	l.sent += made
	l.plan.Unclaim(n - made)
	if runErr != nil {
		return made, fmt.Errorf("have the kernel make frames: %w", runErr)
	}
	return made, nil
}

func (l *flooding) every() time.Duration {
	if l.Every == 0 {
		return time.Second
	}
	return l.Every
}

func (l *flooding) progress() {
	if l.Progress != nil {
		l.Progress(inject.FloodProgress{Sent: l.sent, Of: l.N, Took: time.Since(l.plan.Start())})
	}
}

// idle is a veth in a namespace of its own, with the program attached, on which no packet is ever sent. If a program
// is not attached anywhere, the kernel adds it to its dispatcher before each run and removes it afterwards, which takes
// 25 ms (net/bpf/test_run.c, bpf_prog_test_run_xdp; kernel/bpf/dispatcher.c, bpf_dispatcher_change_prog). With idle a
// run takes 0.2 ms.
type idle struct {
	thread *nsthread.Thread
	hook   link.Link
}

func openIdle(prog *ebpf.Program) (*idle, error) {
	thread, err := nsthread.New()
	if err != nil {
		return nil, fmt.Errorf("make an idle namespace: %w", err)
	}
	s := &idle{thread: thread}
	if err := thread.Do(func() error { return s.attach(prog) }); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *idle) attach(prog *ebpf.Program) error {
	conn, err := rtnetlink.Dial(nil)
	if err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	defer conn.Close()
	const index = 100
	err = conn.Link.New(&rtnetlink.LinkMessage{
		Index: index, Attributes: &rtnetlink.LinkAttributes{Name: "idle", Info: &rtnetlink.LinkInfo{Kind: "veth"}},
	})
	if err != nil {
		return fmt.Errorf("make an idle veth: %w", err)
	}
	s.hook, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: index, Flags: link.XDPDriverMode})
	if err != nil {
		return fmt.Errorf("attach an XDP program to an idle veth: %w", err)
	}
	return nil
}

func (s *idle) close() error {
	var err error
	if s.hook != nil {
		err = s.hook.Close()
	}
	s.thread.Close()
	return err
}
