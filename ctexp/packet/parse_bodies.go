package packet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// typed reads a packet whose line begins with its protocol.
func (s *scanner) typed(name string) Packet {
	proto, ok := map[string]nf.Proto{
		"tcp": nf.TCP, "udp": nf.UDP, "udplite": nf.UDPLite, "icmp": nf.ICMP, "icmpv6": nf.ICMPv6, "icmp6": nf.ICMPv6,
		"sctp": nf.SCTP, "dccp": nf.DCCP, "gre": nf.GRE, "igmp": header.ProtoIGMP,
	}[name]
	if !ok {
		s.at -= len(name)
		s.refuseARP()
		s.fail("is not what a packet begins with: want IP, IP6, tcp, udp, udplite, icmp, sctp, dccp, gre or igmp")
		return nil
	}
	s.peek()
	at := s.at
	f := s.flow()
	if s.err == nil && proto.HasPorts() && (f.Src.Port() == 0 || f.Dst.Port() == 0) {
		s.at = at
		s.fail("want a port with each address, as in 192.0.2.1:80 or [2001:db8::1]:80")
	}
	if s.err != nil {
		return nil
	}
	c := &common{length: -1}
	switch proto {
	case nf.DCCP:
		return s.dccp(f, c, s.word())
	case nf.GRE:
		return s.gre(f, c, "GREv0")
	}
	return s.ofProto(proto, f, c)
}

// ofProto reads what follows the name of a protocol.
func (s *scanner) ofProto(proto nf.Proto, f Flow, c *common) Packet {
	switch proto {
	case nf.TCP:
		return s.tcp(f, c)
	case nf.UDP:
		return s.udp(f, c)
	case nf.UDPLite:
		return s.udplite(f, c)
	case nf.SCTP:
		return s.sctp(f, c)
	case header.ProtoIGMP:
		return s.igmp(f, c)
	default:
		return s.icmp(f, c)
	}
}

// extensions are the words for the extension headers of IPv6.
var extensions = map[string]func() Change{
	"HBH":    func() Change { return HopByHop() },
	"DSTOPT": func() Change { return DestinationOptions() },
	"RT":     func() Change { return Routing(4, 0, make([]byte, 4+16)...) },
	"AH":     func() Change { return AH(1, 1, make([]byte, 12)...) },
}

// body reads what follows the addresses of a line as String prints it.
func (s *scanner) body(f Flow) Packet {
	c := &common{length: -1}
	for {
		change, ok := s.extension()
		if !ok {
			break
		}
		c.changes = append(c.changes, change)
	}
	if s.fragmentBehind(c) && s.peek() == "" {
		return s.finish(f.Raw(nf.UDP, make([]byte, c.fragSize)), c)
	}
	if c.fragment || len(c.changes) > 0 {
		f = s.portsBehind(f)
	}
	s.ends = f
	first := s.peek()
	switch {
	case first == "IP" || first == "IP6":
		inner := s.inner()
		proto := map[string]nf.Proto{"IP": header.ProtoIPIP, "IP6": header.ProtoIPv6}[first]
		return s.finish(f.Raw(proto, inner), c)
	case first == "Flags":
		return s.tcp(f, c)
	case first == "DCCP" && s.accept("DCCP"): // tcpdump says it twice
		return s.dccp(f, c, s.word())
	}
	proto, ok := map[string]nf.Proto{
		"tcp": nf.TCP, "UDP": nf.UDP, "UDP-Lite": nf.UDPLite, "ICMP": nf.ICMP, "ICMP6": nf.ICMPv6, "sctp": nf.SCTP, "igmp": header.ProtoIGMP,
	}[s.word()]
	switch {
	case ok && s.peek() == "": // so much is shown of a header that is cut
		return s.finish(f.Raw(proto, f.cutHeader()), c)
	case ok:
		return s.ofProto(proto, f, c)
	}
	switch {
	case strings.HasPrefix(first, "DCCP-"):
		return s.dccp(f, c, first)
	case strings.HasPrefix(first, "GREv"):
		return s.gre(f, c, first)
	}
	s.at -= len(first)
	return s.other(f, c)
}

// cutHeader is what there is of a transport header of which only the ports are known, if it has any.
func (f Flow) cutHeader() []byte {
	if f.Src.Port() == 0 && f.Dst.Port() == 0 {
		return nil
	}
	return f.ports()
}

// other reads the body of a protocol of which only the name is shown, or of a datagram whose contents tcpdump has decoded.
func (s *scanner) other(f Flow, c *common) Packet {
	proto, ok := uint8(header.ProtoNoNext), s.accept("no", "next", "header")
	if !ok {
		proto, ok = s.numbered(c)
	}
	if !ok {
		if proto, ok = pktline.ProtoNamed(s.peek()); ok {
			s.word()
		}
	}
	if p, decoded := s.decodedProtocol(f, c); !ok && decoded {
		return p
	}
	if !ok && f.Src.Port() != 0 {
		return s.decoded(f, c)
	}
	if !ok {
		s.fail("is no protocol whose packets can be made from a line")
		return nil
	}
	for s.field(c) {
	}
	payload := s.data(c, 0)
	if c.fragment && payload == nil {
		payload = make([]byte, c.fragSize)
	}
	return s.finish(f.Raw(nf.Proto(proto), payload), c)
}

func (s *scanner) tcp(f Flow, c *common) Packet {
	seg := TCP{Window: 65535}
	seq, ack := false, false
	last := uint64(0) // the number behind the payload; 0: the line has none
	for s.err == nil {
		flags, isFlags := flagsNamed(s.peek())
		switch {
		case s.peek() == "Flags":
			s.names(c, s.at, "flags")
			s.word()
			inside := s.group('[')
			if seg.Flags, isFlags = flagsNamed(inside.peek()); !isFlags {
				inside.fail("want the flags as tcpdump writes them: S, S., F., R, P., U, E, W or none")
			}
			inside.word()
			s.end(inside)
		case isFlags:
			s.names(c, s.at, "flags")
			s.word()
			seg.Flags = flags
		case s.says(c, "seq", "seq"):
			if seg.Seq, last = s.sequence(); last > 0 {
				s.named = append(s.named, "length")
			}
			seq = true
		case s.says(c, "ack", "ack"):
			seg.Ack, ack = uint32(s.numberOf(32)), true
		case s.says(c, "win", "win"):
			if seg.Window = uint16(s.numberOf(16)); seg.Window == 0 {
				c.changes = append(c.changes, Window(0))
			}
		case s.says(c, "urg", "urgent"):
			seg.Urgent = uint16(s.numberOf(16))
		case s.says(c, "options", "options"):
			inside := s.group('[')
			seg.Options = inside.options()
			s.end(inside)
		case s.field(c), s.isRest(c):
		default:
			return s.segment(f, c, seg, seq, ack, last)
		}
	}
	return nil
}

// segment makes the segment, with the numbers of the builders where the line has none.
func (s *scanner) segment(f Flow, c *common, seg TCP, seq, ack bool, last uint64) Packet {
	if !seq && !seg.Flags.Contains(FlagSYN) {
		seg.Seq = 2
	} else if !seq {
		seg.Seq = 1
	}
	if !ack && seg.Flags.Contains(FlagACK) {
		seg.Ack = 2
	}
	if last > 0 && c.length < 0 {
		c.length = int(uint32(last) - seg.Seq)
	}
	seg.Payload = s.data(c, 0)
	if last > 0 && s.err == nil && uint32(last) != seg.Seq+uint32(len(seg.Payload)) {
		s.fail("seq %d:%d is not of %d bytes", seg.Seq, last, len(seg.Payload))
	}
	if s.err != nil {
		return nil
	}
	return s.finish(f.TCP(seg), c)
}

// sequence reads 2 or 2:7.
func (s *scanner) sequence() (first uint32, last uint64) {
	from, to, isRange := strings.Cut(s.peek(), ":")
	if !isRange {
		return uint32(s.numberOf(32)), 0
	}
	n, err := strconv.ParseUint(from, 10, 32)
	m, merr := strconv.ParseUint(to, 10, 32)
	if err != nil || merr != nil || uint32(m)-uint32(n) > MaxLength {
		s.fail("want two numbers of a segment, as in 2:7")
		return 0, 0
	}
	s.word()
	return uint32(n), m
}

// flagsNamed returns the flags of "S.", "SA", "none" or "SYN+ACK".
func flagsNamed(text string) (flags TCPFlags, ok bool) {
	if text == "none" {
		return 0, true
	}
	for name := range strings.SplitSeq(text, "+") {
		i := slices.Index([]string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"}, name)
		if i < 0 {
			flags = 0
			break
		}
		flags |= 1 << i
	}
	if flags != 0 {
		return flags, true
	}
	for _, c := range strings.ReplaceAll(text, "A", ".") {
		i := strings.IndexRune(pktline.FlagLetters, c)
		if i < 0 {
			return 0, false
		}
		flags |= 1 << i
	}
	return flags, text != ""
}

func (s *scanner) udp(f Flow, c *common) Packet {
	for s.err == nil {
		switch {
		case s.says(c, "bad length", "udp length"):
			c.changes = append(c.changes, UDPLength(uint16(s.numberOf(16))))
		case s.field(c):
		default:
			return s.finish(f.UDP(s.data(c, 0)), c)
		}
	}
	return nil
}

func (s *scanner) udplite(f Flow, c *common) Packet {
	coverage := uint16(0)
	for s.err == nil {
		switch {
		case s.says(c, "bad coverage", "coverage"):
			c.changes = append(c.changes, UDPLength(uint16(s.numberOf(16))))
		case s.says(c, "coverage", "coverage"):
			coverage = uint16(s.numberOf(16))
		case s.field(c):
		default:
			return s.finish(f.UDPLite(coverage, s.data(c, 0)), c)
		}
	}
	return nil
}

// message is what a line tells of a message of ICMP or ICMPv6.
type message struct {
	typ, code uint8
	word      uint32 // the second one of the header
	body      []byte // what follows it
}

func (s *scanner) icmp(f Flow, c *common) Packet {
	v6 := nf.FamilyOf(f.Src.Addr()) == nf.IPv6
	m, quoted, ok := s.icmpForm(f, v6)
	least, told := 0, false // of the length: header, header of the quoted packet, and its ports
	if ok && quoted != nil {
		least, told = 8+header.Parse(quoted).Header+8, !quoted.Tuple().Dst.Addr().IsUnspecified()
	}
	if !ok {
		m.typ, m.code = s.icmpKind(v6)
	}
	isEcho := pktline.IsEcho(v6, m.typ)
	if isEcho {
		m.word = 1<<16 | 1
	}
	for s.err == nil {
		switch {
		case isEcho && s.says(c, "id", "query id"):
			m.word = uint32(s.numberOf(16))<<16 | m.word&0xffff
		case isEcho && s.says(c, "seq", "seq"):
			m.word = m.word&^0xffff | uint32(s.numberOf(16))
		case s.says(c, "mtu", "rest"):
			m.word = uint32(s.numberOf(32))
		case s.says(c, "to", "rest", "target"):
			s.gateway(&m, v6)
		case s.says(c, "who has", "payload"), s.says(c, "tgt is", "payload"):
			m.body = append(m.body, s.endpoint().Addr().AsSlice()...)
		case s.says(c, "for"):
			inside := s.group('(')
			if quoted = inside.cutQuote(); quoted == nil {
				quoted = inside.packet()
				inside.named = append(inside.named, identity...)
			}
			for _, name := range append(inside.named, "bytes") {
				s.named = append(s.named, "about "+name)
			}
			s.end(inside)
		case s.field(c):
		case c.length >= 0 && c.length < least && !told:
			least, quoted = 0, nil
		case c.length >= 0 && c.length < least:
			s.fail("length %d is less than the %d bytes of what is told of the quoted packet", c.length, least)
		default:
			return s.icmpMessage(f, c, m, quoted)
		}
	}
	return nil
}

// gateway reads the address that a redirect names.
func (s *scanner) gateway(m *message, v6 bool) {
	a := s.endpoint().Addr()
	switch {
	case s.err != nil:
	case a.Is4() == v6:
		s.fail("%v is of another family", a)
	case v6:
		m.body = a.AsSlice()
	default:
		m.word = binary.BigEndian.Uint32(a.AsSlice())
	}
}

// icmpKind reads the longest name of a type and code that is next. Without a name it is an echo request.
func (s *scanner) icmpKind(v6 bool) (typ, code uint8) {
	if s.accept("type") {
		typ = uint8(s.numberOf(8))
		if s.accept("code") {
			code = uint8(s.numberOf(8))
		}
		return typ, code
	}
	begin, longest := s.at, -1
	name := ""
	for {
		w := s.peek()
		if w == "" || w[0] == '(' {
			break
		}
		name = strings.TrimPrefix(name+" "+w, " ")
		s.word()
		if t, c, ok := pktline.ICMPNamed(v6, name); ok {
			typ, code, longest = t, c, s.at
		}
		if strings.HasPrefix(s.line[s.at:], ",") {
			break
		}
	}
	if longest < 0 {
		s.at = begin
		typ, code, _ = pktline.ICMPNamed(v6, "echo request")
		return typ, code
	}
	s.at = longest
	if s.accept("code") {
		code = uint8(s.numberOf(8))
	}
	return typ, code
}

func (s *scanner) icmpMessage(f Flow, c *common, m message, quoted Packet) Packet {
	v6 := nf.FamilyOf(f.Src.Addr()) == nf.IPv6
	const icmpHeader = 8
	if v6 && m.typ == layers.ICMPv6TypeRedirect && quoted != nil { // RFC 4861, 4.5
		m.body = append(append(m.body, quoted.Tuple().Dst.Addr().AsSlice()...), 4, 0, 0, 0, 0, 0, 0, 0)
	}
	m.body = append(m.body, quoted...)
	switch {
	case c.payload != nil:
		m.body = append(m.body, s.data(c, icmpHeader+len(m.body))...)
	case c.length >= icmpHeader: // of what it quotes there may be a part
		m.body = append(m.body, make([]byte, max(0, c.length-icmpHeader-len(m.body)))...)[:c.length-icmpHeader]
	case c.length >= 0:
		s.fail("length %d is less than the %d bytes of the header", c.length, icmpHeader)
	}
	if s.err != nil {
		return nil
	}
	if v6 && m.typ == layers.ICMPv6TypeRedirect && quoted != nil && len(m.body) > 33 {
		m.body[33] = byte((len(m.body) - 32) / 8) // the length of the option that quotes
	}
	if v6 {
		body := append(binary.BigEndian.AppendUint32(nil, m.word), m.body...)
		if m.typ >= layers.ICMPv6TypeRouterSolicitation && m.typ <= layers.ICMPv6TypeRedirect {
			c.changes = append([]Change{TTL(255)}, c.changes...)
		}
		return s.finish(mustBuild(network(f.Src.Addr(), f.Dst.Addr(), nf.ICMPv6),
			&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(m.typ, m.code)}, gopacket.Payload(body)), c)
	}
	return s.finish(mustBuild(network(f.Src.Addr(), f.Dst.Addr(), nf.ICMP),
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(m.typ, m.code), Id: uint16(m.word >> 16), Seq: uint16(m.word)},
		gopacket.Payload(m.body)), c)
}

func (s *scanner) sctp(f Flow, c *common) Packet {
	tag := uint32(0)
	chunks, _ := s.tcpdumpChunks()
	for s.err == nil {
		switch {
		case s.says(c, "tag", "tag"):
			tag = uint32(s.numberOf(32))
		case strings.HasPrefix(s.peek(), "["):
			inside := s.group('[')
			chunks = append(chunks, inside.chunk())
			s.end(inside)
			s.named = append(s.named, fmt.Sprintf("chunk %d", len(chunks)))
		case s.field(c):
		default:
			s.noPayload(c, "a packet of chunks")
			s.fillChunks(chunks, c, len(f.SCTP(tag, chunks...))-len(f.SCTP(tag))+12)
			if s.err != nil {
				return nil
			}
			return s.finish(f.SCTP(tag, chunks...), c)
		}
	}
	return nil
}

// chunk reads what stands in the brackets of a chunk.
func (s *scanner) chunk() SCTPChunk {
	number := func(words ...string) uint32 {
		if !s.accept(words...) {
			s.fail("want %s", strings.Join(words, " "))
		}
		return uint32(s.numberOf(32))
	}
	switch {
	case s.accept("DATA"):
		tsn, stream, seq := number("tsn"), number("stream"), number("seq")
		n := s.numberOf(16)
		if !s.accept("bytes") {
			s.fail("want bytes")
		}
		if s.err != nil {
			return SCTPChunk{}
		}
		return SCTPData(tsn, uint16(stream), uint16(seq), make([]byte, n))
	case s.accept("INIT", "ACK"):
		return SCTPInitAck(number("tag"), number("tsn"), nil)
	case s.accept("INIT"):
		return SCTPInit(number("tag"), number("tsn"))
	case s.accept("SACK"):
		return SCTPSack(number("tsn"))
	case s.accept("HB", "REQ"):
		return SCTPHeartbeat(nil)
	case s.accept("HB", "ACK"):
		return SCTPHeartbeatAck(nil)
	case s.accept("ABORT"):
		return SCTPAbort()
	case s.accept("SHUTDOWN", "ACK"):
		return SCTPShutdownAck()
	case s.accept("SHUTDOWN", "COMPLETE"):
		return SCTPShutdownComplete()
	case s.accept("SHUTDOWN"):
		return SCTPShutdown(number("tsn"))
	case s.accept("COOKIE", "ECHO"):
		return SCTPCookieEcho(nil)
	case s.accept("COOKIE", "ACK"):
		return SCTPCookieAck()
	}
	s.fail("is no chunk whose bytes are known")
	return SCTPChunk{}
}

// fillChunks gives the bytes of which the line has only the number, such as a cookie, to the first chunk that can have them.
func (s *scanner) fillChunks(chunks []SCTPChunk, c *common, size int) {
	rest := c.length - size
	switch {
	case s.err != nil || c.length < 0 || rest == 0:
		return
	case rest > 0:
		for i, chunk := range chunks {
			switch chunk.Type {
			case sctpInitAck, sctpCookieEcho, sctpHeartbeat, sctpHeartbeatAck, sctpAbort:
				chunks[i].Value = append(chunk.Value, make([]byte, rest)...)
				return
			}
		}
	}
	s.fail("length %d is not that of the chunks, %d", c.length, size)
}

func (s *scanner) dccp(f Flow, c *common, name string) Packet {
	i := 0
	for ; i <= int(DCCPSyncAck); i++ {
		if strings.EqualFold(strings.TrimPrefix(name, "DCCP-"), strings.TrimPrefix(DCCPType(i).String(), "DCCP-")) {
			break
		}
	}
	m := DCCP{Type: DCCPType(i), Seq: 1, Ack: 1}
	if i > int(DCCPSyncAck) {
		s.at -= len(name)
		s.fail("want the type of the packet: request, response, data, ack, …")
		return nil
	}
	for s.err == nil {
		switch {
		case s.says(c, "seq", "seq"):
			m.Seq = s.numberOf(48)
		case s.says(c, "ack", "ack"):
			m.Ack = s.numberOf(48)
		case s.says(c, "service", "service"):
			m.Service = uint32(s.numberOf(32))
		case s.says(c, "code", "reset code"):
			m.ResetCode = uint8(s.numberOf(8))
		case s.dccpValue(&m), s.field(c):
		default:
			m.Payload = s.data(c, 0)
			return s.finish(f.DCCP(m), c)
		}
	}
	return nil
}

func (s *scanner) gre(f Flow, c *common, name string) Packet {
	m, call, proto := GRE{}, uint16(0), uint16(0)
	var ack *uint32
	var inner Packet
	for s.err == nil {
		switch {
		case s.says(c, "key", "key"):
			m.Key = new(uint32(s.numberOf(32)))
		case s.says(c, "call", "key"):
			call = uint16(s.numberOf(16))
		case s.says(c, "seq", "seq"):
			m.Seq = new(uint32(s.numberOf(32)))
		case s.says(c, "ack", "ack"):
			ack = new(uint32(s.numberOf(32)))
		case s.says(c, "proto", "gre protocol"):
			proto = uint16(s.numberOf(16))
		case s.printed && s.accept("off", "0x0"), s.printed && s.accept("no-payload"):
		case s.printed && strings.HasPrefix(s.peek(), "key=0x"):
			s.names(c, s.at, "key", "key")
			s.at += len("key=")
			m.Key = new(uint32(s.numberOf(32)))
		case s.says(c, ":"):
			if other, ok := s.greRest(); ok {
				proto = other
			} else {
				inner = s.inner()
			}
		case s.field(c):
		case name == "GREv1":
			return s.pptp(f, c, PPTP{CallID: call, Ack: ack}, m.Seq)
		default:
			if inner != nil {
				s.noPayload(c, "a packet that carries another")
			}
			m.Protocol, m.Payload = proto, inner
			size := 4
			for _, has := range []*uint32{m.Key, m.Seq} {
				if has != nil {
					size += 4
				}
			}
			m.Checksum = inner != nil && c.length == size+4+len(inner)
			if inner == nil {
				m.Payload = s.data(c, size)
			}
			return s.finish(f.GRE(m), c)
		}
	}
	return nil
}

// pptp makes a packet of GRE version 1. One without a payload has no sequence number.
func (s *scanner) pptp(f Flow, c *common, m PPTP, seq *uint32) Packet {
	size := 8
	if seq != nil {
		m.Seq = *seq
		size += 4
	}
	if m.Ack != nil {
		size += 4
	}
	m.Payload = s.data(c, size)
	if seq == nil && len(m.Payload) > 0 || seq != nil && len(m.Payload) == 0 {
		s.fail("a packet has a payload and seq, or neither")
		return nil
	}
	return s.finish(f.PPTP(m), c)
}

func (s *scanner) igmp(f Flow, c *common) Packet {
	group := netip.IPv4Unspecified()
	typ := IGMPType(0)
	switch {
	case s.accept("query"):
		typ = IGMPQuery
		s.igmpVersion(&group)
		s.accept("for")
	case s.accept("v2", "report"), s.accept("report"):
		typ = IGMPReport
	case s.accept("leave"):
		typ = IGMPLeave
	case s.accept("v3", "report"):
		typ = IGMPv3Report
		s.named = append(s.named, "payload")
	default:
		s.fail("want query, report, v3 report or leave")
	}
	if e, ok := parseEndpoint(strings.TrimSuffix(s.peek(), ",")); ok {
		s.word()
		group = e.Addr()
	}
	for s.err == nil {
		switch {
		case s.accept("1", "group", "record(s)"):
		case s.field(c):
		default:
			s.noPayload(c, "a message of IGMP")
			return s.finish(IGMP(f.Src.Addr(), typ, group), c)
		}
	}
	return nil
}
