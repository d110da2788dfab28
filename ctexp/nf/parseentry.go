package nf

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// entryParser reads the words of one line into an entry.
type entryParser struct {
	words
	e       Entry
	family  Family
	dir     Direction // of the tuple that was begun last; zero before the first
	ofDir   []string  // the keys of this tuple that were there
	ofFlow  []string  // those of the flow as a whole
	numbers bool      // the protocol has its number behind it, as in the forms of conntrack and /proc
	silent  bool      // [UNREPLIED]
}

// head reads what comes before the tuples: layer 3 and its number (-o extended), protocol and its number, time, state.
func (p *entryParser) head() {
	for _, f := range []Family{IPv4, IPv6} {
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

// proto reads the protocol and, in the forms of conntrack and /proc, its number and the time that is left, which the
// dying have none of.
func (p *entryParser) proto() {
	proto, known := protoOf(p.word)
	switch {
	case p.word == "":
		p.missing("the protocol is")
	case !known && p.word != "unknown":
		p.fail("is no protocol")
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
		p.fail("is no number of a protocol")
	}
	if p.numbers && p.isNumber() {
		p.e.Timeout = time.Duration(p.number(p.word, 32)) * time.Second
		p.next()
	}
	p.e.Orig.Proto, p.e.Reply.Proto = proto, proto
}

// state reads the state, which comes before the tuples where the protocol has states.
func (p *entryParser) state() {
	proto, pair := p.e.Orig.Proto, strings.Contains(p.word, "=")
	switch {
	case proto == TCP && pair && p.numbers: // conntrack says nothing of the state of some that are dying
	case proto == TCP:
		s, ok := tcpStateOf(p.word)
		if p.word == "" {
			p.missing("the state of TCP is")
		} else if !ok {
			p.fail("is no state of TCP")
		}
		p.e.State = s
		p.next()
	case (proto == SCTP || proto == DCCP) && !pair && p.word != "":
		if strings.Trim(p.word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") != "" {
			p.fail("is no state of %v", proto)
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
		p.fail("comes twice")
	default: // the identifier of an echo and the entry's own number are both called id
		p.ofFlow = append(p.ofFlow, key)
		p.ofEntry(key, strings.TrimSuffix(value, ","))
	}
}

// bracket reads a word in brackets.
func (p *entryParser) bracket() {
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
	case "use", "delta-time", "secmark", "timeout", "stream_timeout": // the last two are /proc's, for GRE
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
		p.fail("has not up to %d bytes in hexadecimal", maxLabels)
		return
	}
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	p.e.Labels = hex.EncodeToString(b)
}

// finish is for the end of the line.
func (p *entryParser) finish() {
	p.complete()
	if p.dir < Reply {
		p.missing("the tuple of the %v direction is", p.dir+1)
	}
	p.e.Status |= Confirmed
	if !p.silent {
		p.e.Status |= SeenReply
	}
}
