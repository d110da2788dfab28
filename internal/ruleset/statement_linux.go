package ruleset

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Attributes of include/uapi/linux/netfilter/nf_tables.h that package unix does not have.
const (
	bitwiseOp      = 6  // NFTA_BITWISE_OP
	socketKey      = 1  // NFTA_SOCKET_KEY
	socketDreg     = 2  // NFTA_SOCKET_DREG
	connlimitCount = 1  // NFTA_CONNLIMIT_COUNT
	connlimitFlags = 2  // NFTA_CONNLIMIT_FLAGS
	flowTable      = 1  // NFTA_FLOW_TABLE_NAME
	dynsetExprs    = 10 // NFTA_DYNSET_EXPRESSIONS
)

// statement prints an expression that is a statement rather than a match.
func (p *printer) statement(e expression) {
	switch e.name {
	case "counter", "notrack": // the packets and bytes of a counter are not part of the text
		p.say("%s", e.name)
	case "objref":
		what, ok := map[uint32]string{
			unix.NFT_OBJECT_COUNTER: "counter name", unix.NFT_OBJECT_QUOTA: "quota name", unix.NFT_OBJECT_CT_HELPER: "ct helper set",
			unix.NFT_OBJECT_LIMIT: "limit name", unix.NFT_OBJECT_CT_TIMEOUT: "ct timeout set", unix.NFT_OBJECT_CT_EXPECT: "ct expectation set",
		}[e.u32(unix.NFTA_OBJREF_IMM_TYPE)]
		if !ok {
			p.unknown(e)
			return
		}
		p.say("%s %q", what, e.text(unix.NFTA_OBJREF_IMM_NAME))
	case "limit":
		p.say("limit rate %s", limit(e))
	case "quota":
		p.say("quota %s%s", over(e.u32(unix.NFTA_QUOTA_FLAGS)&unix.NFT_QUOTA_F_INV != 0), bytesText(e.u64(unix.NFTA_QUOTA_BYTES)))
	case "connlimit":
		p.say("ct count %s%d", over(e.u32(connlimitFlags)&1 != 0), e.u32(connlimitCount))
	case "log":
		p.log(e)
	case "reject":
		p.reject(e)
	case "nat":
		what, family := "snat", e.u32(unix.NFTA_NAT_FAMILY)
		if e.u32(unix.NFTA_NAT_TYPE) == unix.NFT_NAT_DNAT {
			what = "dnat"
		}
		if p.family != unix.NFPROTO_IPV4 && p.family != unix.NFPROTO_IPV6 {
			what += " " + FamilyName(uint8(family))
		}
		addr, port := e.u32(unix.NFTA_NAT_REG_ADDR_MIN), e.u32(unix.NFTA_NAT_REG_PROTO_MIN)
		to := p.from(addr, e.u32(unix.NFTA_NAT_REG_ADDR_MAX), addressOf(family))
		if port != 0 {
			if family == unix.NFPROTO_IPV6 && addr != 0 {
				to = "[" + to + "]"
			}
			to += ":" + p.from(port, e.u32(unix.NFTA_NAT_REG_PROTO_MAX), number)
		}
		p.say("%s to %s%s", what, to, natFlags(e.u32(unix.NFTA_NAT_FLAGS)))
	case "masq":
		p.toPort("masquerade", e.u32(unix.NFTA_MASQ_REG_PROTO_MIN), e.u32(unix.NFTA_MASQ_REG_PROTO_MAX), e.u32(unix.NFTA_MASQ_FLAGS))
	case "redir":
		p.toPort("redirect", e.u32(unix.NFTA_REDIR_REG_PROTO_MIN), e.u32(unix.NFTA_REDIR_REG_PROTO_MAX), e.u32(unix.NFTA_REDIR_FLAGS))
	case "flow_offload":
		p.say("flow add @%s", e.text(flowTable))
	case "dynset":
		p.dynset(e)
	case "match", "target":
		p.say("xt %s %q", e.name, e.text(unix.NFTA_MATCH_NAME)) // NFTA_TARGET_NAME has the same number
	default:
		p.unknown(e)
	}
}

// unknown prints the name of an unknown expression. It may have changed any register, so they are cleared.
func (p *printer) unknown(e expression) {
	p.say("[%s]", e.name)
	p.registers = [registers]operand{}
}

func over(b bool) string {
	if b {
		return "over "
	}
	return ""
}

// bytesText returns a number of bytes in the largest unit that needs no fraction.
func bytesText(n uint64) string {
	units := []string{"bytes", "kbytes", "mbytes"}
	i := 0
	for ; i < len(units)-1 && n > 0 && n%1024 == 0; i++ {
		n /= 1024
	}
	return fmt.Sprintf("%d %s", n, units[i])
}

func limit(e expression) string {
	unit := map[uint64]string{1: "second", 60: "minute", 60 * 60: "hour", 24 * 60 * 60: "day", 7 * 24 * 60 * 60: "week"}[e.u64(unix.NFTA_LIMIT_UNIT)]
	s := over(e.u32(unix.NFTA_LIMIT_FLAGS)&unix.NFT_LIMIT_F_INV != 0)
	rate, burst := e.u64(unix.NFTA_LIMIT_RATE), e.u32(unix.NFTA_LIMIT_BURST)
	switch {
	case e.u32(unix.NFTA_LIMIT_TYPE) == unix.NFT_LIMIT_PKT_BYTES && burst > 0:
		return s + bytesText(rate) + "/" + unit + " burst " + bytesText(uint64(burst))
	case e.u32(unix.NFTA_LIMIT_TYPE) == unix.NFT_LIMIT_PKT_BYTES:
		return s + bytesText(rate) + "/" + unit
	case burst == 0 || burst == 5: // nft's default
		return s + fmt.Sprintf("%d/%s", rate, unit)
	}
	return s + fmt.Sprintf("%d/%s burst %d packets", rate, unit, burst)
}

func (p *printer) log(e expression) {
	s := "log"
	if prefix := e.text(unix.NFTA_LOG_PREFIX); prefix != "" {
		s += fmt.Sprintf(" prefix \"%s\"", prefix)
	}
	if _, ok := e.attrs[unix.NFTA_LOG_GROUP]; ok {
		s += fmt.Sprintf(" group %d", e.u32(unix.NFTA_LOG_GROUP))
	}
	if n := e.u32(unix.NFTA_LOG_SNAPLEN); n > 0 {
		s += fmt.Sprintf(" snaplen %d", n)
	}
	if n := e.u32(unix.NFTA_LOG_QTHRESHOLD); n > 0 {
		s += fmt.Sprintf(" queue-threshold %d", n)
	}
	levels := [...]string{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"}
	if _, ok := e.attrs[unix.NFTA_LOG_LEVEL]; ok {
		if n := e.u32(unix.NFTA_LOG_LEVEL); n < uint32(len(levels)) && levels[n] != "warn" { // nft's default
			s += " level " + levels[n]
		}
	}
	if flags := e.u32(unix.NFTA_LOG_FLAGS); flags != 0 {
		s += fmt.Sprintf(" flags [0x%x]", flags)
	}
	p.say("%s", s)
}

// reject prints a reject statement. The reply is left out if it is the family's default.
func (p *printer) reject(e expression) {
	kind, codes := "icmpx", icmpxCode
	switch e.u32(unix.NFTA_REJECT_TYPE) {
	case unix.NFT_REJECT_TCP_RST:
		p.say("reject with tcp reset")
		return
	case unix.NFT_REJECT_ICMP_UNREACH:
		p.omit(unix.NFT_PAYLOAD_NETWORK_HEADER)
		kind, codes = "icmp", icmpCode
		if p.network == "ip6" {
			kind, codes = "icmpv6", icmp6Code
		}
	}
	code := codes.format(p, e.attrs[unix.NFTA_REJECT_ICMP_CODE])
	oneFamily := p.family == unix.NFPROTO_IPV4 || p.family == unix.NFPROTO_IPV6
	if code == "port-unreachable" && oneFamily == (kind != "icmpx") {
		p.say("reject")
		return
	}
	p.say("reject with %s %s", kind, code)
}

func addressOf(family uint32) *datatype {
	if family == unix.NFPROTO_IPV6 {
		return ip6Address
	}
	return ipAddress
}

// from returns the address or port range of a NAT statement, from one or two registers.
func (p *printer) from(first, last uint32, t *datatype) string {
	switch {
	case first == 0:
		return ""
	case last == 0 || register(last) == register(first):
		return p.source(first, t)
	}
	return p.source(first, t) + "-" + p.source(last, t)
}

func (p *printer) toPort(what string, first, last, flags uint32) {
	if first != 0 {
		what += " to :" + p.from(first, last, number)
	}
	p.say("%s%s", what, natFlags(flags))
}

// natFlags returns the flags of a NAT statement (include/uapi/linux/netfilter/nf_nat.h).
func natFlags(flags uint32) string {
	var s []string
	for _, f := range []struct {
		flag uint32
		name string
	}{{1 << 2, "random"}, {1 << 4, "fully-random"}, {1 << 3, "persistent"}} {
		if flags&f.flag != 0 {
			s = append(s, f.name)
		}
	}
	if s == nil {
		return ""
	}
	return " " + strings.Join(s, ",")
}

// dynset prints a statement that adds, updates or deletes an element of a set.
func (p *printer) dynset(e expression) {
	op, name := "add", e.text(unix.NFTA_DYNSET_SET_NAME)
	switch e.u32(unix.NFTA_DYNSET_OP) {
	case unix.NFT_DYNSET_OP_UPDATE:
		op = "update"
	case 2: // NFT_DYNSET_OP_DELETE
		op = "delete"
	}
	words := []string{textOf(p.key(e.u32(unix.NFTA_DYNSET_SREG_KEY), p.sets(name)))}
	if ms := e.u64(unix.NFTA_DYNSET_TIMEOUT); ms > 0 {
		words = append(words, "timeout "+duration(ms))
	}
	inner := printer{}
	if _, ok := e.attrs[unix.NFTA_DYNSET_EXPR]; ok {
		inner.statement(expressionOf(e.nested(unix.NFTA_DYNSET_EXPR)))
	}
	for _, x := range e.list(dynsetExprs) {
		inner.statement(expressionOf(x))
	}
	words = append(words, inner.words...)
	if reg := e.u32(unix.NFTA_DYNSET_SREG_DATA); reg != 0 {
		words = append(words, ":", p.source(reg, nil))
	}
	p.say("%s @%s { %s }", op, name, strings.Join(words, " "))
}
