package observe

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// traceFilter keeps the messages about our own probes out of the receive buffer, two for each of some ten chains, but for
// those by which the trace of a packet begins.
func traceFilter() []bpf.Instruction {
	pass, drop := bpf.RetConstant{Val: 0xffffffff}, bpf.RetConstant{Val: 0}
	begins := func(hook nf.Hook) []bpf.Instruction {
		return ifAttribute(nftaTraceChain, ours.TracePrefix+hook.String(), pass)
	}
	probes := append(append(begins(nf.Prerouting), begins(nf.Output)...), drop)
	return append(ifAttribute(nftaTraceTable, ours.Table, probes...), pass)
}

// ifAttribute goes through then if the message has a string attribute of that value, and behind it if not.
func ifAttribute(typ uint32, value string, then ...bpf.Instruction) []bpf.Instruction {
	value += "\x00"
	type test struct {
		load bpf.Instruction
		want uint32
	}
	tests := []test{{bpf.LoadIndirect{Off: 0, Size: 2}, uint32(networkOrder(uint16(nlaHeader + len(value))))}} // BPF loads in the order of the network
	for i := range len(value) {
		tests = append(tests, test{bpf.LoadIndirect{Off: uint32(nlaHeader + i), Size: 1}, uint32(value[i])})
	}
	program := []bpf.Instruction{
		bpf.LoadConstant{Dst: bpf.RegA, Val: nlmsgHeader + nfgenmsg},
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

// attach makes fd take only what a filter lets pass.
func attach(fd int, filter []bpf.Instruction) error {
	assembled, err := bpf.Assemble(filter)
	if err != nil {
		return err
	}
	program := make([]unix.SockFilter, len(assembled))
	for i, ins := range assembled {
		program[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}
