package header

// ICMP and ICMPv6 types of messages that quote a packet.
const (
	icmpUnreachable      = 3
	icmpSourceQuench     = 4
	icmpRedirect         = 5
	icmpTimeExceeded     = 11
	icmpParameterProblem = 12

	icmpv6FirstInformational = 128 // RFC 4443, 2.1
	icmpv6Redirect           = 137
)

// redirectedHeader is the option of an ICMPv6 redirect that holds the packet (include/net/ndisc.h, ND_OPT_REDIRECT_HDR).
const redirectedHeader = 4

// Quotes reports whether ICMP or ICMPv6 messages of a type quote the packet that they are about. These are the errors,
// for which conntrack looks up the flow of the quoted packet, and the redirects (include/linux/icmp.h, icmp_is_err;
// net/netfilter/nf_conntrack_proto_icmpv6.c, nf_conntrack_icmpv6_error).
func Quotes(proto, typ uint8) bool {
	switch proto {
	case ProtoICMP:
		switch typ {
		case icmpUnreachable, icmpSourceQuench, icmpRedirect, icmpTimeExceeded, icmpParameterProblem:
			return true
		}
	case ProtoICMPv6:
		return typ < icmpv6FirstInformational || typ == icmpv6Redirect
	}
	return false
}

// Quoted returns the packet that an ICMP or ICMPv6 message quotes, possibly truncated, as a slice of the message. The
// message begins with its ICMP header. Quoted returns nil if the message quotes no packet or is truncated before it.
func Quoted(proto uint8, message []byte) []byte {
	if len(message) < ICMPSize || !Quotes(proto, message[0]) {
		return nil
	}
	body := message[ICMPSize:]
	if proto == ProtoICMPv6 && message[0] == icmpv6Redirect {
		return redirected(body)
	}
	return body
}

// Quoted returns the packet that the packet b quotes, as the function Quoted does.
func (v View) Quoted(b []byte) []byte { return Quoted(v.Proto, v.Body(b)) }

// redirected returns the packet in the options of a redirect, which follow two addresses (RFC 4861, 4.5 and 4.6.3).
func redirected(b []byte) []byte {
	for b = b[min(len(b), 32):]; len(b) >= 8 && b[1] > 0; {
		n := min(len(b), int(b[1])*8)
		if b[0] == redirectedHeader {
			return b[8:n:n]
		}
		b = b[n:]
	}
	return nil
}

// IsQuery reports whether ICMP or ICMPv6 messages of a type have an identifier and a sequence number.
func IsQuery(proto, typ uint8) bool {
	if proto == ProtoICMPv6 {
		return typ == 128 || typ == 129
	}
	return typ == 0 || typ == 8 || typ >= 13 && typ <= 18
}
