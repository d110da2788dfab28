package xdpflood

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/jsimonetti/rtnetlink/v2"

	"github.com/ctexp/go-ctexp/internal/nsthread"
)

// spare is a veth that no packet ever sees, in a namespace of its own, with the program attached. A program that is not
// attached anywhere the kernel makes known to its dispatcher before each run and unknown after it, which takes 25 ms
// (net/bpf/test_run.c, bpf_prog_test_run_xdp; kernel/bpf/dispatcher.c, bpf_dispatcher_change_prog); otherwise a run takes 0.2.
type spare struct {
	thread *nsthread.Thread
	hook   link.Link
}

func openSpare(prog *ebpf.Program) (*spare, error) {
	thread, err := nsthread.New()
	if err != nil {
		return nil, fmt.Errorf("make a spare namespace: %w", err)
	}
	s := &spare{thread: thread}
	if err := thread.Do(func() error { return s.attach(prog) }); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *spare) attach(prog *ebpf.Program) error {
	conn, err := rtnetlink.Dial(nil)
	if err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	defer conn.Close()
	const index = 100
	err = conn.Link.New(&rtnetlink.LinkMessage{
		Index: index, Attributes: &rtnetlink.LinkAttributes{Name: "spare", Info: &rtnetlink.LinkInfo{Kind: "veth"}},
	})
	if err != nil {
		return fmt.Errorf("make a spare veth: %w", err)
	}
	s.hook, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: index, Flags: link.XDPDriverMode})
	if err != nil {
		return fmt.Errorf("attach an XDP program to a spare veth: %w", err)
	}
	return nil
}

func (s *spare) close() error {
	var err error
	if s.hook != nil {
		err = s.hook.Close()
	}
	s.thread.Close()
	return err
}
