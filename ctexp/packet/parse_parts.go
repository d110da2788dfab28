package packet

import (
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
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
