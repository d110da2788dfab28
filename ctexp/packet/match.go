package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// Match selects packets. A field that is zero or nil is not compared, so that the zero Match matches any packet. The same
// Match selects captured frames and describes a packet that the host under test is expected to send:
//
//	synack := packet.Match{Out: "tun0", Proto: nf.TCP, Flags: packet.FlagSYN | packet.FlagACK}
//	synack.Select(x.Frames())
//	x.Expect(synack)
//
// Fields of IP match only packets that are IP by both EtherType and version. They are compared as the packet was on the link,
// so before or after NAT depending on the link. A fragment that is not the first has no known ports and matches none.
//
// Match does not compare checksums: a host captures its own packets before the link fills them in. An expectation, which
// sees packets after the link, rejects a packet with a wrong checksum, unless Exactly is set; see AnyChecksum.
type Match struct {
	// In and Out are the names of the link on which the packet came in or left. A record has one direction, so that setting
	// both panics. An expectation can only have Out; if there is no such link, the Inbox returns an error at once.
	In, Out string
	// EtherType is the protocol that the frame carries, such as EtherTypeARP.
	EtherType uint16
	// SrcMAC and DstMAC are the Ethernet addresses, such as link.HardwareAddr().
	SrcMAC, DstMAC nf.MAC
	// VLAN is the id of the outermost tag. To select untagged frames use len(r.VLANs()) == 0.
	VLAN uint16

	// Proto is the protocol after the network header and its extension headers.
	Proto nf.Proto
	// Src and Dst are the endpoints. An invalid address matches any, and so does port 0: netip.AddrPortFrom(netip.Addr{}, 80)
	// is port 80 of any address.
	Src, Dst netip.AddrPort
	// SrcNet and DstNet are prefixes that contain the addresses.
	SrcNet, DstNet netip.Prefix
	// Tuple is the conntrack tuple of the packet; that of an ICMP message has type, code and identifier.
	Tuple nf.Tuple
	// TTL and TOS are, in IPv6, the hop limit and the traffic class.
	TTL, TOS *uint8

	// Flags are the exact TCP flags.
	Flags TCPFlags
	// FlagsMask has the flags that are compared. Zero means all if Flags is set, else none. A mask of 0xff with zero Flags
	// matches segments without flags.
	FlagsMask TCPFlags
	// Seq and Ack are the TCP numbers as in the header. Only segments with FlagACK have an Ack.
	Seq, Ack *uint32
	// Window is the TCP window as in the header, not scaled.
	Window *uint16
	// Options are TCP options that the segment has with this data, among others.
	Options []TCPOption

	// ICMPType and ICMPCode are those of ICMP or ICMPv6, which number differently; set Proto to tell them apart.
	ICMPType, ICMPCode *uint8
	// ICMPID is the identifier of a query, such as an echo.
	ICMPID *uint16
	// MTU is the MTU in an ICMP error: fragmentation needed, packet too big.
	MTU *uint32
	// Gateway is the router that a redirect names.
	Gateway netip.Addr
	// About matches the packet that an ICMP error or redirect quotes. If the quote is truncated, Payload and Exactly are
	// compared with what is there. It has no link and no Ethernet header: Match panics if About has such fields.
	About *Match

	// Payload is equal to Packet.Data. Nil matches any, []byte{} an empty one.
	Payload []byte
	// Contains is a substring of Packet.Data.
	Contains string
	// Exactly is equal to the whole packet, for instance as it was sent and then translated: sent.With(Src(router), TTL(63)).
	Exactly Packet
	// AnyChecksum makes an expectation accept packets with a wrong checksum. Inbox.ExpectNothing ignores it: a packet that
	// must not come must not come with a wrong checksum either.
	AnyChecksum bool
	// Is returns an error that says why a packet does not match, nil if it does. It is called for every packet.
	Is func(Packet) error
}

// Match reports whether m matches r. It stops at the first field that differs.
func (m Match) Match(r Record) bool {
	m.check(false)
	var c comparison
	c.record(&m, r)
	return !c.differs
}

// Select returns the records that m matches, in their order.
func (m Match) Select(rs []Record) []Record {
	var selected []Record
	for _, r := range rs {
		if m.Match(r) {
			selected = append(selected, r)
		}
	}
	return selected
}

// Compare returns a row for each field of m that is set.
func (m Match) Compare(r Record) Rows {
	m.check(false)
	c := comparison{collect: true}
	c.record(&m, r)
	return c.rows
}

// Wanted returns the rows of m if there is no packet to compare with: Got is empty.
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

// String returns the fields of m, "out tun0, proto tcp, src port 80, flags [S.]", or "any packet".
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

// check panics if m can match no packet because of a programming error: an expectation of nothing would always succeed.
func (m *Match) check(quoted bool) {
	switch {
	case m.In != "" && m.Out != "":
		panic(fmt.Sprintf("packet: Match has both In %s and Out %s: a packet has one direction", m.In, m.Out))
	case quoted && (m.In != "" || m.Out != "" || m.EtherType != 0 || m.VLAN != 0 || m.SrcMAC != nf.MAC{} || m.DstMAC != nf.MAC{}):
		panic("packet: Match.About has a link or an Ethernet field: a quoted packet has neither")
	}
	if m.About != nil {
		m.About.check(true)
	}
}

// addrs returns the addresses that m compares; those of fields that are not set are not valid.
func (m Match) addrs() []netip.Addr {
	return []netip.Addr{m.Src.Addr(), m.Dst.Addr(), m.SrcNet.Addr(), m.DstNet.Addr(), m.Tuple.Src.Addr(), m.Tuple.Dst.Addr()}
}

// Family returns the family of all packets that m matches, zero if it may match packets of both.
func (m Match) Family() nf.Family {
	for _, a := range append(m.addrs(), familyOfICMP[m.Proto], familyOfICMP[m.Tuple.Proto], m.Exactly.Tuple().Src.Addr()) {
		if a.IsValid() {
			return nf.FamilyOf(a.Unmap())
		}
	}
	return map[uint16]nf.Family{EtherTypeIPv4: nf.IPv4, EtherTypeIPv6: nf.IPv6}[m.EtherType]
}

// NeedsEthernet reports whether m matches nothing but frames of an Ethernet, because of an address or a VLAN of it, or an EtherType other
// than those of IP.
func (m Match) NeedsEthernet() bool {
	return m.VLAN != 0 || m.SrcMAC != (nf.MAC{}) || m.DstMAC != (nf.MAC{}) || m.EtherType != 0 && m.EtherType != EtherTypeIPv4 && m.EtherType != EtherTypeIPv6
}

// Check returns why m matches no packet, nil if it may match some: fields that exclude each other, such as flags of TCP and the
// protocol UDP. An expectation of nothing would always succeed.
func (m Match) Check() error {
	proto := m.Proto
	of := func(what string, is bool, ps ...nf.Proto) error {
		if is && proto != 0 && !slices.Contains(ps, proto) {
			return fmt.Errorf("no packet of %v has %s", proto, what)
		}
		if is && proto == 0 && len(ps) == 1 {
			proto = ps[0]
		}
		return nil
	}
	if t := m.Tuple.Proto; t != 0 {
		if proto != 0 && proto != t {
			return fmt.Errorf("no packet of %v has a tuple of %v", proto, t)
		}
		proto = t
	}
	icmp := m.ICMPType != nil || m.ICMPCode != nil || m.ICMPID != nil || m.MTU != nil || m.Gateway.IsValid() || m.About != nil
	if err := of("fields of ICMP", icmp, nf.ICMP, nf.ICMPv6); err != nil {
		return err
	}
	tcp := m.Flags|m.FlagsMask != 0 || m.Seq != nil || m.Ack != nil || m.Window != nil || len(m.Options) > 0
	if err := of("fields of TCP", tcp, nf.TCP); err != nil {
		return err
	}
	if icmp && tcp {
		return errors.New("no packet has both fields of ICMP and of TCP")
	}
	if (m.Src.Port() != 0 || m.Dst.Port() != 0) && proto.IsICMP() {
		return fmt.Errorf("no packet of %v has ports", proto)
	}
	first := familyOfICMP[proto]
	for _, a := range m.addrs() {
		switch a = a.Unmap(); {
		case !a.IsValid():
		case !first.IsValid():
			first = a
		case a.Is4() != first.Is4():
			return otherFamily(proto, first, a)
		}
	}
	for _, in := range []struct {
		addr netip.Addr
		net  netip.Prefix
	}{{m.Src.Addr(), m.SrcNet}, {m.Dst.Addr(), m.DstNet}} {
		if in.addr.IsValid() && in.net.IsValid() && !in.net.Contains(in.addr.Unmap()) {
			return fmt.Errorf("%v is not in %v", in.addr, in.net)
		}
	}
	ip := first.IsValid() || proto != 0
	if ip && m.EtherType != 0 && m.EtherType != EtherTypeIPv4 && m.EtherType != EtherTypeIPv6 {
		return fmt.Errorf("no frame of EtherType %#04x has fields of IP", m.EtherType)
	}
	if err := m.checkValues(); err != nil {
		return err
	}
	if m.About != nil {
		return m.About.Check()
	}
	return nil
}

// checkValues returns an error for fields of which each is possible, but not all together.
func (m Match) checkValues() error {
	for _, end := range []struct {
		name      string
		of, tuple netip.AddrPort
		in        netip.Prefix
	}{{"source", m.Src, m.Tuple.Src, m.SrcNet}, {"destination", m.Dst, m.Tuple.Dst, m.DstNet}} {
		port := end.of.Port() != 0 && end.tuple.Port() != 0 && end.of.Port() != end.tuple.Port()
		addr := end.of.Addr().IsValid() && end.tuple.Addr().IsValid() && end.of.Addr().Unmap() != end.tuple.Addr().Unmap()
		if port || addr || end.in.IsValid() && end.tuple.Addr().IsValid() && !end.in.Contains(end.tuple.Addr().Unmap()) {
			return fmt.Errorf("no packet has another %s than that of its tuple, %v", end.name, end.tuple)
		}
	}
	mask := m.FlagsMask
	if mask != 0 && m.Flags != 0 && m.Flags&mask == 0 {
		return fmt.Errorf("the flags %v are not compared with: FlagsMask is %v", m.Flags, mask)
	}
	if mask == 0 && m.Flags != 0 {
		mask = ^TCPFlags(0)
	}
	isOf := func(types ...uint8) bool { return m.ICMPType == nil || slices.Contains(types, *m.ICMPType) }
	switch {
	case m.Ack != nil && mask&FlagACK != 0 && m.Flags&FlagACK == 0:
		return errors.New("no segment without the flag ACK has an Ack")
	case m.Payload != nil && !strings.Contains(string(m.Payload), m.Contains):
		return fmt.Errorf("the payload %q does not contain %q", m.Payload, m.Contains)
	case m.MTU != nil && !isOf(icmpUnreachable, icmpv6TooBig):
		return fmt.Errorf("no ICMP message of type %d has an MTU", *m.ICMPType)
	case m.Gateway.IsValid() && !isOf(icmpRedirect, icmpv6Redirect):
		return fmt.Errorf("no ICMP message of type %d has a Gateway", *m.ICMPType)
	case m.Exactly != nil:
		only := m
		only.In, only.Out, only.EtherType, only.SrcMAC, only.DstMAC, only.VLAN = "", "", 0, nf.MAC{}, nf.MAC{}, 0
		only.Exactly, only.Is = nil, nil
		if !only.Match(m.Exactly.On("", Out)) {
			return fmt.Errorf("the packet that it must be exactly, %v, does not match %v", m.Exactly, only)
		}
	}
	return nil
}

// The types of ICMP messages that have an MTU or a gateway (RFC 792, 1191, 4443, 4861).
const (
	icmpUnreachable, icmpv6TooBig = 3, 2
	icmpRedirect, icmpv6Redirect  = 5, 137
)

// familyOfICMP has an address of the family of each ICMP, which is not that of a packet.
var familyOfICMP = map[nf.Proto]netip.Addr{nf.ICMP: netip.IPv4Unspecified(), nf.ICMPv6: netip.IPv6Unspecified()}

// otherFamily is the error of addresses, or an address and an ICMP, of different families.
func otherFamily(p nf.Proto, first, a netip.Addr) error {
	if first == familyOfICMP[p] {
		return fmt.Errorf("no packet of %v has the address %v", p, a)
	}
	return fmt.Errorf("no packet has both %v and %v, which are of different families", first, a)
}

// comparison compares a record with a Match. It either collects a row for each field, or only finds out whether one
// differs, without formatting anything.
type comparison struct {
	collect bool
	prefix  string // of the field names
	rows    Rows
	differs bool
}

// add compares one field. present is false if the packet has no such field. text formats both sides of the row.
func (c *comparison) add(field string, present, equal bool, text func() (want, got string)) {
	differs := !present || !equal
	c.differs = c.differs || differs
	if !c.collect {
		return
	}
	want, got := text()
	if !present {
		got = absent
	}
	c.rows = append(c.rows, Row{c.prefix + field, want, got, differs})
}

// addNumber compares a number that may be absent in the Match and in the packet.
func addNumber[T uint8 | uint16 | uint32](c *comparison, field string, present bool, want *T, got T) {
	if want != nil {
		c.add(field, present, *want == got, func() (string, string) { return fmt.Sprint(*want), fmt.Sprint(got) })
	}
}

func (c *comparison) record(m *Match, r Record) {
	p := r.ip()
	for _, part := range [...]func(){
		func() { c.link(m, r) },
		func() { c.network(m, p) },
		func() { c.tcp(m, p) },
		func() { c.icmp(m, p) },
		func() { c.data(m, p) },
		func() { c.about(m, p) },
		func() { c.exactly(m, r.Packet) },
	} {
		if part(); c.differs && !c.collect {
			break
		}
	}
	if m.Is != nil {
		if err := m.Is(r.Packet); err != nil {
			c.add("is", true, false, func() (string, string) { return "as it should be", err.Error() })
		}
	}
}

// link compares the link and the Ethernet header.
func (c *comparison) link(m *Match, r Record) {
	name := func(field, want string, d Dir) {
		if want == "" {
			return
		}
		c.add(field, r.Dir != DirUnknown, r.Dir == d && r.Link == want, func() (string, string) {
			if r.Dir == d {
				return want, r.Link
			}
			return want, fmt.Sprintf("%s %v", r.Link, r.Dir)
		})
	}
	name("in", m.In, In)
	name("out", m.Out, Out)
	if m.EtherType != 0 {
		c.add("ether type", true, m.EtherType == r.EtherType, func() (string, string) {
			return fmt.Sprintf("%#04x", m.EtherType), fmt.Sprintf("%#04x", r.EtherType)
		})
	}
	if m.SrcMAC != (nf.MAC{}) {
		c.add("src mac", true, m.SrcMAC == r.SrcMAC(), func() (string, string) { return m.SrcMAC.String(), r.SrcMAC().String() })
	}
	if m.DstMAC != (nf.MAC{}) {
		c.add("dst mac", true, m.DstMAC == r.DstMAC(), func() (string, string) { return m.DstMAC.String(), r.DstMAC().String() })
	}
	if m.VLAN != 0 {
		tags := append(r.VLANs(), 0)
		c.add("vlan", len(tags) > 1, m.VLAN == tags[0], func() (string, string) { return fmt.Sprint(m.VLAN), fmt.Sprint(tags[0]) })
	}
}

func (c *comparison) network(m *Match, p Packet) {
	v, tuple := header.Parse(p), p.Tuple()
	present := tuple.Src.Addr().IsValid()
	if m.Proto != 0 {
		c.add("proto", present, m.Proto == tuple.Proto, func() (string, string) { return m.Proto.String(), tuple.Proto.String() })
	}
	c.endpoint("src", m.Src, tuple.Src)
	c.endpoint("dst", m.Dst, tuple.Dst)
	c.prefixed("src", m.SrcNet, tuple.Src.Addr())
	c.prefixed("dst", m.DstNet, tuple.Dst.Addr())
	if m.Tuple != (nf.Tuple{}) {
		c.add("tuple", present, m.Tuple == tuple, func() (string, string) {
			return fmt.Sprintf("%v %v", m.Tuple.Proto, m.Tuple), fmt.Sprintf("%v %v", tuple.Proto, tuple)
		})
	}
	var ttl, tos uint8
	if present {
		ttl, tos = p[v.TTLAt()], v.TOS(p)
	}
	addNumber(c, "ttl", present, m.TTL, ttl)
	addNumber(c, "tos", present, m.TOS, tos)
}

// endpoint compares an address, a port or both.
func (c *comparison) endpoint(field string, want, got netip.AddrPort) {
	a := want.Addr().Unmap()
	present := got.Addr().IsValid()
	switch {
	case a.IsValid() && want.Port() != 0:
		want = netip.AddrPortFrom(a, want.Port())
		c.add(field, present, want == got, func() (string, string) { return want.String(), got.String() })
	case a.IsValid():
		c.add(field, present, a == got.Addr(), func() (string, string) { return a.String(), got.Addr().String() })
	case want.Port() != 0:
		c.add(field+" port", present, want.Port() == got.Port(), func() (string, string) {
			return fmt.Sprint(want.Port()), fmt.Sprint(got.Port())
		})
	}
}

// prefixed compares an address with a prefix that should contain it.
func (c *comparison) prefixed(field string, want netip.Prefix, got netip.Addr) {
	if !want.IsValid() {
		return
	}
	in := want.Contains(got)
	c.add(field, got.IsValid(), in, func() (string, string) {
		if in {
			return want.String(), want.String()
		}
		return want.String(), got.String()
	})
}

func (c *comparison) tcp(m *Match, p Packet) {
	got, present := p.TCP()
	if mask := m.FlagsMask; m.Flags|mask != 0 {
		if mask == 0 {
			mask = 0xff
		}
		c.add("flags", present, (got.Flags^m.Flags)&mask == 0, func() (string, string) {
			return "[" + m.Flags.String() + "]", "[" + got.Flags.String() + "]"
		})
	}
	addNumber(c, "seq", present, m.Seq, got.Seq)
	addNumber(c, "ack", got.Flags.Contains(FlagACK), m.Ack, got.Ack)
	addNumber(c, "win", present, m.Window, got.Window)
	for _, want := range m.Options {
		var o TCPOption // the equal one, else the last of its kind
		present, equal := false, false
		for _, other := range got.Options {
			if other.Kind == want.Kind && !equal {
				o, present, equal = other, true, bytes.Equal(other.Data, want.Data)
			}
		}
		c.add("option", present, equal, func() (string, string) {
			return pktline.Option(want.Kind, want.Data), pktline.Option(o.Kind, o.Data)
		})
	}
}

func (c *comparison) icmp(m *Match, p Packet) {
	tuple, v := p.Tuple(), header.Parse(p)
	proto, got := uint8(tuple.Proto), tuple.ICMP
	message := v.Body(p)
	present := tuple.Proto.IsICMP() && len(message) >= header.ICMPSize
	addNumber(c, "icmp type", present, m.ICMPType, got.Type)
	addNumber(c, "icmp code", present, m.ICMPCode, got.Code)
	addNumber(c, "icmp id", present && header.IsQuery(proto, got.Type), m.ICMPID, got.ID)
	if m.MTU != nil {
		mtu, ok := mtuOf(tuple, message)
		addNumber(c, "mtu", ok, m.MTU, mtu)
	}
	if m.Gateway.IsValid() {
		gateway, ok := gatewayOf(tuple, message)
		c.add("gateway", ok, m.Gateway == gateway, func() (string, string) { return m.Gateway.String(), gateway.String() })
	}
}

// mtuOf returns the MTU in an ICMP error: fragmentation needed, packet too big.
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

// gatewayOf returns the router that a redirect names.
func gatewayOf(t nf.Tuple, message []byte) (netip.Addr, bool) {
	switch {
	case t.Proto == nf.ICMP && t.ICMP.Type == 5 && len(message) >= header.ICMPSize:
		return netip.AddrFrom4([4]byte(message[4:])), true
	case t.Proto == nf.ICMPv6 && t.ICMP.Type == 137 && len(message) >= 40: // RFC 4861, 4.5
		return netip.AddrFrom16([16]byte(message[8:])), true
	}
	return netip.Addr{}, false
}

func (c *comparison) data(m *Match, p Packet) {
	data := p.Data()
	if m.Payload != nil {
		want := m.Payload
		if c.prefix != "" { // a quote may be truncated
			want = want[:min(len(want), len(data))]
		}
		c.add("payload", true, bytes.Equal(want, data), func() (string, string) { return clipped(want, data) })
	}
	if m.Contains != "" {
		found := bytes.Contains(data, []byte(m.Contains))
		c.add("contains", true, found, func() (want, got string) {
			want = fmt.Sprintf("%q", m.Contains)
			if found {
				return want, want
			}
			_, got = clipped(nil, data)
			return want, got
		})
	}
}

func (c *comparison) about(m *Match, p Packet) {
	if m.About == nil {
		return
	}
	quoted := p.quoted()
	if quoted == nil {
		c.add("about", false, false, func() (string, string) { return "a packet", "" })
		return
	}
	inner := comparison{collect: c.collect, prefix: c.prefix + "about "}
	inner.record(m.About, quoted.On("", DirUnknown))
	c.rows, c.differs = append(c.rows, inner.rows...), c.differs || inner.differs
}

// exactly compares all bytes; of a truncated quote those that are there, but at least the 28 that RFC 792 requires.
func (c *comparison) exactly(m *Match, p Packet) {
	const minQuote = 20 + 8
	want := m.Exactly
	if c.prefix != "" && len(p) >= min(minQuote, len(want)) {
		want = want[:min(len(want), len(p))]
	}
	switch {
	case m.Exactly == nil:
	case bytes.Equal(want, p):
		c.add("packet", true, true, func() (string, string) { return "exactly that", "exactly that" })
	default:
		c.differs = true
		if c.collect {
			c.rows = slices.Concat(c.rows, diffFields(c.prefix, want, p))
		}
	}
}
