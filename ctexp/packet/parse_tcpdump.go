package packet

import (
	"encoding/binary"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// What tcpdump -n prints otherwise than String does, because it shows other parts of a packet: not the verification tag of SCTP, the
// sequence number of DCCP and the packet that an ICMP error is about, but what it has decoded of a payload (print-*.c).

var (
	ethernetHeader = regexp.MustCompile(`^.*\bethertype IPv[46] \(0x[0-9a-f]{4}\)(?:, length [0-9]+:|,) `)
	verboseHeader  = regexp.MustCompile(`^\((?:tos|hlim|class|flowlabel) 0?x?[0-9a-f]+[,)]`)
)

// skipEthernet goes on behind what tcpdump -e prints of Ethernet: "02:…:01 > 02:…:02, ethertype IPv4 (0x0800), length 54: ".
func (s *scanner) skipEthernet() bool {
	header := ethernetHeader.FindString(s.line[s.at:])
	s.at += len(header)
	return header != ""
}

// refuseARP fails if the line is of ARP, with or without -e.
func (s *scanner) refuseARP() {
	if arp := arpLine.FindStringIndex(s.line); arp != nil {
		s.at = arp[0]
		s.fail("is no IP, and rules and conntrack see none of it")
	}
}

var arpLine = regexp.MustCompile(`\bARP(?:, | \(0x0806\))`)

// isRest reports whether what follows is only what tcpdump has decoded of a payload whose length the line has told, and goes to
// the end of the line then: "length 77: HTTP: GET / HTTP/1.1", "length 31 12345+ A? example.com. (29)".
func (s *scanner) isRest(c *common) bool {
	s.peek()
	text := strings.TrimRight(s.line[s.at:], blanks)
	if !s.printed || c.length < 0 || !strings.HasPrefix(text, ":") && !decodedDNS.MatchString(text) {
		return false
	}
	s.at = len(s.line)
	return true
}

var (
	decodedDNS = regexp.MustCompile(`^[0-9]+[-+*|$%]* .*\([0-9]+\)$`)
	// flagsBehind and otherProtocol are beginnings of lines that are of no datagram, but of another protocol that is spelled wrong.
	flagsBehind   = regexp.MustCompile(`^[A-Za-z]+:? \[([SFRPUEW.]+|none)\]`)
	otherProtocol = regexp.MustCompile(`(?i)^(tcp|udp|udp-?lite|icmp6?|icmpv6|sctp|dccp|gre|igmp|ip6?)\b[,: ]`)
	// decodedLength is the length of a datagram whose contents tcpdump has decoded.
	decodedLength = regexp.MustCompile(`\(([0-9]+)\)$|[ ,]length:? ([0-9]+)(?:$|,)`)
	// decodedAs is how lines begin of what tcpdump has decoded without saying how long it is.
	decodedAs = regexp.MustCompile(`^(?:isakmp:|SIP$|VXLAN,|Geneve|dhcp6 |RIPv|sFlow|NBT |C=|GetRequest|HSRP|RADIUS|\[\|[a-z0-9]+\]|\[len[0-9]+<asnlen[0-9]+\]|\(invalid\)$)`)
)

// decoded reads what tcpdump has printed of a datagram's contents, at whose end its length stands: "NTPv4, Client, length 48".
func (s *scanner) decoded(f Flow, c *common) Packet {
	text := strings.TrimRight(s.line[s.at:], blanks)
	m := decodedLength.FindStringSubmatch(text)
	_, isFlags := flagsNamed(strings.Trim(s.peek(), "[]"))
	switch {
	case isFlags, flagsBehind.MatchString(text), otherProtocol.MatchString(text):
		s.fail("is no packet whose fields are known: want Flags [S], UDP and so on, as String prints them")
		return nil
	case m == nil && decodedAs.MatchString(text):
		s.at = len(s.line)
		return s.finish(f.UDP(nil), c)
	case m == nil:
		s.fail("is no packet whose fields are known")
		return nil
	}
	n, err := strconv.ParseUint(m[1]+m[2], 10, 16)
	if err != nil {
		s.fail("is no packet whose length is known")
		return nil
	}
	s.at = len(s.line)
	s.named = append(s.named, "length")
	return s.finish(f.UDP(make([]byte, n)), c)
}

// decoders are the protocols that tcpdump decodes, so that it prints no length of theirs.
var decoders = []nf.Proto{nf.ICMP, header.ProtoIGMP, header.ProtoIPIP, nf.TCP, nf.UDP, nf.DCCP, header.ProtoIPv6, nf.GRE, nf.ICMPv6, nf.SCTP}

// numbered reads the number of a protocol and of the bytes of its payload: "ip-proto-253 5".
func (s *scanner) numbered(c *common) (proto uint8, ok bool) {
	begin := s.at
	number, ok := strings.CutPrefix(s.peek(), "ip-proto-")
	n, err := strconv.ParseUint(number, 10, 8)
	if !ok || err != nil {
		return 0, false
	}
	s.word()
	if slices.Contains(decoders, nf.Proto(n)) { // of a fragment that is not the first
		return uint8(n), true
	}
	if length, err := strconv.ParseUint(s.peek(), 10, 16); err == nil {
		s.word()
		if s.accept("bytes", "missing") { // of a packet without a payload
			s.at = begin
			s.word()
		} else if c.length = int(length); nf.Proto(n).HasPorts() && length < 8 {
			s.fail("has fewer bytes than a header of %v", nf.Proto(n))
		}
	}
	return uint8(n), true
}

// protocolForms are the lines of protocols that tcpdump decodes, and their numbers.
var protocolForms = []struct {
	*regexp.Regexp
	proto nf.Proto
}{
	{regexp.MustCompile(`^ESP\(spi=0x([0-9a-f]{8}),seq=0x([0-9a-f]+)\), length ([0-9]+)$`), 50},
	{regexp.MustCompile(`^EIGRP\b`), 88},
	{regexp.MustCompile(`^OSPFv[0-9]`), 89},
	{regexp.MustCompile(`^PIMv[0-9]`), 103},
	{regexp.MustCompile(`^IPComp\(`), 108},
	{regexp.MustCompile(`^(?:VRRP|CARP)v[0-9]`), 112},
}

// decodedProtocol reads what tcpdump prints of a protocol that it decodes. Of the contents there is the length, and the numbers of ESP.
func (s *scanner) decodedProtocol(f Flow, c *common) (Packet, bool) {
	s.peek()
	text := strings.TrimRight(s.line[s.at:], blanks)
	for _, form := range protocolForms {
		m := form.FindStringSubmatch(text)
		if m == nil || !s.printed {
			continue
		}
		s.at = len(s.line)
		if len(m) > 1 {
			s.named = append(s.named, "payload")
		}
		var body []byte
		for i := 1; i < len(m)-1; i++ {
			n, _ := strconv.ParseUint(m[i], 16, 32)
			body = binary.BigEndian.AppendUint32(body, uint32(n))
		}
		if l := decodedLength.FindStringSubmatch(text); l != nil {
			n, _ := strconv.ParseUint(l[1]+l[2], 10, 15)
			body = append(body, make([]byte, max(0, int(n)-len(body)))...)
		}
		return s.finish(f.Raw(form.proto, body), c), true
	}
	return nil, false
}

// fragmentBehind reads what tcpdump prints of a fragment header of IPv6: "frag (1448|528)". It does not tell whether more follow, which
// is so of the first.
func (s *scanner) fragmentBehind(c *common) bool {
	m := fragmentHeader.FindStringSubmatch(s.line[min(s.at, len(s.line)):])
	if m == nil || !s.printed {
		return false
	}
	offset, oerr := strconv.ParseUint(m[1], 10, 15)
	size, serr := strconv.ParseUint(m[2], 10, 15)
	if oerr != nil || serr != nil {
		return false
	}
	s.at += len(m[0])
	c.fragment, c.fragID, c.fragOffset, c.fragSize, c.more = true, 1, int(offset), int(size), offset == 0
	return true
}

var fragmentHeader = regexp.MustCompile(`^[ ,]*frag \(([0-9]+)\|([0-9]+)\)`)

// extension reads the name of an IPv6 extension header with what tcpdump tells of it: "HBH", "RT6 (len=2, type=4, …)",
// "AH(spi=0x00000001,seq=0x1,icv=0x000000000000000000000000):".
func (s *scanner) extension() (Change, bool) {
	name := s.peek()
	if i := strings.IndexByte(name, '('); i > 0 && s.printed {
		name = name[:i]
	}
	extension, ok := extensions[strings.TrimSuffix(name, "6")]
	if !ok {
		return Change{}, false
	}
	s.at += len(name)
	for s.printed && s.at < len(s.line) && (s.line[s.at] == '(' || s.line[s.at] == ':' || strings.HasPrefix(s.peek(), "(len=")) {
		if s.line[s.at] == ':' {
			s.at++
			continue
		}
		s.at += groupLength(s.line[s.at:])
	}
	return extension(), true
}

// portsBehind reads the ports that tcpdump prints behind extension headers: "10000 > 80:".
func (s *scanner) portsBehind(f Flow) Flow {
	m := portPair.FindStringSubmatch(s.line[min(s.at, len(s.line)):])
	if m == nil || !s.printed {
		return f
	}
	src, serr := strconv.ParseUint(m[1], 10, 16)
	dst, derr := strconv.ParseUint(m[2], 10, 16)
	if serr != nil || derr != nil {
		return f
	}
	s.at += len(m[0])
	return Flow{netip.AddrPortFrom(f.Src.Addr(), uint16(src)), netip.AddrPortFrom(f.Dst.Addr(), uint16(dst))}
}

var portPair = regexp.MustCompile(`^[ ,]*([0-9]+) > ([0-9]+):`)

// icmpForm is how tcpdump prints a message of ICMP. The groups of the expression are named: dst is where the packet went that the
// message is about, proto and port are those of that packet, n is the number in the second word of the header, shifted to its
// place. type and code are there where the line has only their numbers.
type icmpForm struct {
	*regexp.Regexp
	typ, code uint8
	shift     uint // of n
	quotes    bool // a packet, of which the line has nothing
}

// quoting returns a form of a message about a packet of which the line has nothing.
func quoting(text string, typ, code uint8, shift uint) icmpForm {
	f := form(text, typ, code, shift)
	f.quotes = true
	return f
}

func form(text string, typ, code uint8, shift uint) icmpForm {
	const addr = `(?P<dst>[0-9a-f.:]*[0-9a-f:])`
	text = strings.NewReplacer("DST", addr, "GATEWAY", `(?P<gateway>[0-9a-f.:]*[0-9a-f:])`, "PROTO", `(?P<proto>tcp|udp|protocol [0-9]+)`, "PORT", `(?P<port>[0-9]+)`, "CODE", `(?P<code>[0-9]+)`, "TYPE", `(?P<type>[0-9]+)`, "N", `(?P<n>[0-9]+)`).Replace(text)
	return icmpForm{Regexp: regexp.MustCompile(`^` + text + `(?:,|\s|$)`), typ: typ, code: code, shift: shift}
}

// The forms of both families (print-icmp.c, icmp_print; print-icmp6.c, icmp6_print). The first that fits is taken.
var (
	icmp4Forms = []icmpForm{
		form(`DST PROTO port PORT unreachable`, 3, 3, 0),
		form(`DST PROTO unreachable`, 3, 2, 0),
		form(`DST unreachable - need to frag(?: \(mtu N\))?`, 3, 4, 0),
		form(`DST unreachable - source route failed`, 3, 5, 0),
		form(`net DST unreachable - unknown`, 3, 6, 0),
		form(`host DST unreachable - unknown`, 3, 7, 0),
		form(`DST unreachable - source host isolated`, 3, 8, 0),
		form(`net DST unreachable - admin prohibited`, 3, 9, 0),
		form(`host DST unreachable - admin prohibited filter`, 3, 13, 0),
		form(`host DST unreachable - admin prohibited`, 3, 10, 0),
		form(`net DST unreachable - tos prohibited`, 3, 11, 0),
		form(`host DST unreachable - tos prohibited`, 3, 12, 0),
		form(`host DST unreachable - host precedence violation`, 3, 14, 0),
		form(`host DST unreachable - precedence cutoff`, 3, 15, 0),
		form(`net DST unreachable`, 3, 0, 0),
		form(`host DST unreachable`, 3, 1, 0),
		form(`redirect DST to net GATEWAY`, 5, 0, 0),
		form(`redirect DST to host GATEWAY`, 5, 1, 0),
		form(`redirect-tos DST to net GATEWAY`, 5, 2, 0),
		form(`redirect-tos DST to host GATEWAY`, 5, 3, 0),
		quoting(`time exceeded in-transit`, 11, 0, 0),
		quoting(`ip reassembly time exceeded`, 11, 1, 0),
		quoting(`source quench`, 4, 0, 0),
		quoting(`parameter problem - octet N`, 12, 0, 24),
		quoting(`parameter problem - code CODE`, 12, 0, 0),
		form(`time stamp reply id [0-9]+ seq [0-9]+: org [0-9:.]+, recv [0-9:.]+, xmit [0-9:.]+`, 14, 0, 0),
		form(`router advertisement lifetime [^]]*\]`, 9, 0, 0),
		form(`address mask is 0x[0-9a-f]+`, 18, 0, 0),
		form(`type-#TYPE`, 0, 0, 0),
	}
	icmp6Forms = []icmpForm{
		form(`destination unreachable, *unreachable route DST`, 1, 0, 0),
		form(`destination unreachable, *unreachable prohibited DST`, 1, 1, 0),
		form(`destination unreachable, *beyond scope DST, source address [0-9a-f:]+`, 1, 2, 0),
		form(`destination unreachable, *unreachable address DST`, 1, 3, 0),
		form(`destination unreachable, *DST PROTO port PORT unreachable`, 1, 4, 0),
		form(`destination unreachable, *unreachable port, DST PROTO port PORT`, 1, 4, 0),
		quoting(`destination unreachable, *unknown unreach code \(CODE\)`, 1, 0, 0),
		form(`time exceeded in-transit for DST`, 3, 0, 0),
		quoting(`time exceeded in-transit \(reassembly\)`, 3, 1, 0),
		quoting(`packet too big, mtu N`, 2, 0, 0),
		quoting(`parameter problem, erroneous - octet N`, 4, 0, 0),
		quoting(`parameter problem, next header - octet N`, 4, 1, 0),
		quoting(`parameter problem, option - octet N`, 4, 2, 0),
		form(`redirect, DST to GATEWAY`, layers.ICMPv6TypeRedirect, 0, 0),
		form(`multicast listener query v2 (?:\[[^]]*\] ?)*`, 130, 0, 0),
		form(`multicast listener query *max resp delay: [0-9]+ addr: [0-9a-f:]+`, 130, 0, 0),
		form(`multicast listener report *max resp delay: [0-9]+ addr: [0-9a-f:]+`, 131, 0, 0),
		form(`multicast listener done *max resp delay: [0-9]+ addr: [0-9a-f:]+`, 132, 0, 0),
		form(`multicast listener report v2, [0-9]+ group record\(s\)(?: \[[^]]*\])*`, 143, 0, 0),
		form(`unknown icmp6 type \(TYPE\)`, 0, 0, 0),
	}
)

// icmpForm reads a message as tcpdump prints it. Of the packet that it is about the line has at most the destination, the protocol
// and a port; its source is where the message goes.
func (s *scanner) icmpForm(f Flow, v6 bool) (m message, quoted Packet, ok bool) {
	s.peek()
	forms := icmp4Forms
	if v6 {
		forms = icmp6Forms
	}
	text := s.line[s.at:]
	i := slices.IndexFunc(forms, func(form icmpForm) bool { return form.MatchString(text) })
	if i < 0 || !s.printed {
		return m, nil, false
	}
	got := forms[i].FindStringSubmatch(text)
	value := func(name string) string {
		if j := forms[i].SubexpIndex(name); j >= 0 {
			return got[j]
		}
		return ""
	}
	number := func(text string, bits int) uint64 {
		n, err := strconv.ParseUint(text, 10, bits)
		if text != "" && err != nil {
			s.fail("has %s, which is no number of %d bits", text, bits)
		}
		return n
	}
	address := func(text string) netip.Addr {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Is4() == v6 {
			s.fail("has %s, which is no address of that family", text)
		}
		return a
	}
	m.typ, m.code = forms[i].typ+uint8(number(value("type"), 8)), forms[i].code+uint8(number(value("code"), 8))
	m.word = uint32(number(value("n"), 32-int(forms[i].shift))) << forms[i].shift
	if text := value("gateway"); text != "" {
		a := address(text)
		switch {
		case s.err != nil:
		case v6:
			m.body = a.AsSlice()
		default:
			m.word = binary.BigEndian.Uint32(a.AsSlice())
		}
	}
	if value("n")+value("gateway") != "" {
		s.named = append(s.named, "rest", "target")
	}
	if text := value("dst"); text != "" {
		s.named = append(s.named, "about dst")
		if value("proto") != "" {
			s.named = append(s.named, "about protocol")
		}
		if value("port") != "" {
			s.named = append(s.named, "about dst port")
		}
		proto, port := nf.UDP, uint16(number(value("port"), 16))
		switch name, n, _ := strings.Cut(value("proto"), " "); name {
		case "tcp":
			proto = nf.TCP
		case "protocol":
			proto = nf.Proto(number(n, 8))
		}
		if dst := address(text); s.err == nil {
			quoted = about(f.Dst.Addr(), netip.AddrPortFrom(dst, port), proto)
		}
	} else if forms[i].quotes {
		quoted = about(f.Dst.Addr(), netip.AddrPortFrom(unspecified(v6), 0), nf.UDP)
	}
	if s.err == nil {
		s.at += len(strings.TrimRight(got[0], blanks))
	}
	return m, quoted, true
}

func unspecified(v6 bool) netip.Addr {
	if v6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// about returns a packet that a message may be about.
func about(src netip.Addr, dst netip.AddrPort, proto nf.Proto) Packet {
	f := Flow{netip.AddrPortFrom(src, 0), dst}
	switch proto {
	case nf.TCP:
		return f.TCP(TCP{Flags: FlagSYN})
	case nf.UDP:
		return f.UDP(nil)
	}
	return f.Raw(proto, f.ports())
}

// tcpdumpChunks reads the chunks of SCTP in tcpdump's form: "(1) [INIT ACK] [init tag: 2] [rwnd: 65535] … , (2) [DATA] (B)(E) [TSN: 100]".
// What it does not print, such as a cookie, is empty, and data is one byte.
func (s *scanner) tcpdumpChunks() (chunks []SCTPChunk, ok bool) {
	if !s.printed || !chunkNumber.MatchString(s.peek()) {
		return nil, false
	}
	name, values := "", map[string]uint32{}
	end := func() {
		if name == "" {
			return
		}
		make1, known := tcpdumpChunk[name]
		if !known {
			s.fail("is behind the chunk %s, whose bytes are not known", name)
			return
		}
		chunks = append(chunks, make1(values))
		name, values = "", map[string]uint32{}
	}
	for s.err == nil {
		w := s.peek()
		inside := strings.TrimSuffix(strings.TrimPrefix(w, "["), "]")
		key := chunkValue.FindStringSubmatch(inside)
		switch {
		case chunkNumber.MatchString(w):
			end()
		case !strings.HasPrefix(w, "[") && !strings.HasPrefix(w, "(") || w == "":
			end()
			return chunks, true
		case strings.HasPrefix(w, "["):
			if key != nil {
				n, err := strconv.ParseUint(key[2], 0, 32)
				if err != nil {
					s.fail("has no number of 32 bits")
				}
				values[key[1]] = uint32(n)
			} else if name == "" {
				name = inside
			}
		}
		s.word()
	}
	return nil, true
}

var (
	chunkNumber = regexp.MustCompile(`^\([0-9]+\)$`)
	chunkValue  = regexp.MustCompile(`^(.*[A-Za-z]):? ((?:0x)?[0-9a-f]+)$`)
)

// tcpdumpChunk makes chunks of their names and values.
var tcpdumpChunk = map[string]func(map[string]uint32) SCTPChunk{
	"INIT":              func(v map[string]uint32) SCTPChunk { return SCTPInit(v["init tag"], v["init TSN"]) },
	"INIT ACK":          func(v map[string]uint32) SCTPChunk { return SCTPInitAck(v["init tag"], v["init TSN"], nil) },
	"COOKIE ECHO":       func(map[string]uint32) SCTPChunk { return SCTPCookieEcho(nil) },
	"COOKIE ACK":        func(map[string]uint32) SCTPChunk { return SCTPCookieAck() },
	"SACK":              func(v map[string]uint32) SCTPChunk { return SCTPSack(v["cum ack"]) },
	"HB REQ":            func(map[string]uint32) SCTPChunk { return SCTPHeartbeat(nil) },
	"HB ACK":            func(map[string]uint32) SCTPChunk { return SCTPHeartbeatAck(nil) },
	"ABORT":             func(map[string]uint32) SCTPChunk { return SCTPAbort() },
	"SHUTDOWN":          func(map[string]uint32) SCTPChunk { return SCTPShutdown(0) },
	"SHUTDOWN ACK":      func(map[string]uint32) SCTPChunk { return SCTPShutdownAck() },
	"SHUTDOWN COMPLETE": func(map[string]uint32) SCTPChunk { return SCTPShutdownComplete() },
	"DATA": func(v map[string]uint32) SCTPChunk {
		return SCTPData(v["TSN"], uint16(v["SID"]), uint16(v["SSEQ"]), make([]byte, 1))
	},
}

// dccpResetCodes are tcpdump's names of the codes of a DCCP-Reset (print-dccp.c, dccp_reset_codes).
var dccpResetCodes = []string{
	"unspecified", "closed", "aborted", "no_connection", "packet_error", "option_error", "mandatory_error", "connection_refused",
	"bad_service_code", "too_busy", "bad_init_cookie", "aggression_penalty",
}

// dccpValue reads a value in tcpdump's form: "(service=42)", "(ack=5)", "(code=aborted)".
func (s *scanner) dccpValue(m *DCCP) bool {
	key, value, ok := strings.Cut(strings.Trim(s.peek(), "()"), "=")
	if !s.printed || !ok || !strings.HasPrefix(s.peek(), "(") {
		return false
	}
	n, err := strconv.ParseUint(value, 10, 48)
	code := slices.Index(dccpResetCodes, value)
	switch {
	case key == "service" && err == nil && n < 1<<32:
		m.Service = uint32(n)
		s.named = append(s.named, "service")
	case key == "ack" && err == nil:
		m.Ack = n
		s.named = append(s.named, "ack")
	case key == "code" && code >= 0:
		m.ResetCode = uint8(code)
		s.named = append(s.named, "reset code")
	default:
		return false
	}
	s.word()
	return true
}

// greRest reads what tcpdump prints of a payload of GRE that is no IP, and returns its protocol: that of Ethernet if it is not told.
func (s *scanner) greRest() (proto uint16, ok bool) {
	if !s.printed || s.peek() == "IP" || s.peek() == "IP6" {
		return 0, false
	}
	const ethernet = 0x6558
	n, err := strconv.ParseUint(strings.TrimPrefix(s.peek(), "gre-proto-0x"), 16, 16)
	if s.at = len(s.line); err != nil || n == 0 {
		n = ethernet
	}
	return uint16(n), true
}

// igmpVersion reads the version of a query and, in brackets, the group and the response time: "query v2 [gaddr 239.1.2.3]".
func (s *scanner) igmpVersion(group *netip.Addr) {
	if !s.printed || !slices.Contains([]string{"v1", "v2", "v3"}, s.peek()) {
		return
	}
	s.word()
	for strings.HasPrefix(s.peek(), "[") {
		w := s.word()
		if text, ok := strings.CutPrefix(w, "[gaddr "); ok {
			text, _, _ = strings.Cut(strings.TrimSuffix(text, "]"), " ")
			a, err := netip.ParseAddr(text)
			if err != nil {
				s.fail("has no address of a group")
				return
			}
			*group = a
		}
	}
}
