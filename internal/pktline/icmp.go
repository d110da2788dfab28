package pktline

import (
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
	switch typ {
	case layers.ICMPv4TypeEchoRequest, layers.ICMPv4TypeEchoReply,
		layers.ICMPv4TypeTimestampRequest, layers.ICMPv4TypeTimestampReply:
		line += fmt.Sprintf(", id %d, seq %d", m.Id, m.Seq)
	case layers.ICMPv4TypeDestinationUnreachable:
		if code == layers.ICMPv4CodeFragmentationNeeded {
			line += fmt.Sprintf(", mtu %d", m.Seq)
		}
	case layers.ICMPv4TypeRedirect:
		line += fmt.Sprintf(" to %v", addr(h.body[4:8]))
	}
	return fmt.Sprintf("%s%s, length %d", line, h.quote(in), h.size)
}

// quote formats the packet that an ICMP error is about. An error about an error, which no host may send, ends there.
func (h packet) quote(in nesting) string {
	b := header.Quoted(h.Proto, h.body)
	if in.quoted || len(b) == 0 {
		return ""
	}
	return " for (" + inner(b, nesting{true, in.depth}) + ")"
}

// anyCode stands for the codes that have no name of their own.
const anyCode = -1

type icmpKind struct {
	typ  uint8
	code int
}

// icmpName returns the name of the code, else the type's name and the code, else the numbers.
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
