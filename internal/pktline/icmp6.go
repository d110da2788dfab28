package pktline

import (
	"encoding/binary"
	"fmt"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

func (h packet) icmp6(in nesting) string {
	var m layers.ICMPv6
	if err := m.DecodeFromBytes(h.body, gopacket.NilDecodeFeedback); err != nil || len(h.body) < 8 {
		return "ICMP6"
	}
	typ := m.TypeCode.Type()
	line := "ICMP6, " + icmpName(icmp6Names, typ, m.TypeCode.Code())
	word := h.body[4:8] // what the type makes of the second word
	rest := h.body[8:]
	switch typ {
	case layers.ICMPv6TypeEchoRequest, layers.ICMPv6TypeEchoReply:
		line += fmt.Sprintf(", id %d, seq %d", binary.BigEndian.Uint16(word), binary.BigEndian.Uint16(word[2:]))
	case layers.ICMPv6TypePacketTooBig:
		line += fmt.Sprintf(", mtu %d", binary.BigEndian.Uint32(word))
	case layers.ICMPv6TypeNeighborSolicitation:
		line += target(", who has", rest)
	case layers.ICMPv6TypeNeighborAdvertisement:
		line += target(", tgt is", rest)
	case layers.ICMPv6TypeRedirect:
		line += target(" to", rest)
	}
	return fmt.Sprintf("%s%s, length %d", line, h.quote(in), h.size)
}

// target returns the address that b begins with, if it is there, behind the words that lead to it.
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
