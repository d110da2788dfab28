package packet

import (
	"encoding/binary"
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ctexp/go-ctexp/internal/header"
)

// cutQuote reads what is printed of a quoted packet that has no whole header: "IP6 header cut after 24 bytes", "IP version 0, 20 bytes:
// 00 00 …". It returns nil for any other.
func (s *scanner) cutQuote() Packet {
	if m := cutHeader.FindStringSubmatch(s.line[s.at:]); m != nil {
		if n, err := strconv.ParseUint(m[2], 10, 8); err == nil && n > 0 {
			s.at = len(s.line)
			return append(Packet{map[string]byte{"IP": 0x45, "IP6": 0x60}[m[1]]}, make([]byte, n-1)...)
		}
	}
	if m := otherVersion.FindStringSubmatch(s.line[s.at:]); m != nil {
		if b, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", "")); err == nil {
			s.at = len(s.line)
			return b
		}
	}
	return nil
}

// isCut reports whether a line is of a packet whose transport header is cut: it has its ports and the sequence number alone, as far as they
// are there, and no length.
func (s *scanner) isCut(c *common) bool {
	return s.printed && c.length < 0 && !c.fragment && !slices.ContainsFunc(c.said, func(word string) bool { return word != "seq" && word != missingBytes })
}

// cut returns the beginning of p that such a line shows. Its header says how long it was.
func (s *scanner) cut(p Packet, c *common) Packet {
	transport := binary.BigEndian.AppendUint16(nil, s.ends.Src.Port())
	transport = binary.BigEndian.AppendUint16(transport, s.ends.Dst.Port())
	shown := 0
	switch seg, _ := p.TCP(); {
	case slices.Contains(c.said, "seq"):
		transport = binary.BigEndian.AppendUint32(transport, seg.Seq)
		shown = 8
	case s.ends.Dst.Port() != 0:
		shown = 4
	case s.ends.Src.Port() != 0:
		shown = 2
	}
	p = append(slices.Clone(p[:len(p)-len(header.Parse(p).Body(p))]), transport[:shown]...)
	if n := len(p) + c.missing; n <= MaxLength {
		return p.With(TotalLength(n))
	}
	s.fail("%d bytes are more than a packet has", c.missing)
	return nil
}

var (
	cutHeader    = regexp.MustCompile(`^(IP6?) header cut after ([0-9]+) bytes$`)
	otherVersion = regexp.MustCompile(`^IP version [0-9]+, [0-9]+ bytes: ([0-9a-f ]+)$`)
)

// unknownOption reads "unknown-254 0x0102".
func (s *scanner) unknownOption() TCPOption {
	kind, err := strconv.ParseUint(strings.TrimPrefix(s.peek(), "unknown-"), 10, 8)
	if err != nil {
		s.fail("want the number of an option's kind")
	}
	s.word()
	data, derr := hex.DecodeString(strings.TrimPrefix(s.peek(), "0x"))
	if derr != nil {
		s.fail("want bytes in hexadecimal")
	}
	s.word()
	return TCPOption{Kind: uint8(kind), Data: data}
}

// experimentalOption reads "exp-0102" or "exp-f989 0x01".
func (s *scanner) experimentalOption() TCPOption {
	data, err := hex.DecodeString(strings.TrimPrefix(s.peek(), "exp-"))
	if err != nil {
		s.fail("want an identifier in hexadecimal")
	}
	s.word()
	if more, ok := strings.CutPrefix(s.peek(), "0x"); ok {
		rest, err := hex.DecodeString(more)
		if err != nil {
			s.fail("want bytes in hexadecimal")
		}
		s.word()
		data = append(data, rest...)
	}
	const experimental = 254
	return TCPOption{Kind: experimental, Data: data}
}

// options reads "mss 1460,nop,wscale 7".
func (s *scanner) options() (all []TCPOption) {
	for s.peek() != "" {
		switch {
		case s.accept("mss"):
			all = append(all, MSS(uint16(s.numberOf(16))))
		case s.accept("nop"):
			all = append(all, NOP())
		case s.accept("eol"):
			all = append(all, TCPOption{Kind: OptionEnd})
		case s.accept("wscale"):
			all = append(all, WindowScale(uint8(s.numberOf(8))))
		case s.accept("sackOK"):
			all = append(all, SACKPermitted())
		case s.accept("TS", "val"):
			val := uint32(s.numberOf(32))
			if !s.accept("ecr") {
				s.fail("want ecr")
			}
			all = append(all, Timestamps(val, uint32(s.numberOf(32))))
		case s.accept("sack"):
			all = append(all, s.sack())
		case strings.HasPrefix(s.peek(), "unknown-"):
			all = append(all, s.unknownOption())
		case strings.HasPrefix(s.peek(), "exp-"): // an experimental one, with its identifier (RFC 6994)
			all = append(all, s.experimentalOption())
		default:
			s.fail("is no option whose bytes are known")
		}
	}
	return all
}

// sack reads "2 {10:20}{30:40}".
func (s *scanner) sack() TCPOption {
	n := int(s.numberOf(8))
	var blocks [][2]uint32
	for text := range strings.SplitSeq(strings.Trim(s.peek(), "{}"), "}{") {
		from, to, _ := strings.Cut(text, ":")
		a, err := strconv.ParseUint(from, 10, 32)
		b, berr := strconv.ParseUint(to, 10, 32)
		if err != nil || berr != nil {
			break
		}
		blocks = append(blocks, [2]uint32{uint32(a), uint32(b)})
	}
	if len(blocks) != n {
		s.fail("want %d blocks, each as {10:20}", n)
	}
	s.word()
	return SACK(blocks...)
}
