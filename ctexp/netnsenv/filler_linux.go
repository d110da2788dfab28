package netnsenv

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/netfilter"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// filler inserts many entries at once: one message is the template, copied as often as fits into a send, and only
// addresses, ports and the last sequence number change. Encoding each anew takes eight times as long.
type filler struct {
	conn    *netlink.Conn
	raw     syscall.RawConn
	size    int    // of one message
	batch   []byte // as many messages as go into one send
	address []int  // where in a message the varying address stands, in both tuples
	port    []int  // likewise the varying port
	answer  []byte
	seq     uint32
	next    int // number of the next entry
}

// fillerAddress and fillerPort are the ones that vary: values that occur nowhere else in the template.
var fillerAddress, fillerHost = netip.MustParseAddr("10.99.88.77"), netip.MustParseAddr("192.0.2.1")

const (
	fillerPort     = 0xabcd
	fillerPorts    = 64000         // entries for each address
	fillerTimeout  = 5 * 24 * 3600 // seconds
	mostPerMessage = 1024          // entries in one send; more are not faster
)

func openFiller(e *Env, unreplied bool) (*filler, error) {
	f := &filler{answer: make([]byte, 64<<10)}
	if err := e.Do(func() (err error) {
		f.conn, err = netlink.Dial(unix.NETLINK_NETFILTER, nil)
		return err
	}); err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if err := f.init(unreplied); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *filler) close() error { return f.conn.Close() }

func (f *filler) init(unreplied bool) error {
	var err error
	if f.raw, err = f.conn.SyscallConn(); err != nil {
		return err
	}
	message, err := fillerMessage(unreplied)
	if err != nil {
		return err
	}
	f.size = len(message)
	f.address = allIndexes(message, fillerAddress.AsSlice())
	f.port = allIndexes(message, binary.BigEndian.AppendUint16(nil, fillerPort))
	if len(f.address) != 2 || len(f.port) != 2 {
		panic("netnsenv: the filler's address and port must stand in the template twice each")
	}
	// One send must fit into the socket's buffer; an ordinary user gets net.core.wmem_max of it.
	const room = 512 << 10
	if f.conn.SetOption(netlink.CapAcknowledge, true) != nil || f.conn.SetWriteBuffer(room) != nil {
		return errors.New("set up the netlink socket")
	}
	most := mostPerMessage
	if err := f.control(func(fd int) error {
		size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
		most = min(most, max(1, (size-1024)/f.size))
		return os.NewSyscallError("getsockopt", err)
	}); err != nil {
		return err
	}
	f.batch = bytes.Repeat(message, most)
	return nil
}

// fill inserts n entries that differ from each other, and from those of an earlier call.
func (f *filler) fill(ctx context.Context, n int) error {
	most := len(f.batch) / f.size
	for end := f.next + n; f.next < end; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%d entries inserted: %w", f.next, context.Cause(ctx))
		}
		batch := min(most, end-f.next)
		if err := f.insert(f.next, batch); err != nil {
			return fmt.Errorf("insert entries %d to %d: %w", f.next, f.next+batch-1, err)
		}
		f.next += batch
	}
	return nil
}

// insert sends one batch. Every message that fails is answered, and the last one in any case.
func (f *filler) insert(from, n int) error {
	f.seq++
	for i := range n {
		m := f.batch[i*f.size:][:f.size]
		id := from + i
		for _, at := range f.address {
			binary.BigEndian.PutUint16(m[at+2:], uint16(id/fillerPorts))
		}
		for _, at := range f.port {
			binary.BigEndian.PutUint16(m[at:], uint16(id%fillerPorts+1))
		}
		flags, seq := netlink.Request|netlink.Create|netlink.Excl, uint32(0)
		if i == n-1 {
			flags, seq = flags|netlink.Acknowledge, f.seq
		}
		binary.NativeEndian.PutUint16(m[6:], uint16(flags))
		binary.NativeEndian.PutUint32(m[8:], seq)
	}
	return f.control(func(fd int) error {
		if err := unix.Sendto(fd, f.batch[:n*f.size], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		return f.receive(fd)
	})
}

// receive reads answers up to the acknowledgement. The kernel has answered before the send returned, so nothing is waited for.
func (f *filler) receive(fd int) error {
	for {
		n, _, err := unix.Recvfrom(fd, f.answer, unix.MSG_DONTWAIT)
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		msgs, err := syscall.ParseNetlinkMessage(f.answer[:n])
		if err != nil {
			return err
		}
		for _, m := range msgs {
			if m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 {
				continue
			}
			if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
				return fillerError(unix.Errno(-code))
			}
			if m.Header.Seq == f.seq {
				return nil
			}
		}
	}
}

func fillerError(err unix.Errno) error {
	switch err {
	case unix.ENOMEM:
		return fmt.Errorf("the table is full already: somebody lowered nf_conntrack_max: %w", err)
	case unix.ENOSPC: // nf_conntrack_core.c, nf_conntrack_hash_check_insert: chains of more than 50 to 80 entries
		return fmt.Errorf("the hash that all namespaces share has chains that are too long: too many full tables at once: %w", err)
	}
	return err
}

func (f *filler) control(do func(fd int) error) error {
	var err error
	if cerr := f.raw.Control(func(fd uintptr) { err = do(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// fillerMessage is one request for a new entry: established and assured, so that neither early_drop nor the garbage
// collector touches it, or never answered.
func fillerMessage(unreplied bool) ([]byte, error) {
	status, state := nf.Confirmed|nf.SeenReply|nf.Assured|nf.FixedTimeout, nf.Established
	if unreplied {
		status, state = nf.Confirmed|nf.FixedTimeout, nf.SynSent
	}
	msg, err := netfilter.MarshalNetlink(
		netfilter.Header{
			SubsystemID: netfilter.NFSubsysCTNetlink, MessageType: ctNew, Family: netfilter.ProtoIPv4,
			Flags: netlink.Request | netlink.Create | netlink.Excl,
		},
		[]netfilter.Attribute{
			fillerTuple(ctaTupleOrig, fillerAddress, fillerHost, fillerPort, 80),
			fillerTuple(ctaTupleReply, fillerHost, fillerAddress, 80, fillerPort),
			{Type: ctaStatus, Data: netfilter.Uint32Bytes(uint32(status))},
			{Type: ctaTimeout, Data: netfilter.Uint32Bytes(fillerTimeout)},
			{Type: ctaZone, Data: netfilter.Uint16Bytes(ours.FillerZone)},
			nested(ctaProtoInfo, nested(ctaProtoInfoTCP, netfilter.Attribute{Type: ctaProtoInfoTCPState, Data: []byte{byte(state)}})),
		})
	if err != nil {
		return nil, err
	}
	msg.Header.Length = uint32(unix.NLMSG_HDRLEN + len(msg.Data))
	return msg.MarshalBinary()
}

func fillerTuple(typ uint16, src, dst netip.Addr, sport, dport uint16) netfilter.Attribute {
	return nested(typ,
		nested(ctaTupleIP,
			netfilter.Attribute{Type: ctaIPv4Src, Data: src.AsSlice()},
			netfilter.Attribute{Type: ctaIPv4Dst, Data: dst.AsSlice()}),
		nested(ctaTupleProto,
			netfilter.Attribute{Type: ctaProtoNum, Data: []byte{byte(nf.TCP)}},
			netfilter.Attribute{Type: ctaProtoSrcPort, Data: netfilter.Uint16Bytes(sport)},
			netfilter.Attribute{Type: ctaProtoDstPort, Data: netfilter.Uint16Bytes(dport)}))
}

func nested(typ uint16, children ...netfilter.Attribute) netfilter.Attribute {
	return netfilter.Attribute{Type: typ, Nested: true, Children: children}
}

func allIndexes(b, sub []byte) []int {
	var at []int
	for from := 0; ; {
		i := bytes.Index(b[from:], sub)
		if i < 0 {
			return at
		}
		at = append(at, from+i)
		from += i + len(sub)
	}
}
