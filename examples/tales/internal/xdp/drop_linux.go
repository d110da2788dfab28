package xdp

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Dropper drops every packet that comes in by an interface, and counts them. Close it.
type Dropper struct {
	count *ebpf.Map
	prog  *ebpf.Program
	link  link.Link
}

// Drop begins to drop what comes in by the interface with this index. It must be called on a thread in the network namespace
// of the interface. It needs the host's root: without it the error answers to errors.ErrUnsupported.
func Drop(ifindex int) (*Dropper, error) {
	d := &Dropper{}
	if err := d.attach(ifindex); err != nil {
		err = errors.Join(err, d.Close())
		if errors.Is(err, unix.EPERM) || errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, unix.EOPNOTSUPP) {
			return nil, &nf.UnsupportedError{Need: "XDP", Hint: "run it as root of the host, on a kernel with BPF", Err: err}
		}
		return nil, err
	}
	return d, nil
}

func (d *Dropper) attach(ifindex int) (err error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("lift the limit of locked memory: %w", err)
	}
	d.count, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return fmt.Errorf("make a BPF map: %w", err)
	}
	const xdpDrop = 1
	d.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "Apache-2.0",
		Instructions: asm.Instructions{
			asm.LoadMapValue(asm.R1, d.count.FD(), 0),
			asm.Mov.Imm(asm.R2, 1),
			asm.StoreXAdd(asm.R1, asm.R2, asm.DWord),
			asm.Mov.Imm(asm.R0, xdpDrop),
			asm.Return(),
		},
	})
	if err != nil {
		return fmt.Errorf("load an XDP program: %w", err)
	}
	// Generic: tun links have no driver of their own for it.
	d.link, err = link.AttachXDP(link.XDPOptions{Program: d.prog, Interface: ifindex, Flags: link.XDPGenericMode})
	if err != nil {
		return fmt.Errorf("attach an XDP program: %w", err)
	}
	return nil
}

// Dropped returns how many packets were dropped.
func (d *Dropper) Dropped() (int, error) {
	var n uint64
	if err := d.count.Lookup(uint32(0), &n); err != nil {
		return 0, fmt.Errorf("read a BPF map: %w", err)
	}
	return int(n), nil
}

// Close lets packets in again.
func (d *Dropper) Close() error {
	var errs []error
	if d.link != nil {
		errs = append(errs, d.link.Close())
	}
	if d.prog != nil {
		errs = append(errs, d.prog.Close())
	}
	if d.count != nil {
		errs = append(errs, d.count.Close())
	}
	return errors.Join(errs...)
}
