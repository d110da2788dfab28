package nf

import (
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Listing is what a text tells of a conntrack table.
type Listing struct {
	Entries      []Entry       // in the order of the text, those in XML first
	Expectations []Expectation // without their NAT and IDs, which no listing has
}

// ParseListing reads a text as people have it: the output of conntrack, in any mix of its forms, and of /proc/net/nf_conntrack.
//
//	conntrack -L, -G, -D and -E, with any of -o extended, id, ktimestamp, timestamp, labels, userspace; -L dying
//	conntrack -L and -E with -o save or -o xml, conntrack -L expect
//
// It skips empty lines, comments that begin with "#", conntrack's line with the number of entries, and the prompts of a shell
// with a command that prints such lines. What stands before an entry in its line, such as the time of a log, is skipped, too.
// An event is read as its entry, and if it is that of its end, the entry's Status has Dying. What a line does not have, such as the
// ports of an unknown protocol, the entry does not have; see ParseEntry for what is read of a line.
//
// A line that cannot be read is left out. The error, as errors.Join makes it, has a *ParseError for each such line.
func ParseListing(text string) (l Listing, err error) {
	var wrong []error
	rest, flows := cutXML(text)
	for _, f := range flows {
		e, err := f.entry()
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		l.Entries = append(l.Entries, e)
	}
	n := 0
	for line := range strings.Lines(rest) {
		n++
		line = uncommented(strings.TrimRight(line, "\r\n"))
		if isNoEntry(line) {
			continue
		}
		if err := l.read(n, line); err != nil {
			wrong = append(wrong, err)
		}
	}
	slices.SortStableFunc(wrong, func(a, b error) int { return place(a).Line - place(b).Line })
	return l, errors.Join(wrong...)
}

// ParseEntries is ParseListing for entries alone.
func ParseEntries(text string) ([]Entry, error) {
	l, err := ParseListing(text)
	return l.Entries, err
}

// command is the prompt of a shell with a command that prints a table. conntrack's own lines begin with "conntrack v".
var command = regexp.MustCompile(`(^|[$#%>]\s*)(sudo\s+)?(/\S*/)?(conntrack\s+-|cat\s+/proc/)`)

// isNoEntry reports whether a line is none that tells of the table.
func isNoEntry(line string) bool {
	line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "^C")) // which ends conntrack -E
	return line == "" || strings.HasPrefix(line, "conntrack v") || !strings.Contains(line, "src=") && command.MatchString(line)
}

func (l *Listing) read(n int, line string) error {
	switch {
	case strings.Contains(line, "mask-src="):
		x, err := parseExpectation(n, line)
		if err == nil {
			l.Expectations = append(l.Expectations, x)
		}
		return err
	case savedLine.MatchString(line):
		e, err := parseSaved(n, line)
		if err == nil {
			l.Entries = append(l.Entries, e)
		}
		return err
	}
	e, at, err := parseBehindPrefix(n, line)
	if err == nil {
		if strings.Contains(line[:at], destroyed) {
			e.Status |= Dying
		}
		l.Entries = append(l.Entries, e)
	}
	return err
}

// destroyed is what conntrack -E prints before an entry that has ended.
const destroyed = "[DESTROY]"

// parseBehindPrefix reads the entry that begins at any word of a line, and returns where. If there is none, the error is of the
// attempt that came furthest.
func parseBehindPrefix(n int, line string) (e Entry, at int, err error) {
	for e, err = parseEntry(n, line, 0); err != nil && at < len(line); {
		blank := strings.IndexAny(line[at:], " \t]")
		if blank < 0 {
			break
		}
		at += blank + 1
		word, _, _ := strings.Cut(strings.TrimLeft(line[at:], " \t"), " ")
		if !beginsEntry(word) || ofEntry.MatchString(line[:at]) {
			continue
		}
		var again error
		if e, again = parseEntry(n, line, at); again == nil || place(again).Column > place(err).Column {
			err = again
		}
	}
	return e, at, err
}

// ofEntry is what stands before no entry, but belongs to one: an address, or the family with its number.
var ofEntry = regexp.MustCompile(`\bsrc=|\bipv[46]\s+[0-9]+\s+$`)

// beginsEntry reports whether a word is the first one of an entry: a family or a protocol.
func beginsEntry(word string) bool {
	_, known := protoOf(word)
	return known || word == "unknown" || word == IPv4.String() || word == IPv6.String()
}

// place returns where an error is.
func place(err error) ParseError {
	var wrong *ParseError
	if !errors.As(err, &wrong) {
		return ParseError{}
	}
	return *wrong
}

// savedLine is a line of conntrack -o save: of an entry, or of an event of a new, changed or ended one.
var savedLine = regexp.MustCompile(`^\s*-[AUD] `)

// parseSaved reads a line of conntrack -L -o save: "-A -t 26 -u UNSET -s 198.18.0.2 …".
func parseSaved(n int, line string) (Entry, error) {
	p := entryParser{words: words{line: n, rest: line}}
	p.next()
	p.e.Status = Confirmed
	if p.word == "-D" {
		p.e.Status |= Dying
	}
	for p.next(); p.err == nil && p.word != ""; p.next() {
		option := p.word
		if option == "[USERSPACE]" || strings.HasPrefix(option, "portid=") { // who has changed it, in an event
			continue
		}
		p.next()
		if p.word == "" {
			p.missing("the value of %s", option)
			break
		}
		p.saved(option, p.word)
	}
	if p.err == nil && (!p.e.Orig.Src.Addr().IsValid() || !p.e.Orig.Dst.Addr().IsValid() || p.e.Orig.Proto == 0) {
		p.missing("-s, -d or -p")
	}
	if p.err != nil {
		return Entry{}, p.err
	}
	return p.e, nil
}

// saved reads an option of conntrack with its value (conntrack-tools, src/conntrack.c, ct_save_snprintf).
func (p *entryParser) saved(option, value string) {
	setAddr := func(at *netip.AddrPort) {
		*at = netip.AddrPortFrom(p.addr(value), at.Port())
		p.ofFamily(at.Addr())
	}
	setPort := func(at *netip.AddrPort) { *at = netip.AddrPortFrom(at.Addr(), uint16(p.number(value, 16))) }
	number := func(bits int) uint64 { return p.number(value, bits) }
	switch option {
	case "-s":
		setAddr(&p.e.Orig.Src)
	case "-d":
		setAddr(&p.e.Orig.Dst)
	case "-r":
		setAddr(&p.e.Reply.Src)
	case "-q":
		setAddr(&p.e.Reply.Dst)
	case "--sport", "--orig-port-src":
		setPort(&p.e.Orig.Src)
	case "--dport", "--orig-port-dst":
		setPort(&p.e.Orig.Dst)
	case "--reply-port-src":
		setPort(&p.e.Reply.Src)
	case "--reply-port-dst":
		setPort(&p.e.Reply.Dst)
	case "--icmp-type":
		p.e.Orig.ICMP.Type = uint8(number(8))
		p.e.Reply.ICMP.Type = p.e.Orig.Reverse().ICMP.Type
	case "--icmp-code":
		p.e.Orig.ICMP.Code, p.e.Reply.ICMP.Code = uint8(number(8)), uint8(number(8))
	case "--icmp-id":
		p.e.Orig.ICMP.ID, p.e.Reply.ICMP.ID = uint16(number(16)), uint16(number(16))
	case "-p":
		proto, ok := protoOf(value)
		if !ok {
			proto = Proto(number(8))
		}
		p.e.Orig.Proto, p.e.Reply.Proto = proto, proto
	case "--state":
		state, ok := tcpStateOf(value)
		if !ok && p.e.Orig.Proto == TCP {
			p.fail("is not a TCP state")
		} else if !ok {
			p.e.OtherState = value
		}
		p.e.State = state
	case "-t":
		p.e.Timeout = time.Duration(number(32)) * time.Second
	case "-u":
		for name := range strings.SplitSeq(value, ",") {
			bit, ok := savedStatus[name]
			if !ok {
				p.fail("has %q, which is no status: want %s", name, strings.Join(slices.Sorted(maps.Keys(savedStatus)), ", "))
			}
			p.e.Status |= bit
		}
	case "-m":
		p.e.Mark = uint32(number(32))
	case "-w":
		p.zone(0, value)
	case "--orig-zone":
		p.zone(Original, value)
	case "--reply-zone":
		p.zone(Reply, value)
	case "-l":
		p.labels(value)
	case "-f":
	default:
		p.fail("is the value of %s, which is not known", option)
	}
}

// savedStatus are the names that conntrack takes behind -u (conntrack-tools, src/conntrack.c, parse_array).
var savedStatus = map[string]Status{
	"ASSURED": Assured, "SEEN_REPLY": SeenReply, "FIXED_TIMEOUT": FixedTimeout, "EXPECTED": Expected, "UNSET": 0,
	"OFFLOAD": Offload, "HW_OFFLOAD": HWOffload,
}

// parseExpectation reads a line of conntrack -L expect: "300 proto=6 src=… mask-src=… master-src=… class=0 helper=ftp".
func parseExpectation(n int, line string) (Expectation, error) {
	p := entryParser{words: words{line: n, rest: line}}
	var x Expectation
	p.next()
	for p.word != "" && !p.isNumber() { // the name of an event
		p.next()
	}
	if p.isNumber() {
		x.Timeout = time.Duration(p.number(p.word, 32)) * time.Second
		p.next()
	}
	tuple := &x.Tuple
	var proto Proto
	for ; p.err == nil && p.word != ""; p.next() {
		key, value, ok := p.pair()
		if !ok {
			x.Flags |= p.expectFlags()
			continue
		}
		switch key {
		case "mask-src":
			tuple = &x.Mask
		case "master-src":
			tuple = &x.Master
		}
		_, name, part := strings.Cut(key, "-")
		if !part {
			name = key
		}
		switch name {
		case "proto":
			proto = Proto(p.number(value, 8))
		case "src":
			tuple.Src = netip.AddrPortFrom(p.addr(value), tuple.Src.Port())
		case "dst":
			tuple.Dst = netip.AddrPortFrom(p.addr(value), tuple.Dst.Port())
		case "sport":
			tuple.Src = netip.AddrPortFrom(tuple.Src.Addr(), uint16(p.number(value, 16)))
		case "dport":
			tuple.Dst = netip.AddrPortFrom(tuple.Dst.Addr(), uint16(p.number(value, 16)))
		case "class":
			x.Class = uint32(p.number(value, 32))
		case "zone":
			x.Zone = uint16(p.number(value, 16))
		case "helper":
			x.Helper = value
		case "portid":
		default:
			p.fail("is not known")
		}
	}
	x.Tuple.Proto, x.Mask.Proto, x.Master.Proto = proto, proto, proto
	if p.err == nil && !x.Tuple.Src.Addr().IsValid() {
		p.missing("src")
	}
	return x, p.err
}

// expectFlags reads the flags of an expectation: "PERMANENT,USERSPACE". An event has [USERSPACE] if a program has made it.
func (p *entryParser) expectFlags() (flags ExpectFlags) {
	if p.word == "[USERSPACE]" {
		return 0
	}
	for name := range strings.SplitSeq(p.word, ",") {
		i := slices.Index(expectFlagNames[:], name)
		if i < 0 {
			p.fail("is not known")
			return 0
		}
		flags |= 1 << i
	}
	return flags
}

// xmlFlow is a flow of conntrack -o xml.
type xmlFlow struct {
	line  int
	text  string
	Type  string `xml:"type,attr"` // of an event
	Metas []struct {
		Direction string `xml:"direction,attr"`
		Layer3    struct {
			Src string `xml:"src"`
			Dst string `xml:"dst"`
		} `xml:"layer3"`
		Layer4 struct {
			Number uint8  `xml:"protonum,attr"`
			Sport  uint16 `xml:"sport"`
			Dport  uint16 `xml:"dport"`
			Type   uint8  `xml:"type"`
			Code   uint8  `xml:"code"`
			ID     uint16 `xml:"id"`
		} `xml:"layer4"`
		Packets   uint64    `xml:"counters>packets"`
		Bytes     uint64    `xml:"counters>bytes"`
		State     string    `xml:"state"`
		Timeout   uint32    `xml:"timeout"`
		Mark      uint32    `xml:"mark"`
		Zone      uint16    `xml:"zone"`
		ID        uint32    `xml:"id"`
		Helper    string    `xml:"helper"`
		Unreplied *struct{} `xml:"unreplied"`
		Assured   *struct{} `xml:"assured"`
	} `xml:"meta"`
}

// xmlFrame are the elements around the flows, and what events have behind them: who has changed the entry.
var xmlFrame = regexp.MustCompile(`<\?xml[^>]*\?>|</?conntrack>|(?m)^\s*\[USERSPACE\] portid=[0-9]+\s*$`)

// cutXML returns the flows in a text that are written in XML, and the text with blanks in their place.
func cutXML(text string) (rest string, flows []xmlFlow) {
	blank := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r == '\n' {
				return r
			}
			return ' '
		}, s)
	}
	for {
		begin := strings.Index(text, "<flow")
		end := strings.Index(text, "</flow>")
		if begin < 0 || end < begin {
			return xmlFrame.ReplaceAllStringFunc(text, blank), flows
		}
		end += len("</flow>")
		flows = append(flows, xmlFlow{line: 1 + strings.Count(text[:begin], "\n"), text: text[begin:end]})
		text = text[:begin] + blank(text[begin:end]) + text[end:]
	}
}

// entry returns the entry of a flow. Its reply tuple is zero if the text has none.
func (f xmlFlow) entry() (e Entry, err error) {
	wrong := func(err error) (Entry, error) {
		return Entry{}, &ParseError{Line: f.line, Column: 1, What: fmt.Sprintf("the flow in XML: %v", err)}
	}
	if err := xml.Unmarshal([]byte(f.text), &f); err != nil {
		return wrong(err)
	}
	e.Status = Confirmed
	replied := true
	for _, m := range f.Metas {
		if m.Direction == "independent" {
			e.Timeout, e.Mark, e.Zone, e.ID, e.Helper = time.Duration(m.Timeout)*time.Second, m.Mark, m.Zone, m.ID, m.Helper
			replied = m.Unreplied == nil
			if m.Assured != nil {
				e.Status |= Assured
			}
			e.OtherState = m.State
			continue
		}
		src, serr := netip.ParseAddr(m.Layer3.Src)
		dst, derr := netip.ParseAddr(m.Layer3.Dst)
		if err := errors.Join(serr, derr); err != nil {
			return wrong(fmt.Errorf("%q are not two addresses", m.Layer3.Src+" > "+m.Layer3.Dst))
		}
		t := Tuple{
			Proto: Proto(m.Layer4.Number), Src: netip.AddrPortFrom(src, m.Layer4.Sport), Dst: netip.AddrPortFrom(dst, m.Layer4.Dport),
			ICMP: ICMPTuple{Type: m.Layer4.Type, Code: m.Layer4.Code, ID: m.Layer4.ID},
		}
		switch m.Direction {
		case "original":
			e.Orig, e.Packets.Orig, e.Bytes.Orig = t, m.Packets, m.Bytes
		case "reply":
			e.Reply, e.Packets.Reply, e.Bytes.Reply = t, m.Packets, m.Bytes
		}
	}
	if e.Orig == (Tuple{}) {
		return wrong(errors.New("it has no original direction"))
	}
	if e.Orig.Proto == TCP && e.OtherState != "" {
		var ok bool
		if e.State, ok = tcpStateOf(e.OtherState); !ok {
			return wrong(fmt.Errorf("%q is not a TCP state", e.OtherState))
		}
		e.OtherState = ""
	}
	if strings.EqualFold(f.Type, "destroy") {
		e.Status |= Dying
	}
	if replied && e.Reply != (Tuple{}) {
		e.Status |= SeenReply
	}
	return e, nil
}
