package dropreason

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// The kernel lets only programs under the GPL look into its structures, so that these instructions, and nothing else of
// this module, may also be had under it, or under the BSD license.
const license = "Dual BSD/GPL"

// Where the program keeps things on its stack, below the frame pointer.
const (
	word     = -8 // what was read last
	location = -16
	reason   = -24
	device   = -32 // struct net_device *, or zero
)

// program returns the program for the tracepoint. It puts a record into the ring for each IP or ARP packet of the network
// namespace with that inode number, or adds one to the only value of the array lost if the ring is full.
func program(l layout, inode uint32, ring, lost *ebpf.Map) *ebpf.ProgramSpec {
	const skb, ptr, event = asm.R6, asm.R7, asm.R7
	code := asm.Instructions{
		asm.LoadMem(skb, asm.R1, 0, asm.DWord), // struct bpf_raw_tracepoint_args: skb, location, reason
		asm.LoadMem(asm.R2, asm.R1, 8, asm.DWord),
		asm.StoreMem(asm.RFP, location, asm.R2, asm.DWord),
		asm.LoadMem(asm.R2, asm.R1, 16, asm.DWord),
		asm.StoreMem(asm.RFP, reason, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R2, 0),
		asm.StoreMem(asm.RFP, device, asm.R2, asm.DWord),
	}
	add := func(parts ...asm.Instructions) {
		for _, p := range parts {
			code = append(code, p...)
		}
	}

	add(read(asm.R1, skb, l.protocol, asm.Half))
	for _, p := range []uint16{0x0800, 0x86dd, 0x0806} { // ETH_P_IP, ETH_P_IPV6, ETH_P_ARP
		add(asm.Instructions{asm.JEq.Imm(asm.R1, int32(bigEndian(p)), "packet")})
	}
	add(asm.Instructions{asm.Ja.Label("exit")})

	// Whose packet it is: that of its device's namespace; while it has none, of its socket's; without one, of its route's.
	// What is no device there (dev_scratch, of packets that wait for a socket) has no namespace.
	add(label("packet", read(ptr, skb, l.dev, asm.DWord)))
	add(asm.Instructions{asm.JEq.Imm(ptr, 0, "socket")}, inodeOf(l, ptr, l.devNet))
	add(asm.Instructions{
		asm.JEq.Imm(asm.R1, 0, "socket"),
		asm.StoreMem(asm.RFP, device, ptr, asm.DWord),
		asm.Ja.Label("compare"),
	})
	add(label("socket", read(ptr, skb, l.sk, asm.DWord)))
	add(asm.Instructions{asm.JEq.Imm(ptr, 0, "route")}, inodeOf(l, ptr, l.sockNet))
	add(asm.Instructions{asm.JNE.Imm(asm.R1, 0, "compare")})
	add(label("route", read(ptr, skb, l.dst, asm.DWord)))
	add(asm.Instructions{
		asm.And.Imm(ptr, -2), // SKB_DST_NOREF
		asm.JEq.Imm(ptr, 0, "exit"),
	})
	add(read(ptr, ptr, l.dstDev, asm.DWord), inodeOf(l, ptr, l.devNet))
	add(label("compare", asm.Instructions{
		asm.LoadImm(asm.R2, int64(inode), asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R2, "exit"),

		asm.LoadMapPtr(asm.R1, ring.FD()),
		asm.Mov.Imm(asm.R2, eventSize),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnRingbufReserve.Call(),
		asm.JEq.Imm(asm.R0, 0, "full"),
		asm.Mov.Reg(event, asm.R0),
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(event, atTime, asm.R0, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, location, asm.DWord),
		asm.StoreMem(event, atLocation, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, reason, asm.DWord),
		asm.StoreMem(event, atReason, asm.R1, asm.Word),
	}))
	add(read(asm.R1, skb, l.length, asm.Word))
	add(asm.Instructions{asm.StoreMem(event, atLength, asm.R1, asm.Word)})

	// The name of the device; without one, zeros: a read that fails clears what it was to fill.
	add(asm.Instructions{
		asm.Mov.Reg(asm.R1, event),
		asm.Add.Imm(asm.R1, atLink),
		asm.Mov.Imm(asm.R2, linkSize),
		asm.LoadMem(asm.R3, asm.RFP, device, asm.DWord),
		asm.JEq.Imm(asm.R3, 0, "name"),
		asm.Add.Imm(asm.R3, int32(l.devName)),
		asm.FnProbeReadKernel.Call().WithSymbol("name"),
	})

	// The packet's bytes: from the network header, which is counted from the head as the tail is.
	const offset, size = asm.R8, asm.R9
	add(read(offset, skb, l.network, asm.Half), read(size, skb, l.tail, asm.Word))
	add(asm.Instructions{
		asm.JGE.Reg(size, offset, "some"),
		asm.Mov.Reg(size, offset),
		asm.Sub.Reg(size, offset).WithSymbol("some"),
		asm.JLE.Imm(size, packetSize, "fits"),
		asm.Mov.Imm(size, packetSize),
		asm.StoreMem(event, atCaptured, size, asm.Word).WithSymbol("fits"),
	})
	add(read(asm.R3, skb, l.head, asm.DWord))
	add(asm.Instructions{
		asm.Add.Reg(asm.R3, offset),
		asm.Mov.Reg(asm.R1, event),
		asm.Add.Imm(asm.R1, atPacket),
		asm.Mov.Reg(asm.R2, size),
		asm.FnProbeReadKernel.Call(),
		asm.JEq.Imm(asm.R0, 0, "submit"),
		asm.StoreImm(event, atCaptured, 0, asm.Word),
		asm.Mov.Reg(asm.R1, event).WithSymbol("submit"),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRingbufSubmit.Call(),
		asm.Ja.Label("exit"),

		asm.LoadMapValue(asm.R1, lost.FD(), 0).WithSymbol("full"),
		asm.Mov.Imm(asm.R2, 1),
		asm.StoreXAdd(asm.R1, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("exit"),
		asm.Return(),
	})
	return &ebpf.ProgramSpec{Name: "ctexp_drops", Type: ebpf.RawTracepoint, License: license, Instructions: code}
}

// read reads a number of the kernel's into a register; zero where there is nothing to read. It spoils R1 to R5.
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

// inodeOf reads into R1 the inode number of the namespace that the structure at ptr belongs to; zero if it is none.
func inodeOf(l layout, ptr asm.Register, offset int16) asm.Instructions {
	return append(read(asm.R8, ptr, offset, asm.DWord), read(asm.R1, asm.R8, l.netInode, asm.Word)...)
}

// label names the first of some instructions, to which others jump.
func label(name string, of asm.Instructions) asm.Instructions {
	if len(of) == 0 {
		panic(fmt.Sprintf("dropreason: nothing at %s", name))
	}
	of[0] = of[0].WithSymbol(name)
	return of
}

// bigEndian returns what the machine reads of a number in network order.
func bigEndian(n uint16) uint16 { return order.Uint16([]byte{byte(n >> 8), byte(n)}) }

// layout says where the running kernel's structures have what the program reads: offsets in bytes.
type layout struct {
	dev, sk, dst, length, protocol, network, tail, head int16 // of struct sk_buff
	devNet, devName                                     int16 // of struct net_device
	sockNet                                             int16 // of struct sock
	dstDev                                              int16 // of struct dst_entry
	netInode                                            int16 // of struct net
}

// readLayout reads the layout from the kernel's BTF, and the names of the reasons. A kernel that tells too little is an
// nf.UnsupportedError.
func readLayout() (layout, names, error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return layout{}, nil, &nf.UnsupportedError{Need: "BPF", Hint: "a kernel with CONFIG_DEBUG_INFO_BTF", Err: err}
	}
	reasons, err := reasonNames(spec)
	if err != nil {
		return layout{}, nil, &nf.UnsupportedError{Need: "BPF", Hint: "Linux 5.17 or later tells why it drops packets", Err: err}
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
			return layout{}, nil, &nf.UnsupportedError{Need: "BPF", Hint: "this kernel's structures are not as the program knows them", Err: err}
		}
	}
	return l, reasons, nil
}

// reasonNames reads the enumeration, if the tracepoint has it as its third argument.
func reasonNames(spec *btf.Spec) (names, error) {
	var trace *btf.Typedef
	if err := spec.TypeByName("btf_trace_kfree_skb", &trace); err != nil {
		return nil, fmt.Errorf("tracepoint kfree_skb: %w", err)
	}
	const argument = 3 // the first is the tracepoint's own
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

// offsetOf returns where a field is: "sk_buff.dev". Fields of nameless structures and unions are their owner's.
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

// member finds a field by its name.
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
