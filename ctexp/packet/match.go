package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Want says what a packet should be like that the host under test sends. A field that is zero or nil says nothing, so
// that the zero Want is any packet with right checksums:
//
//	packet.Want{Out: "tun1", Proto: nf.TCP, Flags: packet.FlagSYN, Window: new(uint16(1000))}
//	packet.Want{Out: "tun1", Exactly: sent.With(packet.Src(router), packet.TTL(63))}
type Want struct {
	// Out is the name of the link that it leaves by. Where there is no such link an Inbox says so at once.
	Out   string
	Proto nf.Proto
	// Src and Dst: an invalid address is any, and so is port 0. netip.AddrPortFrom(netip.Addr{}, 80) is any address.
	Src, Dst netip.AddrPort
	// TTL and TOS are, in IPv6, the hop limit and the traffic class.
	TTL, TOS *uint8

	// Flags are those of TCP, these and no others.
	Flags TCPFlags
	// Seq, Ack and Window as they stand in the TCP header.
	Seq, Ack *uint32
	Window   *uint16
	// Options are options of TCP that are there with this data, beside others.
	Options []layers.TCPOption

	// ICMPType and ICMPCode are those of ICMP and ICMPv6, which number differently; Proto tells them apart. ICMPID is the
	// identifier of a query, such as an echo.
	ICMPType, ICMPCode *uint8
	ICMPID             *uint16
	// MTU is what an ICMP error says that fits, Gateway where a redirect leads to.
	MTU     *uint32
	Gateway netip.Addr
	// About is the packet that an ICMP error quotes. Its end may be missing, also of Payload and Exactly, and its checksums are
	// not looked at. It has no Out.
	About *Want

	// Payload is all that stands behind the header of TCP, UDP or ICMP (8 bytes). Nil is any, []byte{} is none.
	Payload []byte
	// Exactly is the packet byte for byte, as it was sent and then translated, say: sent.With(Src(router), TTL(63)).
	Exactly Packet
	// AnyChecksum takes packets with a wrong checksum, too. What is not to come at all (Inbox.ExpectNothing) is not to come
	// with a wrong one either, whatever AnyChecksum says.
	AnyChecksum bool
	// Is says what is wrong with a packet that is not meant; nil if nothing.
	Is func(Packet) error
}

// Arrival is a packet that the host under test has sent, and the name of the link that it left by.
type Arrival struct {
	Out    string
	Packet Packet
}

// String returns "tun0: IP 192.0.2.1.80 > 198.18.0.2.10000: Flags [S.], …".
func (a Arrival) String() string { return a.Out + ": " + a.Packet.String() }

// Match reports whether p is such a packet. Out is not looked at.
func (w Want) Match(p Packet) bool {
	w.Out = ""
	return Differing(w.Compare(Arrival{Packet: p})) == 0
}

// Row is one thing that was wanted, and what there was instead.
type Row struct {
	Field, Want, Got string
	Differs          bool
}

// Compare returns a row for each thing that w asks for, in the order of the fields of Want.
func (w Want) Compare(a Arrival) []Row {
	var t Table
	if w.Out != "" {
		t.Add("out", w.Out, a.Out)
	}
	w.compare(&t, "", a.Packet)
	return t
}

func (w Want) compare(t *Table, prefix string, p Packet) {
	d := Dissect(p)
	w.compareNetwork(t, prefix, d)
	w.compareTCP(t, prefix, d)
	w.compareICMP(t, prefix, d)
	if w.Payload != nil {
		payload := w.Payload
		if prefix != "" { // what is quoted may be cut
			payload = payload[:min(len(payload), len(d.Data))]
		}
		t.AddBytes(prefix+"payload", payload, d.Data)
	}
	if w.About != nil {
		if quoted := d.Quote; quoted != nil {
			about := *w.About
			about.AnyChecksum = true
			about.compare(t, prefix+"about ", quoted)
		} else {
			t.Add(prefix+"about", "a packet", absent)
		}
	}
	w.compareExactly(t, prefix, p)
	if !w.AnyChecksum && w.Exactly == nil && d.Fault != nil {
		t.Add(prefix+"checksum", "right", d.Fault.Error())
	}
	if w.Is != nil {
		if err := w.Is(p); err != nil {
			t.Add(prefix+"is", "as it should be", err.Error())
		}
	}
}

func (w Want) compareNetwork(t *Table, prefix string, d Dissected) {
	if w.Proto != 0 {
		t.Add(prefix+"proto", w.Proto.String(), d.protocol())
	}
	t.addEndpoint(prefix+"src", w.Src, d.Tuple.Src)
	t.addEndpoint(prefix+"dst", w.Dst, d.Tuple.Dst)
	AddNumber(t, prefix+"ttl", w.TTL, d.ttl, d.isIP())
	AddNumber(t, prefix+"tos", w.TOS, d.tos, d.isIP())
}

func (w Want) compareTCP(t *Table, prefix string, d Dissected) {
	got, ok := SegmentIn{}, d.Tcp != nil
	if ok {
		got = *d.Tcp
	}
	if w.Flags != 0 {
		t.addIf(ok, prefix+"flags", "["+w.Flags.String()+"]", "["+got.Flags.String()+"]")
	}
	AddNumber(t, prefix+"seq", w.Seq, got.Seq, ok)
	AddNumber(t, prefix+"ack", w.Ack, got.Ack, ok)
	AddNumber(t, prefix+"win", w.Window, got.Window, ok)
	t.AddOptions(prefix, w.Options, got.Options)
}

func (w Want) compareICMP(t *Table, prefix string, d Dissected) {
	got, there := d.Tuple.ICMP, d.Icmp != nil
	AddNumber(t, prefix+"icmp type", w.ICMPType, got.Type, there)
	AddNumber(t, prefix+"icmp code", w.ICMPCode, got.Code, there)
	AddNumber(t, prefix+"icmp id", w.ICMPID, got.ID, there && header.IsQuery(uint8(d.Tuple.Proto), got.Type))
	mtu, ok := d.mtu()
	AddNumber(t, prefix+"mtu", w.MTU, mtu, ok)
	if w.Gateway.IsValid() {
		gateway, ok := d.gateway()
		t.addIf(ok, prefix+"gateway", w.Gateway.String(), gateway.String())
	}
}

// compareExactly compares all bytes; of what is quoted as many as there are, and not fewer than RFC 792 wants.
func (w Want) compareExactly(t *Table, prefix string, p Packet) {
	const least = 20 + 8
	want := w.Exactly
	if prefix != "" && len(p) >= min(least, len(want)) {
		want = want[:min(len(want), len(p))]
	}
	switch {
	case w.Exactly == nil:
	case bytes.Equal(want, p):
		t.Add(prefix+"packet", "exactly that", "exactly that")
	default:
		*t = append(*t, diffFields(prefix, want, p)...)
	}
}

// rows returns what w asks for, where there is no packet to compare with it.
func (w Want) Rows() []Row {
	about, exactly, is := w.About, w.Exactly, w.Is
	w.About, w.Exactly, w.Is = nil, nil, nil
	rows := w.Compare(Arrival{})
	if about != nil {
		rows = append(rows, Row{Field: "about", Want: "a packet"})
		for _, r := range about.Rows() {
			r.Field = "about " + r.Field
			rows = append(rows, r)
		}
	}
	if exactly != nil {
		rows = append(rows, Row{Field: "packet", Want: exactly.String()})
	}
	if is != nil {
		rows = append(rows, Row{Field: "is", Want: "as it should be"})
	}
	for i := range rows {
		rows[i].Got, rows[i].Differs = "", true
	}
	return rows
}

// asksICMP reports whether w can only mean messages of ICMP of a certain kind.
func (w Want) AsksICMP() bool { return w.ICMPType != nil || w.ICMPCode != nil || w.ICMPID != nil }

// dissected is what expectations look at of a packet. What is not there is zero, and has says so.
type Dissected struct {
	Tuple nf.Tuple
	ttl   uint8
	tos   uint8
	Tcp   *SegmentIn // nil: no TCP header
	Icmp  []byte     // nil: no ICMP header
	Data  []byte     // behind the transport header; nil where there is none
	Quote Packet     // what an ICMP error quotes; nil: it is none
	Fault error      // a checksum that is wrong
}

// segmentIn is a TCP header that came in.
type SegmentIn struct {
	Flags    TCPFlags
	Seq, Ack uint32
	Window   uint16
	Options  []layers.TCPOption
}

// dissect never panics, whatever p is.
func Dissect(p Packet) Dissected {
	d := Dissected{Tuple: p.Tuple()}
	draft, err := takeApart(p)
	if err != nil {
		return d
	}
	d.ttl, d.tos = p[draft.view.TTLAt()], draft.view.TOS(p)
	d.Fault = draft.sumFault()
	if draft.fault != header.NoFault { // no transport header
		return d
	}
	l4, proto := draft.l4, draft.proto
	d.Data = header.Data(uint8(proto), l4)
	switch {
	case proto == nf.TCP && len(l4) >= header.TCPSize:
		if d.Data != nil {
			d.Tcp = dissectTCP(l4)
		}
	case proto.IsICMP() && len(l4) >= header.ICMPSize:
		d.Icmp, d.Quote = l4[:header.ICMPSize], header.Quoted(uint8(proto), l4)
	case d.Data == nil: // of no other protocol is it known what its header is
		d.Data = l4
	}
	return d
}

func dissectTCP(b []byte) *SegmentIn {
	var t layers.TCP
	_ = t.DecodeFromBytes(b, gopacket.NilDecodeFeedback) // an option that makes no sense is the last then
	return &SegmentIn{
		Flags: TCPFlags(b[13]),
		Seq:   binary.BigEndian.Uint32(b[4:]), Ack: binary.BigEndian.Uint32(b[8:]), Window: binary.BigEndian.Uint16(b[14:]),
		Options: t.Options,
	}
}

// option returns the data of the first option of that kind.
func (s *SegmentIn) Option(kind layers.TCPOptionKind, length int) ([]byte, bool) {
	for _, o := range s.Options {
		if o.OptionType == kind && len(o.OptionData) == length {
			return o.OptionData, true
		}
	}
	return nil, false
}

// timestamps returns the two clocks of the timestamp option.
func (s *SegmentIn) Timestamps() (val, ecr uint32, ok bool) {
	b, ok := s.Option(layers.TCPOptionKindTimestamps, 8)
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
func (d Dissected) mtu() (uint32, bool) {
	switch {
	case d.Icmp == nil:
	case d.Tuple.Proto == nf.ICMP && d.Icmp[0] == 3 && d.Icmp[1] == 4:
		return uint32(binary.BigEndian.Uint16(d.Icmp[6:])), true
	case d.Tuple.Proto == nf.ICMPv6 && d.Icmp[0] == 2:
		return binary.BigEndian.Uint32(d.Icmp[4:]), true
	}
	return 0, false
}

// gateway returns where a redirect leads to.
func (d Dissected) gateway() (netip.Addr, bool) {
	switch {
	case d.Icmp == nil:
	case d.Tuple.Proto == nf.ICMP && d.Icmp[0] == 5:
		return netip.AddrFrom4([4]byte(d.Icmp[4:])), true
	case d.Tuple.Proto == nf.ICMPv6 && d.Icmp[0] == 137 && len(d.Data) >= 32:
		return netip.AddrFrom16([16]byte(d.Data)), true
	}
	return netip.Addr{}, false
}

// isHard reports whether an ICMP error says that the packet that it quotes has not arrived, and that another like it would not
// either: not that it was too big, or that there is a better way.
func (d Dissected) IsHard() bool {
	if d.Quote == nil {
		return false
	}
	switch typ, code := d.Icmp[0], d.Icmp[1]; d.Tuple.Proto {
	case nf.ICMP:
		return typ == 3 && code != 4 || typ == 11 || typ == 12
	case nf.ICMPv6:
		return typ == 1 || typ == 3 || typ == 4
	}
	return false
}
