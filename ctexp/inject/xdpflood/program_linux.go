package xdpflood

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Registers of the program.
const (
	data         = asm.R6 // the frame
	number       = asm.R7 // of the packet
	headerSum    = asm.R8 // initial value of the IPv4 header checksum
	transportSum = asm.R9 // initial value of the transport checksum
)

// Return values of XDP programs.
const (
	xdpDrop = 1
	xdpPass = 2
)

// Offsets in the state that is shared with the program: the number of the next packet, and that of the first packet not
// to send.
const (
	atNext    = 0
	atEnd     = 8
	stateSize = 16
)

// program returns the program that makes the packets. Each run makes the next packet until the end. Later runs, which
// happen because the kernel or the library repeats after a signal, drop theirs.
//
// The program writes the whole frame, because the kernel reuses the pages of processed packets with whatever the host
// has left in them (net/bpf/test_run.c, xdp_test_run_batch and reset_ctx).
func program(r inject.Recipe, frame []byte, state *ebpf.Map) *ebpf.ProgramSpec {
	code := asm.Instructions{
		asm.LoadMem(data, asm.R1, 0, asm.Word), // struct xdp_md: data, data_end
		asm.LoadMem(asm.R3, asm.R1, 4, asm.Word),
		asm.Mov.Reg(asm.R2, data),
		asm.Add.Imm(asm.R2, int32(len(frame))),
		asm.JGT.Reg(asm.R2, asm.R3, "drop"),
		asm.LoadMapValue(asm.R1, state.FD(), 0),
		asm.LoadMem(number, asm.R1, atNext, asm.DWord),
		asm.LoadMem(asm.R2, asm.R1, atEnd, asm.DWord),
		asm.JGE.Reg(number, asm.R2, "drop"),
		asm.Mov.Reg(asm.R2, number),
		asm.Add.Imm(asm.R2, 1),
		asm.StoreMem(asm.R1, atNext, asm.R2, asm.DWord),
	}
	code = append(code, write(frame)...)
	code = append(code, number64(headerSum, uint64(r.Header.Base)), number64(transportSum, uint64(r.Transport.Base)))
	for i, f := range r.Fields {
		code = append(code, indexOf(f)...)
		code = append(code, vary(f, fmt.Sprintf("carried%d", i))...)
	}
	code = append(code, sum(r.Header, headerSum, "header")...)
	code = append(code, sum(r.Transport, transportSum, "transport")...)
	code = append(code,
		asm.Mov.Imm(asm.R0, xdpPass),
		asm.Return(),
		asm.Mov.Imm(asm.R0, xdpDrop).WithSymbol("drop"),
		asm.Return(),
	)
	return &ebpf.ProgramSpec{Name: "ctexp_flood", Type: ebpf.XDP, License: "Apache-2.0", Instructions: code}
}

func number64(to asm.Register, v uint64) asm.Instruction { return asm.LoadImm(to, int64(v), asm.DWord) }

// write writes the whole frame.
func write(frame []byte) (code asm.Instructions) {
	at := 0
	for ; len(frame)-at >= 4; at += 4 {
		v := int32(binary.NativeEndian.Uint32(frame[at:]))
		code = append(code, asm.StoreImm(data, int16(at), int64(v), asm.Word))
	}
	for ; at < len(frame); at++ {
		code = append(code, asm.StoreImm(data, int16(at), int64(frame[at]), asm.Byte))
	}
	return code
}

// indexOf sets R2 to the index of the field's value.
func indexOf(f inject.RecipeField) asm.Instructions {
	if f.Random {
		return draw(f)
	}
	return asm.Instructions{
		asm.Mov.Reg(asm.R2, number),
		number64(asm.R3, f.Period),
		asm.Div.Reg(asm.R2, asm.R3),
		number64(asm.R3, f.Count),
		asm.Mod.Reg(asm.R2, asm.R3),
	}
}

// draw is the finalizer of SplitMix64, followed by the upper half of its product with the count, which is at most 2^32.
func draw(f inject.RecipeField) asm.Instructions {
	code := asm.Instructions{
		number64(asm.R2, f.Seed+0x9e3779b97f4a7c15),
		asm.Add.Reg(asm.R2, number),
	}
	for _, step := range []struct {
		shift  int32
		factor uint64
	}{{30, 0xbf58476d1ce4e5b9}, {27, 0x94d049bb133111eb}, {31, 1}} {
		code = append(code,
			asm.Mov.Reg(asm.R3, asm.R2),
			asm.RSh.Imm(asm.R3, step.shift),
			asm.Xor.Reg(asm.R2, asm.R3),
			number64(asm.R3, step.factor),
			asm.Mul.Reg(asm.R2, asm.R3),
		)
	}
	return append(code,
		asm.Mov.Reg(asm.R3, asm.R2),
		asm.RSh.Imm(asm.R3, 32),
		asm.LSh.Imm(asm.R2, 32),
		asm.RSh.Imm(asm.R2, 32),
		number64(asm.R4, f.Count),
		asm.Mul.Reg(asm.R2, asm.R4),
		asm.RSh.Imm(asm.R2, 32),
		asm.Mul.Reg(asm.R3, asm.R4),
		asm.Add.Reg(asm.R2, asm.R3),
		asm.RSh.Imm(asm.R2, 32),
	)
}

// vary writes the value with index R2 of a field, and adds its words to the sums.
func vary(f inject.RecipeField, carried string) asm.Instructions {
	const low, high, words = asm.R2, asm.R4, asm.R5
	code := asm.Instructions{
		number64(asm.R3, f.Stride),
		asm.Mul.Reg(low, asm.R3),
		number64(asm.R3, f.First[1]),
		asm.Add.Reg(low, asm.R3),
		asm.Mov.Imm(words, 0),
	}
	if f.Size == 16 {
		code = append(code,
			number64(high, f.First[0]),
			asm.JGE.Reg(low, asm.R3, carried),
			asm.Add.Imm(high, 1),
			asm.Mov.Imm(words, 0).WithSymbol(carried),
		)
		code = append(code, addWords(words, high, 8)...)
	}
	code = append(code, addWords(words, low, min(f.Size, 8))...)
	if f.InHeader {
		code = append(code, asm.Add.Reg(headerSum, words))
	}
	if f.InTransport {
		code = append(code, asm.Add.Reg(transportSum, words))
	}
	at, size := int16(header.EthernetSize+f.At), asm.Half
	switch f.Size {
	case 4:
		size = asm.Word
	case 16:
		size = asm.DWord
		code = append(code, asm.HostTo(asm.BE, high, size), asm.StoreMem(data, at, high, size))
		at += 8
	}
	return append(code, asm.HostTo(asm.BE, low, size), asm.StoreMem(data, at, low, size))
}

// addWords adds the 16-bit words of a number of this size in bytes.
func addWords(to, from asm.Register, size int) (code asm.Instructions) {
	for shift := 0; shift < 8*size; shift += 16 {
		code = append(code,
			asm.Mov.Reg(asm.R0, from),
			asm.RSh.Imm(asm.R0, int32(shift)),
			asm.And.Imm(asm.R0, 0xffff),
			asm.Add.Reg(to, asm.R0),
		)
	}
	return code
}

// sum writes a checksum (RFC 1624, equation 3).
func sum(s inject.RecipeSum, of asm.Register, name string) (code asm.Instructions) {
	if s == (inject.RecipeSum{}) {
		return nil
	}
	for range 2 {
		code = append(code,
			asm.Mov.Reg(asm.R0, of),
			asm.RSh.Imm(asm.R0, 16),
			asm.And.Imm(of, 0xffff),
			asm.Add.Reg(of, asm.R0),
		)
	}
	code = append(code, asm.Xor.Imm(of, 0xffff))
	if s.NoZero {
		code = append(code,
			asm.JNE.Imm(of, 0, name),
			asm.Mov.Imm(of, 0xffff),
		)
	}
	return append(code,
		asm.HostTo(asm.BE, of, asm.Half).WithSymbol(name),
		asm.StoreMem(data, int16(header.EthernetSize+s.At), of, asm.Half),
	)
}
