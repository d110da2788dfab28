package inject

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// dissected is what expectations look at of a packet. What is not there is zero, and has says so.
type dissected struct {
	tuple nf.Tuple
	ttl   uint8
	tos   uint8
	tcp   *segmentIn // nil: no TCP header
	icmp  []byte     // nil: no ICMP header
	data  []byte     // behind the transport header; nil where there is none
	quote Packet     // what an ICMP error quotes; nil: it is none
	fault error      // a checksum that is wrong
}

// segmentIn is a TCP header that came in.
type segmentIn struct {
	flags    TCPFlags
	seq, ack uint32
	window   uint16
	options  []layers.TCPOption
}

// dissect never panics, whatever p is.
func dissect(p Packet) dissected {
	d := dissected{tuple: p.Tuple()}
	draft, err := takeApart(p)
	if err != nil {
		return d
	}
	d.ttl, d.tos = p[draft.view.TTLAt()], draft.view.TOS(p)
	d.fault = draft.sumFault()
	if draft.fault != header.NoFault { // no transport header
		return d
	}
	l4, proto := draft.l4, draft.proto
	d.data = header.Data(uint8(proto), l4)
	switch {
	case proto == nf.TCP && len(l4) >= header.TCPSize:
		if d.data != nil {
			d.tcp = dissectTCP(l4)
		}
	case proto.IsICMP() && len(l4) >= header.ICMPSize:
		d.icmp, d.quote = l4[:header.ICMPSize], header.Quoted(uint8(proto), l4)
	case d.data == nil: // of no other protocol is it known what its header is
		d.data = l4
	}
	return d
}

func dissectTCP(b []byte) *segmentIn {
	var t layers.TCP
	_ = t.DecodeFromBytes(b, gopacket.NilDecodeFeedback) // an option that makes no sense is the last then
	return &segmentIn{
		flags: TCPFlags(b[13]),
		seq:   binary.BigEndian.Uint32(b[4:]), ack: binary.BigEndian.Uint32(b[8:]), window: binary.BigEndian.Uint16(b[14:]),
		options: t.Options,
	}
}

// option returns the data of the first option of that kind.
func (s *segmentIn) option(kind layers.TCPOptionKind, length int) ([]byte, bool) {
	for _, o := range s.options {
		if o.OptionType == kind && len(o.OptionData) == length {
			return o.OptionData, true
		}
	}
	return nil, false
}

// timestamps returns the two clocks of the timestamp option.
func (s *segmentIn) timestamps() (val, ecr uint32, ok bool) {
	b, ok := s.option(layers.TCPOptionKindTimestamps, 8)
	if !ok {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), true
}

// sumFault says which checksum of the packet is wrong. That of a fragment cannot be told.
func (d *draft) sumFault() error {
	if !d.v6() && !d.right.headerSum {
		return errors.New("wrong in the IPv4 header")
	}
	field := d.sumField(d.l4)
	if d.part || d.fault != header.NoFault || len(field) == 0 || d.right.l4Sum {
		return nil
	}
	got, want := header.GetSum(field), d.rightSum(d.l4)
	if d.proto == nf.UDP && got == 0 && !d.v6() {
		return nil // RFC 768: there is none
	}
	return fmt.Errorf("%#x is wrong for %v, %#x right", got, d.proto, want)
}

// mtu returns what an ICMP error says that fits: fragmentation needed, packet too big.
func (d dissected) mtu() (uint32, bool) {
	switch {
	case d.icmp == nil:
	case d.tuple.Proto == nf.ICMP && d.icmp[0] == 3 && d.icmp[1] == 4:
		return uint32(binary.BigEndian.Uint16(d.icmp[6:])), true
	case d.tuple.Proto == nf.ICMPv6 && d.icmp[0] == 2:
		return binary.BigEndian.Uint32(d.icmp[4:]), true
	}
	return 0, false
}

// gateway returns where a redirect leads to.
func (d dissected) gateway() (netip.Addr, bool) {
	switch {
	case d.icmp == nil:
	case d.tuple.Proto == nf.ICMP && d.icmp[0] == 5:
		return netip.AddrFrom4([4]byte(d.icmp[4:])), true
	case d.tuple.Proto == nf.ICMPv6 && d.icmp[0] == 137 && len(d.data) >= 32:
		return netip.AddrFrom16([16]byte(d.data)), true
	}
	return netip.Addr{}, false
}

// isHard reports whether an ICMP error says that the packet that it quotes has not arrived, and that another like it would not
// either: not that it was too big, or that there is a better way.
func (d dissected) isHard() bool {
	if d.quote == nil {
		return false
	}
	switch typ, code := d.icmp[0], d.icmp[1]; d.tuple.Proto {
	case nf.ICMP:
		return typ == 3 && code != 4 || typ == 11 || typ == 12
	case nf.ICMPv6:
		return typ == 1 || typ == 3 || typ == 4
	}
	return false
}
