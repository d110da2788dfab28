package dropreason

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

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
