package pktline

import (
	"encoding/binary"
	"fmt"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/internal/header"
)

func (h packet) icmp(in nesting) string {
	var m layers.ICMPv4
	if err := m.DecodeFromBytes(h.body, gopacket.NilDecodeFeedback); err != nil {
		return "ICMP"
	}
	typ, code := m.TypeCode.Type(), m.TypeCode.Code()
	line := "ICMP " + icmpName(icmpNames, typ, code)
	switch {
	case IsEcho(false, typ):
		line += fmt.Sprintf(", id %d, seq %d", m.Id, m.Seq)
	case typ == layers.ICMPv4TypeDestinationUnreachable && code == layers.ICMPv4CodeFragmentationNeeded:
		line += fmt.Sprintf(", mtu %d", m.Seq)
	case typ == layers.ICMPv4TypeRedirect:
		line += fmt.Sprintf(" to %v", addr(h.body[4:8]))
	}
	return fmt.Sprintf("%s%s, length %d", line, h.quote(in), h.size)
}

// quote formats the packet that an ICMP error quotes. Within a quoted error, which no host may send, it does not.
func (h packet) quote(in nesting) string {
	b := header.Quoted(h.Proto, h.body)
	if in.quoted || len(b) == 0 {
		return ""
	}
	return " for (" + inner(b, nesting{true, in.depth}) + ")"
}

// anyCode matches all codes that have no name.
const anyCode = -1

type icmpKind struct {
	typ  uint8
	code int
}

// icmpName returns the name of the type and code, or else the name of the type and the code, or else the numbers.
func icmpName(names map[icmpKind]string, typ, code uint8) string {
	if s, ok := names[icmpKind{typ, int(code)}]; ok {
		return s
	}
	s, ok := names[icmpKind{typ, anyCode}]
	switch {
	case !ok:
		return fmt.Sprintf("type %d code %d", typ, code)
	case code != 0:
		return fmt.Sprintf("%s code %d", s, code)
	}
	return s
}

// ICMPNamed returns the type and the code that a line shows by that name, of ICMP or of ICMPv6.
func ICMPNamed(v6 bool, name string) (typ, code uint8, ok bool) {
	names := icmpNames
	if v6 {
		names = icmp6Names
	}
	for kind, n := range names {
		if n == name {
			return kind.typ, uint8(max(0, kind.code)), true
		}
	}
	return 0, 0, false
}

// IsEcho reports whether a type has an identifier and a sequence number.
func IsEcho(v6 bool, typ uint8) bool {
	if v6 {
		return typ == layers.ICMPv6TypeEchoRequest || typ == layers.ICMPv6TypeEchoReply
	}
	switch typ {
	case layers.ICMPv4TypeEchoRequest, layers.ICMPv4TypeEchoReply, layers.ICMPv4TypeTimestampRequest, layers.ICMPv4TypeTimestampReply:
		return true
	}
	return false
}

var icmpNames = map[icmpKind]string{
	{layers.ICMPv4TypeEchoReply, anyCode}:           "echo reply",
	{layers.ICMPv4TypeSourceQuench, anyCode}:        "source quench",
	{layers.ICMPv4TypeEchoRequest, anyCode}:         "echo request",
	{layers.ICMPv4TypeRouterAdvertisement, anyCode}: "router advertisement",
	{layers.ICMPv4TypeRouterSolicitation, anyCode}:  "router solicitation",
	{layers.ICMPv4TypeParameterProblem, anyCode}:    "parameter problem",
	{layers.ICMPv4TypeTimestampRequest, anyCode}:    "time stamp query",
	{layers.ICMPv4TypeTimestampReply, anyCode}:      "time stamp reply",
	{layers.ICMPv4TypeInfoRequest, anyCode}:         "information request",
	{layers.ICMPv4TypeInfoReply, anyCode}:           "information reply",
	{layers.ICMPv4TypeAddressMaskRequest, anyCode}:  "address mask request",
	{layers.ICMPv4TypeAddressMaskReply, anyCode}:    "address mask reply",

	{layers.ICMPv4TypeDestinationUnreachable, anyCode}:                              "unreachable",
	{layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeNet}:                 "net unreachable",
	{layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeHost}:                "host unreachable",
	{layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeProtocol}:            "protocol unreachable",
	{layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodePort}:                "port unreachable",
	{layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded}: "fragmentation needed",
	{layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeSourceRoutingFailed}: "source route failed",
	{layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeNetAdminProhibited}:  "net prohibited",
	{layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeHostAdminProhibited}: "host prohibited",
	{layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeCommAdminProhibited}: "admin prohibited",

	{layers.ICMPv4TypeRedirect, anyCode}:               "redirect",
	{layers.ICMPv4TypeRedirect, layers.ICMPv4CodeNet}:  "redirect net",
	{layers.ICMPv4TypeRedirect, layers.ICMPv4CodeHost}: "redirect host",

	{layers.ICMPv4TypeTimeExceeded, anyCode}:                                         "time exceeded",
	{layers.ICMPv4TypeTimeExceeded, layers.ICMPv4CodeTTLExceeded}:                    "time exceeded in transit",
	{layers.ICMPv4TypeTimeExceeded, layers.ICMPv4CodeFragmentReassemblyTimeExceeded}: "reassembly time exceeded",
}

func (h packet) icmp6(in nesting) string {
	var m layers.ICMPv6
	if err := m.DecodeFromBytes(h.body, gopacket.NilDecodeFeedback); err != nil || len(h.body) < 8 {
		return "ICMP6"
	}
	typ := m.TypeCode.Type()
	line := "ICMP6, " + icmpName(icmp6Names, typ, m.TypeCode.Code())
	word := h.body[4:8] // its meaning depends on the type
	rest := h.body[8:]
	switch {
	case IsEcho(true, typ):
		line += fmt.Sprintf(", id %d, seq %d", binary.BigEndian.Uint16(word), binary.BigEndian.Uint16(word[2:]))
	case typ == layers.ICMPv6TypePacketTooBig:
		line += fmt.Sprintf(", mtu %d", binary.BigEndian.Uint32(word))
	case typ == layers.ICMPv6TypeNeighborSolicitation:
		line += target(", who has", rest)
	case typ == layers.ICMPv6TypeNeighborAdvertisement:
		line += target(", tgt is", rest)
	case typ == layers.ICMPv6TypeRedirect:
		line += target(" to", rest)
	}
	return fmt.Sprintf("%s%s, length %d", line, h.quote(in), h.size)
}

// target returns words followed by the address at the start of b, or "" if b is too short.
func target(words string, b []byte) string {
	if len(b) < 16 {
		return ""
	}
	return fmt.Sprintf("%s %v", words, addr(b[:16]))
}

var icmp6Names = map[icmpKind]string{
	{layers.ICMPv6TypePacketTooBig, anyCode}:                          "packet too big",
	{layers.ICMPv6TypeParameterProblem, anyCode}:                      "parameter problem",
	{layers.ICMPv6TypeEchoRequest, anyCode}:                           "echo request",
	{layers.ICMPv6TypeEchoReply, anyCode}:                             "echo reply",
	{layers.ICMPv6TypeMLDv1MulticastListenerQueryMessage, anyCode}:    "multicast listener query",
	{layers.ICMPv6TypeMLDv1MulticastListenerReportMessage, anyCode}:   "multicast listener report",
	{layers.ICMPv6TypeMLDv1MulticastListenerDoneMessage, anyCode}:     "multicast listener done",
	{layers.ICMPv6TypeMLDv2MulticastListenerReportMessageV2, anyCode}: "multicast listener report v2",
	{layers.ICMPv6TypeRouterSolicitation, anyCode}:                    "router solicitation",
	{layers.ICMPv6TypeRouterAdvertisement, anyCode}:                   "router advertisement",
	{layers.ICMPv6TypeNeighborSolicitation, anyCode}:                  "neighbor solicitation",
	{layers.ICMPv6TypeNeighborAdvertisement, anyCode}:                 "neighbor advertisement",
	{layers.ICMPv6TypeRedirect, anyCode}:                              "redirect",

	{layers.ICMPv6TypeDestinationUnreachable, anyCode}:                                 "unreachable",
	{layers.ICMPv6TypeDestinationUnreachable, layers.ICMPv6CodeNoRouteToDst}:           "no route to destination",
	{layers.ICMPv6TypeDestinationUnreachable, layers.ICMPv6CodeAdminProhibited}:        "admin prohibited",
	{layers.ICMPv6TypeDestinationUnreachable, layers.ICMPv6CodeBeyondScopeOfSrc}:       "beyond scope of source",
	{layers.ICMPv6TypeDestinationUnreachable, layers.ICMPv6CodeAddressUnreachable}:     "address unreachable",
	{layers.ICMPv6TypeDestinationUnreachable, layers.ICMPv6CodePortUnreachable}:        "port unreachable",
	{layers.ICMPv6TypeDestinationUnreachable, layers.ICMPv6CodeSrcAddressFailedPolicy}: "source failed policy",
	{layers.ICMPv6TypeDestinationUnreachable, layers.ICMPv6CodeRejectRouteToDst}:       "reject route to destination",

	{layers.ICMPv6TypeTimeExceeded, anyCode}:                                         "time exceeded",
	{layers.ICMPv6TypeTimeExceeded, layers.ICMPv6CodeHopLimitExceeded}:               "time exceeded in transit",
	{layers.ICMPv6TypeTimeExceeded, layers.ICMPv6CodeFragmentReassemblyTimeExceeded}: "reassembly time exceeded",
}

func (h packet) igmp() string {
	b := h.body
	if len(b) < 8 {
		return "igmp"
	}
	group := addr(b[4:8])
	line := fmt.Sprintf("igmp type %#x", b[0])
	switch b[0] {
	case 0x11:
		line = "igmp query"
		if !group.IsUnspecified() {
			line += fmt.Sprintf(" for %v", group)
		}
	case 0x12:
		line = fmt.Sprintf("igmp v1 report %v", group)
	case 0x16:
		line = fmt.Sprintf("igmp v2 report %v", group)
	case 0x17:
		line = fmt.Sprintf("igmp leave %v", group)
	case 0x22:
		line = fmt.Sprintf("igmp v3 report, %d group record(s)", binary.BigEndian.Uint16(b[6:]))
	}
	return fmt.Sprintf("%s, length %d", line, h.size)
}
