package nf

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseError describes where and why a line is not a valid entry.
type ParseError struct {
	Line   int    // counted from 1
	Column int    // column of the wrong word in bytes, counted from 1; behind the last word if something is missing
	Word   string // the wrong word; empty if something is missing
	What   string // what is wrong
}

// Error returns a message such as `line 2, column 5: "SYN_SNT" is not a TCP state`.
func (e *ParseError) Error() string {
	s := fmt.Sprintf("line %d, column %d: ", e.Line, e.Column)
	if e.Word != "" {
		s += fmt.Sprintf("%q ", e.Word)
	}
	return s + e.What
}

// ParseEntry reads an entry from one line in the form of Entry.String, of conntrack -L with or without -o extended, id,
// ktimestamp and labels, or of /proc/net/nf_conntrack. The error is a *ParseError.
//
// Status always has Confirmed, and SeenReply unless the line has [UNREPLIED]. Entry.String of the result is therefore
// the canonical form of any line. Labels must be numbers, as printed without a connlabel.conf. The time in [start=…] is
// local time, as conntrack prints it.
func ParseEntry(line string) (Entry, error) {
	return parseEntry(1, strings.TrimSuffix(line, "\n"), 0)
}

// uncommented removes the comment from a line. It begins at a "#" at the start of the line or after a blank.
func uncommented(line string) string {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			return line[:i]
		}
	}
	return line
}

// parseEntry reads an entry from a line, from an offset on.
func parseEntry(line int, s string, at int) (Entry, error) {
	p := entryParser{words: words{line: line, rest: s[at:], at: at}}
	p.next()
	p.head()
	for p.err == nil && p.word != "" {
		p.part()
		p.next()
	}
	p.finish()
	if p.err != nil {
		return Entry{}, p.err
	}
	return p.e, nil
}

// entryParser reads the words of one line into an entry.
type entryParser struct {
	words
	e       Entry
	family  Family
	dir     Direction // direction of the current tuple; zero before the first
	ofDir   []string  // keys seen of the current tuple
	ofFlow  []string  // keys seen of the flow as a whole
	unknown bool      // the protocol has no name in the line, and the tuples may lack ports
	numbers bool      // the protocol is followed by its number, as in the forms of conntrack and /proc
	silent  bool      // [UNREPLIED] was seen
}

// head reads what precedes the tuples: layer 3 and its number (-o extended), protocol and its number, timeout, state.
func (p *entryParser) head() {
	for _, f := range Families() {
		if p.word == f.String() {
			p.family = f
			p.next()
			if p.word != "" && p.number(p.word, 8) != uint64(f) {
				p.fail("is not the number of %v", f)
			}
			p.next()
		}
	}
	p.proto()
	p.state()
}

// proto reads the protocol and, in the forms of conntrack and /proc, its number and the timeout, which dying entries do
// not have.
func (p *entryParser) proto() {
	proto, known := protoOf(p.word)
	p.unknown = p.word == "unknown"
	switch {
	case p.word == "":
		p.missing("the protocol")
	case !known && p.word != "unknown":
		p.fail("is not a protocol")
	}
	p.next()
	if p.isNumber() {
		n := Proto(p.number(p.word, 8))
		if known && n != proto {
			p.fail("is not the number of %v", proto)
		}
		proto, p.numbers = n, true
		p.next()
	} else if !known {
		p.fail("is not a protocol number")
	}
	if p.numbers && p.isNumber() {
		p.e.Timeout = time.Duration(p.number(p.word, 32)) * time.Second
		p.next()
	}
	p.e.Orig.Proto, p.e.Reply.Proto = proto, proto
}

// state reads the state of a protocol that has states.
func (p *entryParser) state() {
	proto, pair := p.e.Orig.Proto, strings.Contains(p.word, "=")
	switch {
	case proto == TCP && pair && p.numbers: // conntrack prints no state for some dying entries
	case proto == TCP:
		s, ok := tcpStateOf(p.word)
		if p.word == "" {
			p.missing("the TCP state")
		} else if !ok {
			p.fail("is not a TCP state")
		}
		p.e.State = s
		p.next()
	case (proto == SCTP || proto == DCCP) && !pair && p.word != "" && !p.unknown:
		if strings.Trim(p.word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") != "" {
			p.fail("is not a state of %v", proto)
		}
		p.e.OtherState = p.word
		p.next()
	}
}

// part reads one word behind the head.
func (p *entryParser) part() {
	if strings.HasPrefix(p.word, "[") {
		p.bracket()
		return
	}
	key, value, ok := p.pair()
	if !ok {
		p.fail("is neither key=value nor in brackets")
		return
	}
	if key == "src" {
		p.tuple()
	}
	switch {
	case p.isOfTuple(key) && !slices.Contains(p.ofDir, key):
		p.ofDir = append(p.ofDir, key)
		p.ofTuple(key, value)
	case slices.Contains(p.ofFlow, key) || p.isOfTuple(key) && key != "id":
		p.fail("is repeated")
	default: // the identifier of an echo and the entry's own number are both called id
		p.ofFlow = append(p.ofFlow, key)
		p.ofEntry(key, strings.TrimSuffix(value, ","))
	}
}

// bracket reads a word in brackets.
func (p *entryParser) bracket() {
	name, _, _ := strings.Cut(p.word, "=")
	if slices.Contains(p.ofFlow, name) {
		p.fail("is repeated")
		return
	}
	p.ofFlow = append(p.ofFlow, name)
	if v, ok := strings.CutPrefix(p.word, "[start="); ok {
		p.e.Start = p.date(v)
		return
	}
	if v, ok := strings.CutPrefix(p.word, "[stop="); ok {
		p.e.Stop = p.date(v)
		return
	}
	switch p.word {
	case "[UNREPLIED]":
		p.silent = true
	case "[USERSPACE]": // in an event: a program has changed the entry; its portid follows
	case "[ASSURED]":
		p.e.Status |= Assured
	case "[OFFLOAD]":
		p.e.Status |= Offload
	case "[HW_OFFLOAD]":
		p.e.Status |= HWOffload
	default:
		p.fail("is not known")
	}
}

func (p *entryParser) date(v string) time.Time {
	t, err := time.ParseInLocation(time.ANSIC, strings.TrimSuffix(v, "]"), time.Local)
	if err != nil {
		p.fail("is not a time like %q", time.ANSIC)
	}
	return t
}

// ofEntry reads what belongs to the entry as a whole.
func (p *entryParser) ofEntry(key, value string) {
	switch key {
	case "mark":
		p.e.Mark = uint32(p.number(value, 32))
	case "zone", "zone-orig", "zone-reply":
		p.zone(map[string]Direction{"zone-orig": Original, "zone-reply": Reply}[key], value)
	case "helper":
		p.e.Helper = p.text(value)
	case "labels":
		p.labels(value)
	case "id":
		p.e.ID = uint32(p.number(value, 32))
	case "secctx":
		p.e.SecCtx = p.text(value)
	case "use", "portid", "delta-time", "secmark", "timeout", "stream_timeout": // the last two are /proc's, for GRE
		p.number(value, 64)
	default:
		p.fail("is not known")
	}
}

func (p *entryParser) text(value string) string {
	if value == "" {
		p.fail("is empty")
	}
	return value
}

func (p *entryParser) zone(dir Direction, value string) {
	z := uint16(p.number(value, 16))
	switch {
	case z == 0:
	case p.e.Zone != 0:
		p.fail("is a second zone")
	default:
		p.e.Zone, p.e.ZoneDir = z, dir
	}
}

// maxLabels is the size of the labels of an entry in bytes (include/net/netfilter/nf_conntrack_labels.h).
const maxLabels = 16

func (p *entryParser) labels(value string) {
	b, err := hex.DecodeString(strings.TrimPrefix(value, "0x"))
	if err != nil || len(b) > maxLabels {
		p.fail("is not up to %d bytes in hexadecimal", maxLabels)
		return
	}
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	p.e.Labels = hex.EncodeToString(b)
}

// finish checks the entry at the end of the line.
func (p *entryParser) finish() {
	p.complete()
	if p.dir < Reply {
		p.missing("the tuple of the %v direction", p.dir+1)
	}
	p.e.Status |= Confirmed
	if !p.silent {
		p.e.Status |= SeenReply
	}
}

// tuple begins the next tuple.
func (p *entryParser) tuple() {
	p.complete()
	if p.dir == Reply {
		p.fail("begins a third tuple")
		return
	}
	p.dir++
	p.ofDir = nil
}

// complete checks that the current tuple has all of its keys.
func (p *entryParser) complete() {
	if p.dir == 0 {
		return
	}
	if p.unknown && !slices.Contains(p.ofDir, "dst") {
		p.missing("dst of the %v direction", p.dir)
	}
	if p.unknown {
		return
	}
	for _, key := range tupleKeys(p.e.Orig.Proto) {
		if !slices.Contains(p.ofDir, key) {
			p.missing("%s of the %v direction", key, p.dir)
		}
	}
}

// isOfTuple reports whether key belongs to one direction.
func (p *entryParser) isOfTuple(key string) bool {
	return key == "packets" || key == "bytes" || slices.Contains(tupleKeys(p.e.Orig.Proto), key)
}

// ofTuple reads what belongs to one direction.
func (p *entryParser) ofTuple(key, value string) {
	t, packets, bytes := &p.e.Orig, &p.e.Packets.Orig, &p.e.Bytes.Orig
	switch p.dir {
	case 0:
		p.fail("comes before src")
		return
	case Reply:
		t, packets, bytes = &p.e.Reply, &p.e.Packets.Reply, &p.e.Bytes.Reply
	}
	switch key {
	case "src":
		t.Src = netip.AddrPortFrom(p.addr(value), 0)
		p.ofFamily(t.Src.Addr())
	case "dst":
		t.Dst = netip.AddrPortFrom(p.addr(value), 0)
		p.ofFamily(t.Dst.Addr())
	case "sport", "srckey":
		t.Src = netip.AddrPortFrom(t.Src.Addr(), uint16(p.number(value, 16)))
	case "dport", "dstkey":
		t.Dst = netip.AddrPortFrom(t.Dst.Addr(), uint16(p.number(value, 16)))
	case "type":
		t.ICMP.Type = uint8(p.number(value, 8))
	case "code":
		t.ICMP.Code = uint8(p.number(value, 8))
	case "id":
		t.ICMP.ID = uint16(p.number(value, 16))
	case "packets":
		*packets = p.number(value, 64)
	case "bytes":
		*bytes = p.number(value, 64)
	}
}

// ofFamily checks that all addresses of a line are of the same family.
func (p *entryParser) ofFamily(a netip.Addr) {
	f := FamilyOf(a)
	if p.family == 0 {
		p.family = f
	}
	if p.err == nil && f != p.family {
		p.fail("is not of %v", p.family)
	}
}

// tupleKeys returns the keys of a tuple. All are required.
func tupleKeys(p Proto) []string {
	switch {
	case p.IsICMP():
		return []string{"src", "dst", "type", "code", "id"}
	case p.HasPorts():
		return []string{"src", "dst", "sport", "dport"}
	case p == GRE:
		return []string{"src", "dst", "srckey", "dstkey"}
	}
	return []string{"src", "dst"}
}

// words splits a line into words. After an error there are no more words.
type words struct {
	line int
	rest string // the text behind word
	at   int    // offset of rest in the line
	word string // the current word, empty at the end of the line
	col  int    // its column
	err  error
}

// next advances to the next word. Text in brackets is one word.
func (w *words) next() {
	if w.err != nil {
		return
	}
	blank := len(w.rest) - len(strings.TrimLeft(w.rest, " \t"))
	w.skip(blank)
	w.col = w.at + 1
	n := strings.IndexAny(w.rest, " \t")
	if strings.HasPrefix(w.rest, "[") {
		n = strings.IndexByte(w.rest, ']') + 1
		if n == 0 {
			w.word = w.rest
			w.fail("has no closing bracket")
			return
		}
	}
	if n < 0 {
		n = len(w.rest)
	}
	w.word = w.rest[:n]
	w.skip(n)
}

func (w *words) skip(n int) {
	w.rest = w.rest[n:]
	w.at += n
}

// fail records an error about the current word, unless there is one already.
func (w *words) fail(format string, args ...any) {
	if w.err == nil {
		w.err = &ParseError{Line: w.line, Column: w.col, Word: w.word, What: fmt.Sprintf(format, args...)}
	}
	w.word, w.rest = "", ""
}

// missing records the error that something is missing before the current word.
func (w *words) missing(format string, args ...any) {
	w.word = ""
	w.fail(format+" is missing", args...)
}

// pair splits the current word at its equals sign.
func (w *words) pair() (key, value string, ok bool) {
	return strings.Cut(w.word, "=")
}

// number reads a number of up to the given number of bits, in decimal or with a prefix of Go's for another base.
func (w *words) number(s string, bits int) uint64 {
	n, err := strconv.ParseUint(s, 0, bits)
	if err != nil || strings.ContainsRune(s, '_') || len(s) > 1 && s[0] == '0' && s[1] != 'x' {
		w.fail("is not a valid %d-bit number", bits)
		return 0
	}
	return n
}

// isNumber reports whether the current word consists of digits alone.
func (w *words) isNumber() bool {
	return w.word != "" && strings.Trim(w.word, "0123456789") == ""
}

func (w *words) addr(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Is4In6() || a.Zone() != "" {
		w.fail("is not a valid IPv4 or IPv6 address")
	}
	return a
}
