package observe

import (
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// tracer tells which packet a message is about. The kernel's number of a packet is made of the address of its buffer, which
// the next packet gets (net/netfilter/nf_tables_trace.c, trace_fill_id), so that a number means the latest packet that
// has it.
type tracer struct {
	packets []*tracedPacket
	latest  map[uint32]*tracedPacket
}

// tracedPacket is a packet that was traced.
type tracedPacket struct {
	n       int
	begun   bool // by netnsenv's rule; else by a rule of the user's
	in, out int32
	header  []byte
	seen    map[chainOf]bool // base chains that it met
	dropped bool
	state   nf.CTState // as told when it entered the latest base chain
	status  nf.Status
}

// chainOf names a chain.
type chainOf struct {
	family       uint8
	table, chain string
}

// packet returns the packet of the next message. A new one begins where netnsenv's rule says so; without it where the
// number is new or a base chain is met for the second time, in which the kernel tells the headers anew.
func (t *tracer) packet(m traced) *tracedPacket {
	p := t.latest[m.ID]
	chain := chainOf{m.Family, m.Table, m.Chain}
	enters := len(m.Network) > 0
	switch {
	case p == nil, m.begins(), !p.begun && enters && p.seen[chain]:
		p = &tracedPacket{n: len(t.packets), begun: m.begins(), seen: map[chainOf]bool{}}
		t.packets = append(t.packets, p)
		if t.latest == nil {
			t.latest = map[uint32]*tracedPacket{}
		}
		t.latest[m.ID] = p
	}
	if enters {
		p.seen[chain] = true
		p.state, p.status = m.State, m.Status // with the headers, and with no other message
		if p.header == nil {
			p.header, p.in, p.out = packetHead(m.Network, m.Transport), m.In, m.Out
		}
	}
	if p.out == 0 {
		p.out = m.Out
	}
	p.dropped = p.dropped || m.drops()
	return p
}

// dir returns In, or Out for a packet of the host's own.
func (p *tracedPacket) dir() Dir {
	if p.in == 0 {
		return Out
	}
	return In
}

// link returns the index of the link that the packet came in by, or else leaves by.
func (p *tracedPacket) link() int32 {
	if p.in == 0 {
		return p.out
	}
	return p.in
}

// drops reports whether it is the end of the packet.
func (t traced) drops() bool {
	if t.Type == nfnl.TracePolicy {
		return t.Policy == 0
	}
	return t.Verdict >= 0 && t.Verdict&0xff == 0
}

// packetHead returns the beginning of a packet from its headers. Of the network header the kernel tells 40 bytes at most:
// where there is more of it the transport header does not follow.
func packetHead(network, transport []byte) []byte {
	v := header.Parse(network)
	if !v.HasHeader() || v.Fault == header.CutExtension || v.Transport != len(network) {
		return network
	}
	return append(network[:len(network):len(network)], transport...)
}
