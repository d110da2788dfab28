package dropreason

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Only programs under the GPL may call bpf_probe_read_kernel. These instructions, and nothing else in this module, are
// therefore licensed under the GPL or the BSD license.
const license = "Dual BSD/GPL"

// The program's stack: offsets from the frame pointer.
const (
	word     = -8 // destination of read
	location = -16
	reason   = -24
	device   = -32 // struct net_device *, or zero
)

// The registers that the program keeps.
const (
	skb     = asm.R6
	ptr     = asm.R7 // what is followed to the namespace
	dropped = asm.R7 // the record
)

// code is a program under construction.
type code asm.Instructions

func (c *code) add(parts ...asm.Instructions) {
	for _, p := range parts {
		*c = append(*c, p...)
	}
}

// program returns the program for the tracepoint. For each IP or ARP packet of the network namespace with this inode
// number, it writes a record to the ring. If the ring is full, it increments the only element of the array lost.
func program(l layout, inode uint32, ring, lost *ebpf.Map) *ebpf.ProgramSpec {
	var c code
	c.ofProtocols(l)
	c.ofNamespace(l, inode)
	c.reserve(l, ring)
	c.copyPacket(l)
	c.submit(lost)
	return &ebpf.ProgramSpec{Name: "ctexp_drops", Type: ebpf.RawTracepoint, License: license, Instructions: asm.Instructions(c)}
}

// ofProtocols keeps the arguments, and goes on for IP and ARP.
func (c *code) ofProtocols(l layout) {
	c.add(asm.Instructions{
		asm.LoadMem(skb, asm.R1, 0, asm.DWord), // struct bpf_raw_tracepoint_args: skb, location, reason
		asm.LoadMem(asm.R2, asm.R1, 8, asm.DWord),
		asm.StoreMem(asm.RFP, location, asm.R2, asm.DWord),
		asm.LoadMem(asm.R2, asm.R1, 16, asm.DWord),
		asm.StoreMem(asm.RFP, reason, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R2, 0),
		asm.StoreMem(asm.RFP, device, asm.R2, asm.DWord),
	}, read(asm.R1, skb, l.protocol, asm.Half))
	for _, p := range []uint16{0x0800, 0x86dd, 0x0806} { // ETH_P_IP, ETH_P_IPV6, ETH_P_ARP
		c.add(asm.Instructions{asm.JEq.Imm(asm.R1, int32(bigEndian(p)), "packet")})
	}
	c.add(asm.Instructions{asm.Ja.Label("exit")})
}

// ofNamespace goes on for packets of the namespace, which is that of a packet's device, or else of its socket, or else of its
// route. If the device field holds something else (dev_scratch, in packets queued at a socket), that has no namespace.
func (c *code) ofNamespace(l layout, inode uint32) {
	c.add(label("packet", read(ptr, skb, l.dev, asm.DWord)))
	c.add(asm.Instructions{asm.JEq.Imm(ptr, 0, "socket")}, inodeOf(l, ptr, l.devNet))
	c.add(asm.Instructions{
		asm.JEq.Imm(asm.R1, 0, "socket"),
		asm.StoreMem(asm.RFP, device, ptr, asm.DWord),
		asm.Ja.Label("compare"),
	})
	c.add(label("socket", read(ptr, skb, l.sk, asm.DWord)))
	c.add(asm.Instructions{asm.JEq.Imm(ptr, 0, "route")}, inodeOf(l, ptr, l.sockNet))
	c.add(asm.Instructions{asm.JNE.Imm(asm.R1, 0, "compare")})
	c.add(label("route", read(ptr, skb, l.dst, asm.DWord)))
	c.add(asm.Instructions{
		asm.And.Imm(ptr, -2), // SKB_DST_NOREF
		asm.JEq.Imm(ptr, 0, "exit"),
	})
	c.add(read(ptr, ptr, l.dstDev, asm.DWord), inodeOf(l, ptr, l.devNet))
	c.add(label("compare", asm.Instructions{
		asm.LoadImm(asm.R2, int64(inode), asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R2, "exit"),
	}))
}

// reserve begins the record: when, where and why. Its device has its name, or zeros: a failed bpf_probe_read_kernel zeroes its
// destination.
func (c *code) reserve(l layout, ring *ebpf.Map) {
	c.add(asm.Instructions{
		asm.LoadMapPtr(asm.R1, ring.FD()),
		asm.Mov.Imm(asm.R2, eventSize),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnRingbufReserve.Call(),
		asm.JEq.Imm(asm.R0, 0, "full"),
		asm.Mov.Reg(dropped, asm.R0),
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(dropped, atTime, asm.R0, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, location, asm.DWord),
		asm.StoreMem(dropped, atLocation, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, reason, asm.DWord),
		asm.StoreMem(dropped, atReason, asm.R1, asm.Word),
	})
	c.add(read(asm.R1, skb, l.length, asm.Word))
	c.add(asm.Instructions{asm.StoreMem(dropped, atLength, asm.R1, asm.Word)})
	c.add(asm.Instructions{
		asm.Mov.Reg(asm.R1, dropped),
		asm.Add.Imm(asm.R1, atLink),
		asm.Mov.Imm(asm.R2, linkSize),
		asm.LoadMem(asm.R3, asm.RFP, device, asm.DWord),
		asm.JEq.Imm(asm.R3, 0, "name"),
		asm.Add.Imm(asm.R3, int32(l.devName)),
		asm.FnProbeReadKernel.Call().WithSymbol("name"),
	})
}

// copyPacket adds the packet's bytes from the network header on. Its offset and the tail's are relative to the head.
func (c *code) copyPacket(l layout) {
	const offset, size = asm.R8, asm.R9
	c.add(read(offset, skb, l.network, asm.Half), read(size, skb, l.tail, asm.Word))
	c.add(asm.Instructions{
		asm.JGE.Reg(size, offset, "some"),
		asm.Mov.Reg(size, offset),
		asm.Sub.Reg(size, offset).WithSymbol("some"),
		asm.JLE.Imm(size, packetSize, "fits"),
		asm.Mov.Imm(size, packetSize),
		asm.StoreMem(dropped, atCaptured, size, asm.Word).WithSymbol("fits"),
	})
	c.add(read(asm.R3, skb, l.head, asm.DWord))
	c.add(asm.Instructions{
		asm.Add.Reg(asm.R3, offset),
		asm.Mov.Reg(asm.R1, dropped),
		asm.Add.Imm(asm.R1, atPacket),
		asm.Mov.Reg(asm.R2, size),
		asm.FnProbeReadKernel.Call(),
		asm.JEq.Imm(asm.R0, 0, "submit"),
		asm.StoreImm(dropped, atCaptured, 0, asm.Word),
	})
}

// submit hands the record over, or counts the one for which there is no room.
func (c *code) submit(lost *ebpf.Map) {
	c.add(asm.Instructions{
		asm.Mov.Reg(asm.R1, dropped).WithSymbol("submit"),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRingbufSubmit.Call(),
		asm.Ja.Label("exit"),

		asm.LoadMapValue(asm.R1, lost.FD(), 0).WithSymbol("full"),
		asm.Mov.Imm(asm.R2, 1),
		asm.StoreXAdd(asm.R1, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("exit"),
		asm.Return(),
	})
}

// read reads a number from kernel memory into a register; zero if it cannot be read. It clobbers R1 to R5.
func read(to, from asm.Register, offset int16, size asm.Size) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R3, from),
		asm.Add.Imm(asm.R3, int32(offset)),
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, word),
		asm.Mov.Imm(asm.R2, int32(size.Sizeof())),
		asm.FnProbeReadKernel.Call(),
		asm.LoadMem(to, asm.RFP, word, size),
	}
}

// inodeOf reads the inode number of the network namespace of the structure at ptr into R1; zero if it has none. It
// clobbers R8.
func inodeOf(l layout, ptr asm.Register, offset int16) asm.Instructions {
	return append(read(asm.R8, ptr, offset, asm.DWord), read(asm.R1, asm.R8, l.netInode, asm.Word)...)
}

// label sets the label of the first instruction.
func label(name string, of asm.Instructions) asm.Instructions {
	if len(of) == 0 {
		panic(fmt.Sprintf("dropreason: nothing at %s", name))
	}
	of[0] = of[0].WithSymbol(name)
	return of
}

// bigEndian returns the value that the host reads from a number in network byte order.
func bigEndian(n uint16) uint16 { return order.Uint16([]byte{byte(n >> 8), byte(n)}) }

// layout has the offsets in bytes of the fields that the program reads, for the running kernel.
type layout struct {
	dev, sk, dst, length, protocol, network, tail, head int16 // of struct sk_buff
	devNet, devName                                     int16 // of struct net_device
	sockNet                                             int16 // of struct sock
	dstDev                                              int16 // of struct dst_entry
	netInode                                            int16 // of struct net
}

// readLayout reads the layout and the names of the reasons from the kernel's BTF. If something is missing there, the
// error is an nf.UnsupportedError.
func readLayout() (layout, names, error) {
	spec, err := btf.LoadKernelSpec()
	switch {
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, fs.ErrNotExist): // there is no /sys/kernel/btf/vmlinux
		return layout{}, nil, &nf.UnsupportedError{Need: "BPF", Hint: "a kernel with CONFIG_DEBUG_INFO_BTF", Err: err}
	case err != nil:
		return layout{}, nil, fmt.Errorf("read the kernel's types: %w", err)
	}
	reasons, err := reasonNames(spec)
	if err != nil {
		return layout{}, nil, &nf.UnsupportedError{Need: "BPF", Hint: "Linux 5.17 or later, which has reasons for dropped packets", Err: err}
	}
	var l layout
	for _, f := range []struct {
		to   *int16
		path string
	}{
		{&l.dev, "sk_buff.dev"}, {&l.sk, "sk_buff.sk"}, {&l.dst, "sk_buff._skb_refdst"}, {&l.length, "sk_buff.len"},
		{&l.protocol, "sk_buff.protocol"}, {&l.network, "sk_buff.network_header"}, {&l.tail, "sk_buff.tail"}, {&l.head, "sk_buff.head"},
		{&l.devNet, "net_device.nd_net"}, {&l.devName, "net_device.name"},
		{&l.sockNet, "sock.__sk_common.skc_net"}, {&l.dstDev, "dst_entry.dev"}, {&l.netInode, "net.ns.inum"},
	} {
		if *f.to, err = offsetOf(spec, f.path); err != nil {
			return layout{}, nil, &nf.UnsupportedError{Need: "BPF", Hint: "a kernel with the structures that the program reads", Err: err}
		}
	}
	return l, reasons, nil
}

// reasonNames reads the enumeration of the tracepoint's third argument, the reason.
func reasonNames(spec *btf.Spec) (names, error) {
	var trace *btf.Typedef
	if err := spec.TypeByName("btf_trace_kfree_skb", &trace); err != nil {
		return nil, fmt.Errorf("tracepoint kfree_skb: %w", err)
	}
	const argument = 3 // behind the tracepoint's context
	var f *btf.FuncProto
	if p, ok := btf.UnderlyingType(trace).(*btf.Pointer); ok {
		f, _ = btf.UnderlyingType(p.Target).(*btf.FuncProto)
	}
	if f == nil || len(f.Params) <= argument {
		return nil, errors.New("tracepoint kfree_skb has no reason")
	}
	reasons, ok := btf.UnderlyingType(f.Params[argument].Type).(*btf.Enum)
	if !ok || reasons.Name != "skb_drop_reason" {
		return nil, fmt.Errorf("tracepoint kfree_skb has %v instead of a reason", f.Params[argument].Type)
	}
	n := names{}
	for _, v := range reasons.Values {
		n.add(uint32(v.Value), v.Name)
	}
	return n, nil
}

// offsetOf returns the offset of a field such as "sk_buff.dev". Fields of anonymous structures and unions belong to the
// outer one.
func offsetOf(spec *btf.Spec, path string) (int16, error) {
	words := strings.Split(path, ".")
	var s *btf.Struct
	if err := spec.TypeByName(words[0], &s); err != nil {
		return 0, fmt.Errorf("struct %s: %w", words[0], err)
	}
	var t btf.Type = s
	var at btf.Bits
	for _, name := range words[1:] {
		m, offset, ok := member(t, name)
		if !ok {
			return 0, fmt.Errorf("struct %s has no field %s", words[0], name)
		}
		t, at = m.Type, at+offset
	}
	bytes := at / 8
	if at%8 != 0 || bytes > 1<<15-1 {
		return 0, fmt.Errorf("field %s is at bit %d", path, at)
	}
	return int16(bytes), nil
}

// member returns the field with this name and its offset.
func member(t btf.Type, name string) (btf.Member, btf.Bits, bool) {
	var members []btf.Member
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		members = t.Members
	case *btf.Union:
		members = t.Members
	}
	for _, m := range members {
		if m.Name == name {
			return m, m.Offset, true
		}
		if m.Name == "" {
			if inner, offset, ok := member(m.Type, name); ok {
				return inner, m.Offset + offset, true
			}
		}
	}
	return btf.Member{}, 0, false
}
