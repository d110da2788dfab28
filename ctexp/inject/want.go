package inject

import (
	"bytes"
	"net/netip"

	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Want says what a packet should be like that the host under test sends. A field that is zero or nil says nothing, so
// that the zero Want is any packet with right checksums:
//
//	inject.Want{Out: "tun1", Proto: nf.TCP, Flags: inject.FlagSYN, Window: new(uint16(1000))}
//	inject.Want{Out: "tun1", Exactly: sent.With(inject.Src(router), inject.TTL(63))}
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
	return differing(w.Compare(Arrival{Packet: p})) == 0
}

// Row is one thing that was wanted, and what there was instead.
type Row struct {
	Field, Want, Got string
	Differs          bool
}

// Compare returns a row for each thing that w asks for, in the order of the fields of Want.
func (w Want) Compare(a Arrival) []Row {
	var t table
	if w.Out != "" {
		t.add("out", w.Out, a.Out)
	}
	w.compare(&t, "", a.Packet)
	return t
}

func (w Want) compare(t *table, prefix string, p Packet) {
	d := dissect(p)
	w.compareNetwork(t, prefix, d)
	w.compareTCP(t, prefix, d)
	w.compareICMP(t, prefix, d)
	if w.Payload != nil {
		payload := w.Payload
		if prefix != "" { // what is quoted may be cut
			payload = payload[:min(len(payload), len(d.data))]
		}
		t.addBytes(prefix+"payload", payload, d.data)
	}
	if w.About != nil {
		if quoted := d.quote; quoted != nil {
			about := *w.About
			about.AnyChecksum = true
			about.compare(t, prefix+"about ", quoted)
		} else {
			t.add(prefix+"about", "a packet", absent)
		}
	}
	w.compareExactly(t, prefix, p)
	if !w.AnyChecksum && w.Exactly == nil && d.fault != nil {
		t.add(prefix+"checksum", "right", d.fault.Error())
	}
	if w.Is != nil {
		if err := w.Is(p); err != nil {
			t.add(prefix+"is", "as it should be", err.Error())
		}
	}
}

func (w Want) compareNetwork(t *table, prefix string, d dissected) {
	if w.Proto != 0 {
		t.add(prefix+"proto", w.Proto.String(), d.protocol())
	}
	t.addEndpoint(prefix+"src", w.Src, d.tuple.Src)
	t.addEndpoint(prefix+"dst", w.Dst, d.tuple.Dst)
	addNumber(t, prefix+"ttl", w.TTL, d.ttl, d.isIP())
	addNumber(t, prefix+"tos", w.TOS, d.tos, d.isIP())
}

func (w Want) compareTCP(t *table, prefix string, d dissected) {
	got, ok := segmentIn{}, d.tcp != nil
	if ok {
		got = *d.tcp
	}
	if w.Flags != 0 {
		t.addIf(ok, prefix+"flags", "["+w.Flags.String()+"]", "["+got.flags.String()+"]")
	}
	addNumber(t, prefix+"seq", w.Seq, got.seq, ok)
	addNumber(t, prefix+"ack", w.Ack, got.ack, ok)
	addNumber(t, prefix+"win", w.Window, got.window, ok)
	t.addOptions(prefix, w.Options, got.options)
}

func (w Want) compareICMP(t *table, prefix string, d dissected) {
	got, there := d.tuple.ICMP, d.icmp != nil
	addNumber(t, prefix+"icmp type", w.ICMPType, got.Type, there)
	addNumber(t, prefix+"icmp code", w.ICMPCode, got.Code, there)
	addNumber(t, prefix+"icmp id", w.ICMPID, got.ID, there && header.IsQuery(uint8(d.tuple.Proto), got.Type))
	mtu, ok := d.mtu()
	addNumber(t, prefix+"mtu", w.MTU, mtu, ok)
	if w.Gateway.IsValid() {
		gateway, ok := d.gateway()
		t.addIf(ok, prefix+"gateway", w.Gateway.String(), gateway.String())
	}
}

// compareExactly compares all bytes; of what is quoted as many as there are, and not fewer than RFC 792 wants.
func (w Want) compareExactly(t *table, prefix string, p Packet) {
	const least = 20 + 8
	want := w.Exactly
	if prefix != "" && len(p) >= min(least, len(want)) {
		want = want[:min(len(want), len(p))]
	}
	switch {
	case w.Exactly == nil:
	case bytes.Equal(want, p):
		t.add(prefix+"packet", "exactly that", "exactly that")
	default:
		*t = append(*t, diffFields(prefix, want, p)...)
	}
}

// rows returns what w asks for, where there is no packet to compare with it.
func (w Want) rows() []Row {
	about, exactly, is := w.About, w.Exactly, w.Is
	w.About, w.Exactly, w.Is = nil, nil, nil
	rows := w.Compare(Arrival{})
	if about != nil {
		rows = append(rows, Row{Field: "about", Want: "a packet"})
		for _, r := range about.rows() {
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
func (w Want) asksICMP() bool { return w.ICMPType != nil || w.ICMPCode != nil || w.ICMPID != nil }
