package packet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Match says which packets are meant. A field that is zero or nil asks for nothing, so that the zero Match is any packet.
// The same Match selects captured frames and says what the host under test is expected to send:
//
//	synack := packet.Match{Out: "tun0", Proto: nf.TCP, Flags: packet.FlagSYN | packet.FlagACK}
//	synack.Select(x.Frames())
//	x.Expect(synack)
//
// Fields of IP are compared with packets that are IP by EtherType and version, as they went over the link: before or behind any NAT.
// Of a fragment that is not the first the ports are unknown and equal none.
//
// Checksums are not compared: a host sees its own packets before they are complete, since the link fills the checksums in. An
// expectation, which sees packets behind the link, refuses one whose checksums are wrong, unless it is given by Exactly;
// see AnyChecksum.
type Match struct {
	// In and Out are the name of a link and the direction in one: what came in by it, or what left by it. A record does
	// either, so that Match panics where both are set. An expectation can only have Out; where there is no such link an Inbox
	// says so at once.
	In, Out string
	// EtherType is what the frame carries: EtherTypeARP.
	EtherType uint16
	// SrcMAC and DstMAC are the addresses of Ethernet: link.HardwareAddr().
	SrcMAC, DstMAC nf.MAC
	// VLAN is the id of the outermost tag. That there is none is plain Go: len(r.VLANs()) == 0.
	VLAN uint16

	// Proto is the protocol behind the network header and its extension headers.
	Proto nf.Proto
	// Src and Dst: an invalid address is any, and so is port 0. netip.AddrPortFrom(netip.Addr{}, 80) is any address.
	Src, Dst netip.AddrPort
	// SrcNet and DstNet are what the addresses are in.
	SrcNet, DstNet netip.Prefix
	// Tuple is the tuple of the packet; of an ICMP message it has type, code and identifier.
	Tuple nf.Tuple
	// TTL and TOS are, in IPv6, the hop limit and the traffic class.
	TTL, TOS *uint8

	// Flags are those of TCP, these and no others.
	Flags TCPFlags
	// FlagsMask has the flags that are compared; zero: all, if there are Flags. With a mask of 0xff and without Flags a segment
	// has none.
	FlagsMask TCPFlags
	// Seq and Ack are numbers of TCP as its header has them. Only segments with FlagACK have an Ack.
	Seq, Ack *uint32
	// Window is that of TCP as its header has it, not scaled.
	Window *uint16
	// Options are options of TCP that are there with this data, beside others.
	Options []TCPOption

	// ICMPType and ICMPCode are those of ICMP and ICMPv6, which number differently; Proto tells them apart.
	ICMPType, ICMPCode *uint8
	// ICMPID is the identifier of a query, such as an echo.
	ICMPID *uint16
	// MTU is what an ICMP error says that fits.
	MTU *uint32
	// Gateway is where a redirect leads to.
	Gateway netip.Addr
	// About is the packet that an ICMP error or redirect quotes. Its end may be missing, also of Payload and Exactly. It has
	// no link and nothing of Ethernet: Match panics if it asks for that.
	About *Match

	// Payload is all of Packet.Data. Nil is any, []byte{} is none.
	Payload []byte
	// Contains stands somewhere in Packet.Data.
	Contains string
	// Exactly is the packet byte for byte, as it was sent and then translated, say: sent.With(Src(router), TTL(63)).
	Exactly Packet
	// AnyChecksum has an expectation take packets with a wrong checksum, too. What is not to come at all (Inbox.ExpectNothing)
	// is not to come with a wrong one either, whatever AnyChecksum says.
	AnyChecksum bool
	// Is says what is wrong with a packet that is not meant; nil if nothing.
	Is func(Packet) error
}

// Match reports whether m means the packet r.
func (m Match) Match(r Record) bool { return m.Compare(r).Differing() == 0 }

// Select returns the records that m means, in their order.
func (m Match) Select(rs []Record) []Record {
	var meant []Record
	for _, r := range rs {
		if m.Match(r) {
			meant = append(meant, r)
		}
	}
	return meant
}

// Compare returns a row for each thing that m asks for.
func (m Match) Compare(r Record) Rows {
	m.check(false)
	var t Rows
	m.compare(&t, "", r)
	return t
}

// check panics if m can mean no packet, by a mistake of the programmer: "no such packet" would always hold.
func (m Match) check(quoted bool) {
	switch {
	case m.In != "" && m.Out != "":
		panic(fmt.Sprintf("packet: no packet both comes in by %s and leaves by %s", m.In, m.Out))
	case quoted && (m.In != "" || m.Out != "" || m.EtherType != 0 || m.VLAN != 0 || m.SrcMAC != nf.MAC{} || m.DstMAC != nf.MAC{}):
		panic("packet: Match.About asks for a link or a header of Ethernet: what an ICMP error quotes has none")
	}
	if m.About != nil {
		m.About.check(true)
	}
}

func (m Match) compare(t *Rows, prefix string, r Record) {
	p := r.ip()
	m.compareLink(t, r)
	m.compareNetwork(t, prefix, p)
	m.compareTCP(t, prefix, p)
	m.compareICMP(t, prefix, p)
	data := p.Data()
	if m.Payload != nil {
		payload := m.Payload
		if prefix != "" { // what is quoted may be cut
			payload = payload[:min(len(payload), len(data))]
		}
		t.addBytes(prefix+"payload", payload, data)
	}
	if m.Contains != "" {
		want, got := fmt.Sprintf("%q", m.Contains), ""
		if bytes.Contains(data, []byte(m.Contains)) {
			got = want
		} else {
			_, got = clipped(nil, data)
		}
		t.Add(prefix+"contains", want, got)
	}
	if m.About != nil {
		if quoted := p.quoted(); quoted != nil {
			m.About.compare(t, prefix+"about ", quoted.On("", DirUnknown))
		} else {
			t.Add(prefix+"about", "a packet", absent)
		}
	}
	m.compareExactly(t, prefix, r.Packet)
	if m.Is != nil {
		if err := m.Is(r.Packet); err != nil {
			t.Add(prefix+"is", "as it should be", err.Error())
		}
	}
}

// compareLink compares what is not the packet's.
func (m Match) compareLink(t *Rows, r Record) {
	link := func(field, want string, d Dir) {
		if want != "" && r.Dir != d {
			t.addIf(r.Dir != DirUnknown, field, want, fmt.Sprintf("%s %v", r.Link, r.Dir))
		} else if want != "" {
			t.Add(field, want, r.Link)
		}
	}
	link("in", m.In, In)
	link("out", m.Out, Out)
	if m.EtherType != 0 {
		t.Add("ether type", fmt.Sprintf("%#04x", m.EtherType), fmt.Sprintf("%#04x", r.EtherType))
	}
	if m.SrcMAC != (nf.MAC{}) {
		t.Add("src mac", m.SrcMAC.String(), r.SrcMAC().String())
	}
	if m.DstMAC != (nf.MAC{}) {
		t.Add("dst mac", m.DstMAC.String(), r.DstMAC().String())
	}
	if m.VLAN != 0 {
		got := absent
		if tags := r.VLANs(); len(tags) > 0 {
			got = fmt.Sprint(tags[0])
		}
		t.Add("vlan", fmt.Sprint(m.VLAN), got)
	}
}

func (m Match) compareNetwork(t *Rows, prefix string, p Packet) {
	v, tuple := header.Parse(p), p.Tuple()
	there := tuple.Src.Addr().IsValid()
	if m.Proto != 0 {
		t.addIf(there, prefix+"proto", m.Proto.String(), tuple.Proto.String())
	}
	t.addEndpoint(prefix+"src", m.Src, tuple.Src)
	t.addEndpoint(prefix+"dst", m.Dst, tuple.Dst)
	t.addPrefix(prefix+"src", m.SrcNet, tuple.Src.Addr())
	t.addPrefix(prefix+"dst", m.DstNet, tuple.Dst.Addr())
	if m.Tuple != (nf.Tuple{}) {
		text := func(t nf.Tuple) string { return fmt.Sprintf("%v %v", t.Proto, t) }
		t.addIf(there, prefix+"tuple", text(m.Tuple), text(tuple))
		(*t)[len(*t)-1].Differs = m.Tuple != tuple
	}
	var ttl, tos uint8
	if there {
		ttl, tos = p[v.TTLAt()], v.TOS(p)
	}
	addNumber(t, prefix+"ttl", m.TTL, ttl, there)
	addNumber(t, prefix+"tos", m.TOS, tos, there)
}

func (m Match) compareTCP(t *Rows, prefix string, p Packet) {
	got, there := p.TCP()
	if mask := m.FlagsMask; m.Flags|mask != 0 {
		if mask == 0 {
			mask = 0xff
		}
		t.addIf(there, prefix+"flags", "["+m.Flags.String()+"]", "["+got.Flags.String()+"]")
		(*t)[len(*t)-1].Differs = !there || (got.Flags^m.Flags)&mask != 0
	}
	addNumber(t, prefix+"seq", m.Seq, got.Seq, there)
	addNumber(t, prefix+"ack", m.Ack, got.Ack, got.Flags.Contains(FlagACK))
	addNumber(t, prefix+"win", m.Window, got.Window, there)
	t.addOptions(prefix, m.Options, got.Options)
}

func (m Match) compareICMP(t *Rows, prefix string, p Packet) {
	tuple, v := p.Tuple(), header.Parse(p)
	proto, got := uint8(tuple.Proto), tuple.ICMP
	message := v.Body(p)
	there := tuple.Proto.IsICMP() && len(message) >= header.ICMPSize
	addNumber(t, prefix+"icmp type", m.ICMPType, got.Type, there)
	addNumber(t, prefix+"icmp code", m.ICMPCode, got.Code, there)
	addNumber(t, prefix+"icmp id", m.ICMPID, got.ID, there && header.IsQuery(proto, got.Type))
	if m.MTU != nil {
		mtu, ok := mtuOf(tuple, message)
		addNumber(t, prefix+"mtu", m.MTU, mtu, ok)
	}
	if m.Gateway.IsValid() {
		gateway, ok := gatewayOf(tuple, message)
		t.addIf(ok, prefix+"gateway", m.Gateway.String(), gateway.String())
	}
}

// mtuOf returns what an ICMP error says that fits: fragmentation needed, packet too big.
func mtuOf(t nf.Tuple, message []byte) (uint32, bool) {
	switch {
	case len(message) < header.ICMPSize:
	case t.Proto == nf.ICMP && t.ICMP.Type == 3 && t.ICMP.Code == 4:
		return uint32(binary.BigEndian.Uint16(message[6:])), true
	case t.Proto == nf.ICMPv6 && t.ICMP.Type == 2:
		return binary.BigEndian.Uint32(message[4:]), true
	}
	return 0, false
}

// gatewayOf returns where a redirect leads to.
func gatewayOf(t nf.Tuple, message []byte) (netip.Addr, bool) {
	switch {
	case t.Proto == nf.ICMP && t.ICMP.Type == 5 && len(message) >= header.ICMPSize:
		return netip.AddrFrom4([4]byte(message[4:])), true
	case t.Proto == nf.ICMPv6 && t.ICMP.Type == 137 && len(message) >= 40: // RFC 4861, 4.5
		return netip.AddrFrom16([16]byte(message[8:])), true
	}
	return netip.Addr{}, false
}

// compareExactly compares all bytes; of what is quoted as many as there are, and not fewer than RFC 792 wants.
func (m Match) compareExactly(t *Rows, prefix string, p Packet) {
	const least = 20 + 8
	want := m.Exactly
	if prefix != "" && len(p) >= min(least, len(want)) {
		want = want[:min(len(want), len(p))]
	}
	switch {
	case m.Exactly == nil:
	case bytes.Equal(want, p):
		t.Add(prefix+"packet", "exactly that", "exactly that")
	default:
		*t = append(*t, diffFields(prefix, want, p)...)
	}
}

// Wanted returns the rows of what m asks for, where there is no packet to compare with it: Got is empty.
func (m Match) Wanted() Rows {
	about, exactly, is := m.About, m.Exactly, m.Is
	m.About, m.Exactly, m.Is = nil, nil, nil
	rows := m.Compare(Record{})
	if about != nil {
		rows = append(rows, Row{Field: "about", Want: "a packet"})
		for _, r := range about.Wanted() {
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

// String prints what m asks for, "out tun0, proto tcp, src port 80, flags [S.]", or "any packet".
func (m Match) String() string {
	var s []string
	for _, r := range m.Wanted() {
		s = append(s, r.Field+" "+r.Want)
	}
	if len(s) == 0 {
		return "any packet"
	}
	return strings.Join(s, ", ")
}
