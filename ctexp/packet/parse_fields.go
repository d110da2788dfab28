package packet

import (
	"slices"
	"strings"
)

// ParseFields is Parse, and returns the names of those fields of the packet (Packet.Fields) that the line says, beside those that each
// line has, which are protocol, addresses, ports, flags, type and code: "ttl" of "tcp A > B S ttl 63". All others are as the builders
// have them. Of a packet that another carries, as in a tunnel, it is the "payload"; of one that an ICMP error is about, each name begins
// with "about ".
func ParseFields(line string) (Packet, []string, error) { return parseLine(line, 1) }

// identity are the fields that each line has, as far as the packet has them.
var identity = []string{"protocol", "src", "dst", "src port", "dst port", "flags", "type", "code", "igmp type", "group"}

// says is accept for words that are the value of fields, or stand before it, and begin with another name in no packet. To say them
// twice is a mistake.
func (s *scanner) says(c *common, words string, fields ...string) bool {
	s.peek()
	at := s.at
	if !s.accept(strings.Fields(words)...) {
		return false
	}
	s.names(c, at, words, fields...)
	return true
}

// names notes which fields a word says, which stands at an offset of the line.
func (s *scanner) names(c *common, at int, word string, fields ...string) {
	if slices.Contains(c.said, word) {
		s.at = at
		s.fail("gives %s a second time", word)
	}
	c.said, s.named = append(c.said, word), append(s.named, fields...)
}

// inner reads a packet that another one carries.
func (s *scanner) inner() Packet {
	named := s.named
	p := s.packet()
	s.named = append(named, "payload")
	return p
}

// noPayload fails if the line has a payload for what can have none.
func (s *scanner) noPayload(c *common, what string) {
	if c.payload != nil {
		s.fail("%s has no payload of its own", what)
	}
}
