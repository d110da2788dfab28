package observe

import (
	"encoding/binary"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/ours"
)

// filterAged keeps out the UPDATE events that come of an Env's Age: no packet and no time has brought them about, and of a
// large table they would overrun the receive buffer. The DESTROY events of what comes to its end by it are the kernel's own.
func filterAged(fd int) error {
	// The filter loads in the order of the network what stands there in that of the machine.
	var update, isNew, port [4]byte
	binary.NativeEndian.PutUint16(update[:], msgCTNew)
	binary.NativeEndian.PutUint16(isNew[:], flagCreate|flagExcl)
	binary.NativeEndian.PutUint32(port[:], ours.TablePort)
	return attachFilter(fd,
		bpf.LoadAbsolute{Off: 12, Size: 4}, // nlmsg_pid
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(port[:]), SkipTrue: 5},
		bpf.LoadAbsolute{Off: 4, Size: 2}, // nlmsg_type
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(binary.BigEndian.Uint16(update[:])), SkipTrue: 3},
		bpf.LoadAbsolute{Off: 6, Size: 2}, // nlmsg_flags
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: uint32(binary.BigEndian.Uint16(isNew[:])), SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 0xffffffff},
	)
}

// attachFilter lets through what a program returns a length for.
func attachFilter(fd int, program ...bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, ins := range raw {
		filter[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}
