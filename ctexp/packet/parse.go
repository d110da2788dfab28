package packet

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Parse returns the packet of a line. It reads what String prints, and what tcpdump -n prints of the same protocols, also with -e, with
// whatever stands before "IP" or "IP6", such as the time and the link of a Record, and behind it in parentheses, such as the
// fate in the log of a test. Of the line of several packets in such a log, "198.18.0.2.10000–10006 > … ×7", it is the first:
//
//	IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, options [mss 1460], length 0
//	12:00:00.000001 tun0 In  IP6 2001:db8::2 > 2001:db8::1: ICMP6, echo request, id 1, seq 2, length 13
//	IP 192.0.2.1 > 198.18.0.2: ICMP host unreachable for (IP 198.18.0.2.1 > 192.0.2.1.2: UDP, length 0), length 36
//
// It also reads a form to be typed, which begins with the protocol; the place of a line, such as "router.cases:7:", may stand before it:
//
//	tcp 198.18.0.2:10000 > 192.0.2.1:80 S seq 1 win 65535
//	udp [2001:db8::2]:10000 > [2001:db8::1]:53 payload "hello" ttl 1
//	icmp 198.18.0.2 > 192.0.2.1 echo request id 1 seq 2
//
// In both forms commas may be left out, and words of fields stand in any order. What is left out is as in the packets of the
// builders: in TCP seq is 1 with a SYN, else 2, ack is 2 and win 65535; an echo has id 1 and seq 1. The fields that every
// packet has are
//
//	length N        as String prints it; the payload is N zero bytes, less the header of ICMP, SCTP, GRE and IGMP
//	payload "text"  a string as in Go, or payload 0xHEX
//	ttl N  tos N  id N  df  nodf
//	(frag ID:SIZE@OFFSET+)
//	N bytes missing
//
// A line does not have all of a packet: Parse(p.String()).String() is p.String(), but the bytes of payloads, which are
// zero, and those of options and chunks that the line only names, are not those of p.
//
// tcpdump -n tells less: of SCTP no verification tag, of DCCP no sequence number, of what an ICMP error is about at most destination,
// protocol and port, of what it has decoded only the length. These parts are zero, or the builders'. Without -S its numbers of TCP are
// relative behind the first segment of each direction.
//
// The error is a *nf.ParseError with the column of the wrong word.
func Parse(line string) (Packet, error) {
	p, _, err := parseLine(line, 1)
	return p, err
}

// MustParse is Parse for lines that are part of a program. It panics on an error.
func MustParse(line string) Packet {
	p, err := Parse(line)
	if err != nil {
		panic("packet: MustParse: " + err.Error())
	}
	return p
}

// ParseAll returns the packets of a text that has one in a line. Empty lines, and what follows a "#" at the beginning of a
// line or behind a space, are left out. The error is that of the first wrong line; the packets before it are returned.
func ParseAll(text string) ([]Packet, error) {
	var all []Packet
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = WithoutComment(line)
		if strings.TrimSpace(line) == "" {
			continue
		}
		p, _, err := parseLine(line, number)
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
	return all, nil
}

// WithoutComment returns a line without its comment. A "#" within a word or within quotes begins none.
func WithoutComment(line string) string {
	quoted := false
	for i := range len(line) {
		switch {
		case line[i] == '"' && (i == 0 || line[i-1] != '\\'):
			quoted = !quoted
		case line[i] == '#' && !quoted && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return line[:i]
		}
	}
	return line
}

func parseLine(line string, number int) (p Packet, fields []string, err error) {
	s := &scanner{line: line, number: number}
	defer func() { // the builders panic about what does not fit
		switch what := recover().(type) {
		case nil:
		case string:
			s.fail("%s", strings.TrimPrefix(what, "packet: "))
			p, fields, err = nil, nil, s.err
		default: // a mistake of ours
			panic(what)
		}
	}()
	p = s.packet()
	if s.printed {
		s.skipFate()
	}
	if s.err == nil && s.peek() != "" {
		s.fail("is no field of this packet")
	}
	if s.err != nil {
		return nil, nil, s.err
	}
	return p, s.named, nil
}

// scanner reads the words of a line. After the first error it reads nothing.
type scanner struct {
	line   string
	number int
	at     int // offset of what is next
	err    error
	// printed says that the line is in the form of String and of tcpdump.
	printed bool
	// ends are those of the packet in the form of String.
	ends Flow
	// named are the names of the fields that the line says, beside those that each line has.
	named []string
}

// fail notes what is wrong with the next word, unless something was wrong before.
func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = &nf.ParseError{Line: s.number, Word: s.peek(), Column: s.at + 1, What: fmt.Sprintf(format, args...)}
		s.at = len(s.line)
	}
}

const blanks = " \t\r\n,"

// peek returns the next word: up to a blank, or with blanks in it if it is in quotes, brackets or parentheses. It is empty at
// the end.
func (s *scanner) peek() string {
	s.at = len(s.line) - len(strings.TrimLeft(s.line[s.at:], blanks))
	rest := s.line[s.at:]
	if rest == "" {
		return ""
	}
	n := 0
	switch rest[0] {
	case '"':
		if quoted, err := strconv.QuotedPrefix(rest); err == nil {
			return quoted
		}
	case '(', '[':
		n = groupLength(rest)
	}
	if more := strings.IndexAny(rest[n:], blanks); more >= 0 {
		return rest[:n+more]
	}
	return rest
}

// groupLength returns the length of the group at the beginning of a text: to where as many are closed as were opened.
func groupLength(text string) int {
	depth := 0
	for i, c := range text {
		switch c {
		case '(', '[':
			depth++
		case ')', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

// word returns the next word and goes on behind it.
func (s *scanner) word() string {
	w := s.peek()
	s.at += len(w)
	return w
}

// accept goes on behind some words if they are next.
func (s *scanner) accept(words ...string) bool {
	before := s.at
	for _, w := range words {
		if s.word() != w {
			s.at = before
			return false
		}
	}
	return true
}

// numberOf reads a number of that many bits, decimal or with 0x. A colon may follow.
func (s *scanner) numberOf(bits int) uint64 {
	text := strings.TrimSuffix(s.peek(), ":")
	n, err := strconv.ParseUint(text, 0, bits)
	if err != nil {
		s.fail("want a number of %d bits", bits)
		return 0
	}
	s.at += len(text)
	return n
}

// group reads a word in brackets or parentheses and returns a scanner of what is inside.
func (s *scanner) group(open byte) *scanner {
	w := s.peek()
	if w == "" || w[0] != open || len(w) < 2 || !strings.ContainsRune(")]", rune(w[len(w)-1])) {
		s.fail("want %c and what belongs into it", open)
		return &scanner{line: s.line, number: s.number, at: len(s.line), err: s.err}
	}
	inside := &scanner{line: s.line[:s.at+len(w)-1], number: s.number, at: s.at + 1}
	s.at += len(w)
	return inside
}

// end notes the error of the scanner of a group, in which there must be nothing more.
func (s *scanner) end(group *scanner) {
	if group.err == nil && group.peek() != "" {
		group.fail("was not expected")
	}
	if s.err == nil {
		s.err = group.err
	}
}

// packet reads a packet in either form.
func (s *scanner) packet() Packet {
	if !s.skipEthernet() {
		s.skipPrefix()
		first := s.word()
		if first != "IP" && first != "IP6" {
			return s.typed(first)
		}
	}
	s.printed = true
	if verboseHeader.MatchString(s.peek()) {
		s.fail("is printed by tcpdump -v, which has packets in other forms and in several lines: leave it out")
	}
	f := s.flow()
	if s.err != nil {
		return nil
	}
	return s.body(f)
}

// skipFate goes on behind what reports print behind a packet: in parentheses what became of it, and how often it came.
func (s *scanner) skipFate() {
	for w := s.peek(); s.err == nil && fate.MatchString(w); w = s.peek() {
		s.at += len(w)
	}
}

// fate is how what reports print behind a packet begins (report.Fold). What else is in parentheses may be a field that is spelled wrong.
var fate = regexp.MustCompile(`^(×[0-9]+$|\((dropped|INVALID|held)\b)`)

// placePrefix is what programs print before a line of a file.
var placePrefix = regexp.MustCompile(`^\s*\S+:[0-9]+:\s`)

// skipPrefix goes on at "IP" or "IP6" if that is there with addresses behind it, else behind the place of a line.
func (s *scanner) skipPrefix() {
	for _, name := range []string{"IP ", "IP6 "} {
		i := strings.Index(s.line[s.at:], name)
		if i > 0 && strings.ContainsRune(blanks, rune(s.line[s.at+i-1])) && !strings.ContainsAny(s.line[s.at:s.at+i], ">([") {
			s.at += i
			return
		}
	}
	s.at += len(placePrefix.FindString(s.line[s.at:]))
}

// flow reads two endpoints and what is between them.
func (s *scanner) flow() Flow {
	src := s.endpoint()
	if s.err == nil && !s.accept(">") {
		s.fail("want >")
	}
	at := s.at
	dst := s.endpoint()
	if s.err == nil && nf.FamilyOf(src.Addr()) != nf.FamilyOf(dst.Addr()) {
		s.at = at
		s.fail("is of another family than %v", src.Addr())
	}
	return Flow{Src: src, Dst: dst}
}

// endpoint reads an address with or without a port: 192.0.2.1.80, 192.0.2.1:80, 2001:db8::1.80 or [2001:db8::1]:80.
func (s *scanner) endpoint() netip.AddrPort {
	s.peek()
	word, _, _ := strings.Cut(s.line[s.at:], " ")
	text := strings.TrimRight(word, "\r\n\t,")
	for _, try := range []string{text, strings.TrimSuffix(text, ":")} { // 2001:db8:: ends in colons itself
		if e, ok := parseEndpoint(try); ok {
			s.at += len(text)
			if m := morePorts.FindString(s.line[s.at:]); s.printed && m != "" {
				s.at += len(m)
			}
			return e
		}
	}
	if first, rest, ok := strings.Cut(text, "–"); ok && s.printed {
		if e, ok := parseEndpoint(first); ok && portRange.MatchString(rest) {
			s.at += len(text)
			return e
		}
	}
	s.fail("is no address: want 192.0.2.1, or with a port 192.0.2.1:80 or [2001:db8::1]:80")
	return netip.AddrPort{}
}

// portRange and morePorts are what a report prints behind the first port of several packets that share a line: "10000–10006" and
// "10000, 10002, 10004 … 10010".
var (
	portRange = regexp.MustCompile(`^[0-9]+:?$`)
	morePorts = regexp.MustCompile(`^(, [0-9]+)+( … [0-9]+)?:?`)
)

func parseEndpoint(text string) (netip.AddrPort, bool) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(a, 0), a.Zone() == ""
	}
	if e, err := netip.ParseAddrPort(text); err == nil {
		return e, e.Addr().Zone() == ""
	}
	i := strings.LastIndexByte(text, '.')
	if i < 0 {
		return netip.AddrPort{}, false
	}
	a, err := netip.ParseAddr(text[:i])
	port, perr := strconv.ParseUint(text[i+1:], 10, 16)
	return netip.AddrPortFrom(a, uint16(port)), err == nil && perr == nil && a.Zone() == ""
}

// common are the fields that every packet has.
type common struct {
	length  int      // as in the line; -1: it has none
	payload []byte   // nil: the line has none
	said    []string // the words of fields that the line has
	changes []Change
	missing int // how many bytes are cut off
	// size and offset are those of a fragment, if there is one.
	fragment             bool
	fragID               uint32
	fragSize, fragOffset int
	more                 bool
}

// field reads one of the common fields if one is next.
func (s *scanner) field(c *common) bool {
	switch {
	case s.says(c, "length", "length"):
		c.length = int(s.numberOf(16))
	case s.says(c, "payload", "payload"):
		c.payload = s.bytes()
	case s.says(c, "ttl", "ttl"):
		c.changes = append(c.changes, TTL(uint8(s.numberOf(8))))
	case s.says(c, "tos", "tos"):
		c.changes = append(c.changes, TOS(uint8(s.numberOf(8))))
	case s.says(c, "id", "id"):
		c.changes = append(c.changes, ID(uint32(s.numberOf(16))))
	case s.peek() == "df", s.peek() == "nodf":
		s.names(c, s.at, "df or nodf", "fragment")
		c.changes = append(c.changes, DontFragment(s.word() == "df"))
	case strings.HasPrefix(s.peek(), "(frag "):
		s.fragmentField(c)
	default:
		return s.missingField(c)
	}
	return s.err == nil
}

// missingBytes is what missingField reads, as the second one is told.
const missingBytes = "the number of missing bytes"

// missingField reads "5 bytes missing".
func (s *scanner) missingField(c *common) bool {
	s.peek()
	before := s.at
	n, err := strconv.ParseUint(s.word(), 10, 16)
	if err == nil && s.accept("bytes", "missing") {
		c.missing = int(n)
		s.names(c, before, missingBytes, "length")
		return true
	}
	s.at = before
	return false
}

// fragmentField reads "(frag 7:24@16+)".
func (s *scanner) fragmentField(c *common) {
	at := s.at
	s.names(c, at, "fragment", "fragment", "id", "length")
	_, text, _ := strings.Cut(strings.TrimSuffix(s.word(), ")"), " ")
	text, c.more = strings.CutSuffix(text, "+")
	if n, _ := fmt.Sscanf(text, "%d:%d@%d", &c.fragID, &c.fragSize, &c.fragOffset); n < 3 || c.fragSize > MaxLength || c.fragOffset > MaxLength {
		s.at = at
		s.fail("want (frag ID:SIZE@OFFSET), with a + if more follow")
	}
	c.fragment = true
}

// bytes reads "text" or 0xHEX.
func (s *scanner) bytes() []byte {
	w := s.peek()
	if text, err := strconv.Unquote(w); err == nil {
		s.at += len(w)
		return append([]byte{}, text...)
	}
	digits, ok := strings.CutPrefix(w, "0x")
	b, err := hex.DecodeString(digits)
	if !ok || err != nil {
		s.fail("want a \"text\" or 0x and bytes in hexadecimal")
		return nil
	}
	s.at += len(w)
	return append([]byte{}, b...)
}

// data returns the payload behind a header of that many bytes, which the length of the line counts, too.
func (s *scanner) data(c *common, header int) []byte {
	switch {
	case c.length < 0:
		return c.payload
	case c.length < header:
		s.fail("length %d is less than the %d bytes of the header", c.length, header)
		return nil
	case c.payload != nil && len(c.payload) != c.length-header:
		s.fail("length %d and a payload of %d bytes are not alike", c.length, len(c.payload))
		return nil
	case c.payload != nil:
		return c.payload
	}
	return make([]byte, c.length-header)
}

// finish makes the changes that the common fields ask for.
func (s *scanner) finish(p Packet, c *common) Packet {
	if s.err != nil {
		return nil
	}
	p = p.With(c.changes...)
	if c.fragment {
		p = p.Fragment(0, c.fragSize, c.more).With(ID(c.fragID), FragmentOffset(c.fragOffset, c.more))
	}
	if c.missing > 0 && s.isCut(c) {
		return s.cut(p, c)
	}
	if c.missing > 0 {
		if c.missing >= len(p) {
			s.fail("%d bytes missing of a packet of %d", c.missing, len(p))
			return nil
		}
		if p = p.With(Truncate(len(p) - c.missing)); s.printed && !strings.Contains(s.line, p.String()) {
			s.fail("is cut in a part whose bytes the line does not tell")
			return nil
		}
	}
	return p
}
