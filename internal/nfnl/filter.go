package nfnl

import (
	"encoding/binary"

	"golang.org/x/net/bpf"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Socket filters (BPF): what they drop takes up no room in the receive buffer.
var (
	pass = bpf.RetConstant{Val: 0xffffffff}
	drop = bpf.RetConstant{Val: 0}
)

// PassUnasked is the filter of events that drops those that a request by netlink has caused: they have the port of the
// asking socket in the header, the others 0.
func PassUnasked() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: portOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 1},
		pass,
		drop,
	}
}

// DropAged is the filter of events that drops the UPDATE events that an Env's Age causes: no packet and no time has brought
// them about, and of a large table they would overrun the receive buffer. The DESTROY events of what ends by it are the
// kernel's own.
func DropAged() []bpf.Instruction {
	// A filter loads numbers in network order, those of a header are in that of the machine.
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

// DropOwnTrace is the filter of the trace that drops the messages about our own probes, two for each of some ten chains,
// except those by which the trace of a packet begins.
func DropOwnTrace() []bpf.Instruction {
	begins := func(hook nf.Hook) []bpf.Instruction {
		return ifAttribute(traceChain, ours.TracePrefix+hook.String(), pass)
	}
	probes := append(append(begins(nf.Prerouting), begins(nf.Output)...), drop)
	return append(ifAttribute(traceTable, ours.Table, probes...), pass)
}

// ifAttribute executes then if the message has a string attribute of that value, and else what follows it.
func ifAttribute(typ uint32, value string, then ...bpf.Instruction) []bpf.Instruction {
	value += "\x00"
	type test struct {
		load bpf.Instruction
		want uint32
	}
	var length [2]byte // nla_len, loaded in network order
	binary.NativeEndian.PutUint16(length[:], uint16(AttributeSize+len(value)))
	tests := []test{{bpf.LoadIndirect{Off: 0, Size: 2}, uint32(binary.BigEndian.Uint16(length[:]))}}
	for i := range len(value) {
		tests = append(tests, test{bpf.LoadIndirect{Off: uint32(AttributeSize + i), Size: 1}, uint32(value[i])})
	}
	program := []bpf.Instruction{
		bpf.LoadConstant{Dst: bpf.RegA, Val: HeaderSize + GenSize},
		bpf.LoadConstant{Dst: bpf.RegX, Val: typ},
		bpf.LoadExtension{Num: bpf.ExtNetlinkAttr}, // where the attribute begins, or 0
		bpf.TAX{},
	}
	for i, t := range tests {
		behind := 2*(len(tests)-1-i) + len(then)
		program = append(program, t.load, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: t.want, SkipTrue: uint8(behind)})
	}
	return append(program, then...)
}
