package nfnl

import (
	"encoding/binary"

	"golang.org/x/net/bpf"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// The return values of socket filters (BPF). A dropped message takes no space in the receive buffer.
var (
	pass = bpf.RetConstant{Val: 0xffffffff}
	drop = bpf.RetConstant{Val: 0}
)

// PassUnasked returns a socket filter that drops events caused by a netlink request. They have the port of the
// requesting socket in the header, other events 0.
func PassUnasked() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: portOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 1},
		pass,
		drop,
	}
}

// DropAged returns a socket filter that drops the UPDATE events that Env.Age causes. They are not caused by a packet or
// a timeout, and with a large table they would overrun the receive buffer. DESTROY events of entries that expire
// because of Age come from the kernel and pass.
func DropAged() []bpf.Instruction {
	// The filter loads numbers in network byte order, but the header has host byte order.
	var update, isNew, port [4]byte
	binary.NativeEndian.PutUint16(update[:], msgEntryNew)
	binary.NativeEndian.PutUint16(isNew[:], flagCreate|flagExcl)
	binary.NativeEndian.PutUint32(port[:], ours.AgePort)
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: portOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(port[:]), SkipTrue: 5},
		bpf.LoadAbsolute{Off: typeOffset, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(binary.BigEndian.Uint16(update[:])), SkipTrue: 3},
		bpf.LoadAbsolute{Off: flagsOffset, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: uint32(binary.BigEndian.Uint16(isNew[:])), SkipTrue: 1},
		drop,
		pass,
	}
}

// DropOwnTrace returns a socket filter that drops trace messages about our own probes, two for each of about ten
// chains, except for those that begin the trace of a packet.
func DropOwnTrace() []bpf.Instruction {
	begins := func(hook nf.Hook) []bpf.Instruction {
		return ifAttribute(traceChain, ours.TracePrefix+hook.String(), pass)
	}
	probes := append(append(begins(nf.Prerouting), begins(nf.Output)...), drop)
	program := append(ifAttribute(traceTable, ours.Table, probes...), pass)
	return append([]bpf.Instruction{ // a table of the user may have the same name in another family
		bpf.LoadAbsolute{Off: HeaderSize, Size: 1}, // nfgen_family, that of the table
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(ours.Inet), SkipTrue: 1},
		pass,
	}, program...)
}

// ifAttribute returns instructions that execute then if the message has the string attribute with this value.
func ifAttribute(typ uint32, value string, then ...bpf.Instruction) []bpf.Instruction {
	value += "\x00"
	type test struct {
		load bpf.Instruction
		want uint32
	}
	var length [2]byte // nla_len, loaded in network byte order
	binary.NativeEndian.PutUint16(length[:], uint16(AttributeSize+len(value)))
	tests := []test{{bpf.LoadIndirect{Off: 0, Size: 2}, uint32(binary.BigEndian.Uint16(length[:]))}}
	for i := range len(value) {
		tests = append(tests, test{bpf.LoadIndirect{Off: uint32(AttributeSize + i), Size: 1}, uint32(value[i])})
	}
	program := []bpf.Instruction{
		bpf.LoadConstant{Dst: bpf.RegA, Val: HeaderSize + GenSize},
		bpf.LoadConstant{Dst: bpf.RegX, Val: typ},
		bpf.LoadExtension{Num: bpf.ExtNetlinkAttr}, // the offset of the attribute, or 0
		bpf.TAX{},
	}
	for i, t := range tests {
		toEnd := 2*(len(tests)-1-i) + len(then)
		program = append(program, t.load, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: t.want, SkipTrue: uint8(toEnd)})
	}
	return append(program, then...)
}
