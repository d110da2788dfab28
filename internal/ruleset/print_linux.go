package ruleset

import (
	"bytes"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// printRule returns a rule as nft -s list ruleset prints it (nft 1.0). An unknown expression is printed as its name in
// brackets. The function sets returns a set of the rule's table by its name, or nil, and link returns the name of a
// link by its index.
func printRule(r rule, sets func(string) *set, link func(uint32) string) string {
	p := printer{
		family: r.family, sets: sets, link: link, implied: map[uint32]int{},
		network: map[uint8]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6"}[r.family],
	}
	for i := 0; i < len(r.exprs); i++ {
		i += p.expression(r.exprs[i], r.exprs[i+1:])
	}
	if r.comment != "" {
		p.say("comment \"%s\"", r.comment)
	}
	return strings.Join(slices.DeleteFunc(p.words, func(w string) bool { return w == "" }), " ")
}

// printer prints a rule. It keeps track of what the rule's expressions load into the registers.
type printer struct {
	family uint8 // family of the table
	sets   func(string) *set
	link   func(uint32) string

	words     []string
	registers [registers]operand
	// network and transport are the headers that the rule has matched so far: "ip" or "ip6", and "tcp", "udp", …; else
	// "".
	network, transport string
	// implied has the numbers, counted from 1, of the words that match the header of a layer. nft adds such a match
	// before a match of a field of the header, and does not print it there.
	implied map[uint32]int
}

// registers is the number of 4-byte registers (include/uapi/linux/netfilter/nf_tables.h, NFT_REG32_COUNT).
const registers = 16

// register returns the index of a 4-byte register. A 16-byte register has the index of the first of the four that it
// consists of.
func register(n uint32) int {
	switch {
	case n >= unix.NFT_REG_1 && n <= unix.NFT_REG_4:
		return int(n-unix.NFT_REG_1) * 4
	case n >= unix.NFT_REG32_00 && n <= unix.NFT_REG32_15:
		return int(n - unix.NFT_REG32_00)
	}
	return 0
}

// operand is the contents of a register: a field of the packet, a value, or the result of a map.
type operand struct {
	field
	swapped   bool                   // converted between host and network byte order
	mask, xor []byte                 // applied by a bitwise expression: x & mask ^ xor; nil: none
	value     func(*datatype) string // formats a value or the result of a map as a type; nil for a field
	parts     []field                // the fields of a payload that has several
}

func (p *printer) say(format string, args ...any) {
	p.words = append(p.words, strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// load sets the contents of a register.
func (p *printer) load(n uint32, o operand) {
	at := register(n)
	p.registers[at] = o
	for i := at + 1; i < min(registers, at+words(o.size)); i++ {
		p.registers[i] = operand{}
	}
}

// words returns the number of 4-byte registers that a value of size bytes occupies.
func words(size int) int { return max(1, (max(0, min(size, 64))+3)/4) }

// omit removes the word that matches the header of a layer.
func (p *printer) omit(base uint32) {
	if word := p.implied[base]; word > 0 {
		p.words[word-1] = ""
		p.implied[base] = 0
	}
}

// expression prints an expression, and returns the number of following expressions printed with it.
func (p *printer) expression(e expression, next []expression) (more int) {
	switch e.name {
	case "meta":
		p.loadOrSet(e, unix.NFTA_META_DREG, unix.NFTA_META_SREG, operand{field: fieldOf(metaFields, "meta", e.u32(unix.NFTA_META_KEY))})
	case "ct":
		f := fieldOf(ctFields, "ct", e.u32(unix.NFTA_CT_KEY))
		if dir, ok := e.attrs[unix.NFTA_CT_DIRECTION]; ok {
			f.name = "ct " + direction.format(p, dir) + strings.TrimPrefix(f.name, "ct")
		}
		p.loadOrSet(e, unix.NFTA_CT_DREG, unix.NFTA_CT_SREG, operand{field: f})
	case "payload":
		p.payload(e)
	case "fib":
		p.fib(e)
	case "socket":
		p.load(e.u32(socketDreg), operand{field: fieldOf(socketFields, "socket", e.u32(socketKey))})
	case "numgen":
		kind := "inc"
		if e.u32(unix.NFTA_NG_TYPE) == unix.NFT_NG_RANDOM {
			kind = "random"
		}
		text := fmt.Sprintf("numgen %s mod %d", kind, e.u32(unix.NFTA_NG_MODULUS))
		if n := e.u32(unix.NFTA_NG_OFFSET); n != 0 {
			text += fmt.Sprintf(" offset %d", n)
		}
		p.load(e.u32(unix.NFTA_NG_DREG), operand{field: field{text, hostNumber, 4, 0}})
	case "immediate":
		if v, ok := e.verdict(unix.NFTA_IMMEDIATE_DATA); ok {
			p.say("%v", v)
			return 0
		}
		data := e.data(unix.NFTA_IMMEDIATE_DATA)
		p.load(e.u32(unix.NFTA_IMMEDIATE_DREG), operand{field: field{size: len(data)}, value: func(t *datatype) string { return p.format(t, data) }})
	case "bitwise":
		o := p.registers[register(e.u32(unix.NFTA_BITWISE_SREG))]
		if op := e.u32(bitwiseOp); op != 0 || o.mask != nil {
			o = operand{field: field{name: "[bitwise]"}}
		}
		o.mask, o.xor = e.data(unix.NFTA_BITWISE_MASK), e.data(unix.NFTA_BITWISE_XOR)
		p.load(e.u32(unix.NFTA_BITWISE_DREG), o)
	case "byteorder":
		o := p.registers[register(e.u32(unix.NFTA_BYTEORDER_SREG))]
		o.swapped = !o.swapped
		p.load(e.u32(unix.NFTA_BYTEORDER_DREG), o)
	case "cmp":
		return p.compare(e, next)
	case "range":
		o := p.registers[register(e.u32(unix.NFTA_RANGE_SREG))]
		p.say("%s%s %s-%s", p.masked(o), not(e.u32(unix.NFTA_RANGE_OP) == unix.NFT_RANGE_NEQ),
			p.format(o.datatype(), e.data(unix.NFTA_RANGE_FROM_DATA)), p.format(o.datatype(), e.data(unix.NFTA_RANGE_TO_DATA)))
	case "lookup":
		p.lookup(e)
	default:
		p.statement(e)
	}
	return 0
}

// loadOrSet handles an expression that loads an operand into a register or sets the operand from a register.
func (p *printer) loadOrSet(e expression, to, from uint16, o operand) {
	if _, sets := e.attrs[from]; sets {
		p.say("%s set %s", o.name, p.source(e.u32(from), o.typ))
		return
	}
	p.load(e.u32(to), o)
}

// payload handles an expression that loads or sets bytes of a header: fields, if the rule has matched the header
// before, or raw bytes.
func (p *printer) payload(e expression) {
	base, offset, size := e.u32(unix.NFTA_PAYLOAD_BASE), e.u32(unix.NFTA_PAYLOAD_OFFSET), e.u32(unix.NFTA_PAYLOAD_LEN)
	header, place := "", "ll"
	switch base {
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		header, place = p.network, "nh"
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		if header, place = p.transport, "th"; headers[header] == nil {
			header = "th"
		}
	case unix.NFT_PAYLOAD_INNER_HEADER:
		place = "ih"
	}
	o := operand{field: field{fmt.Sprintf("@%s,%d,%d", place, offset*8, size*8), rawNumber, int(min(size, registers*4)), 0}}
	if parts := fieldsAt(header, offset, int(min(size, registers*4))); parts != nil {
		p.omit(base)
		if base == unix.NFT_PAYLOAD_TRANSPORT_HEADER && strings.HasPrefix(p.transport, "icmp") {
			p.omit(unix.NFT_PAYLOAD_NETWORK_HEADER)
		}
		if o.parts = parts; len(parts) == 1 {
			o.field, o.parts = parts[0], nil
		}
	}
	p.loadOrSet(e, unix.NFTA_PAYLOAD_DREG, unix.NFTA_PAYLOAD_SREG, o)
}

// learn records the header that a comparison, which is the last word, has matched.
func (p *printer) learn(o operand, data []byte) {
	inet := p.family != unix.NFPROTO_IPV4 && p.family != unix.NFPROTO_IPV6
	value, word := p.format(o.datatype(), data), len(p.words)
	switch o.name {
	case "meta l4proto", "ip protocol", "ip6 nexthdr":
		p.transport = strings.Replace(value, "ipv6-icmp", "icmpv6", 1)
		if inet && o.name != "meta l4proto" { // it also matches the network header (nft, src/payload.c, payload_may_dependency_kill)
			word = 0
		}
		p.implied[unix.NFT_PAYLOAD_TRANSPORT_HEADER] = word
	case "meta nfproto":
		p.network = map[string]string{"ipv4": "ip", "ipv6": "ip6"}[value]
		p.implied[unix.NFT_PAYLOAD_NETWORK_HEADER] = word
	case "meta protocol":
		p.network = value
		if p.family != unix.NFPROTO_INET {
			p.implied[unix.NFT_PAYLOAD_NETWORK_HEADER] = word
		}
	}
}

// compare prints a comparison.
func (p *printer) compare(e expression, next []expression) (more int) {
	reg, op, data := e.u32(unix.NFTA_CMP_SREG), e.u32(unix.NFTA_CMP_OP), e.data(unix.NFTA_CMP_DATA)
	o := p.registers[register(reg)]
	t := o.datatype()
	if op == unix.NFT_CMP_GTE && len(next) > 0 && next[0].name == "cmp" && next[0].u32(unix.NFTA_CMP_OP) == unix.NFT_CMP_LTE && next[0].u32(unix.NFTA_CMP_SREG) == reg {
		p.say("%s %s-%s", p.masked(o), p.format(t, data), p.format(t, next[0].data(unix.NFTA_CMP_DATA)))
		return 1
	}
	if o.parts != nil && op == unix.NFT_CMP_EQ && o.mask == nil && len(data) == o.size {
		for _, f := range o.parts {
			p.say("%s %s", f.name, p.format(f.typ, data[:f.size]))
			data = data[f.size:]
		}
		return 0
	}
	operator := map[uint32]string{
		unix.NFT_CMP_NEQ: " !=", unix.NFT_CMP_LT: " <", unix.NFT_CMP_LTE: " <=", unix.NFT_CMP_GT: " >", unix.NFT_CMP_GTE: " >=",
	}[op]
	equal := operator
	if op == unix.NFT_CMP_EQ {
		equal = " =="
	}
	value := p.format(t, data)
	switch {
	case o.mask == nil && t.flags:
		p.say("%s%s %s", o.name, equal, value)
	case o.mask == nil:
		p.say("%s%s %s", o.name, operator, value)
		if op == unix.NFT_CMP_EQ {
			p.learn(o, data)
		}
	case t.flags && isZero(data) && op == unix.NFT_CMP_NEQ: // any of the bits is set
		p.say("%s %s", o.name, p.format(t, o.mask))
	case t.flags && isZero(data) && op == unix.NFT_CMP_EQ:
		p.say("%s ! %s", o.name, p.format(t, o.mask))
	case t.flags && ones(o.mask) != 1:
		p.say("%s%s %s / %s", o.name, operator, value, p.format(t, o.mask))
	case isPrefix(t, o.mask) && isZero(o.xor):
		p.say("%s%s %s/%d", o.name, operator, value, ones(o.mask))
	default:
		p.say("%s%s %s", p.masked(o), equal, value)
	}
	return 0
}

// masked returns an operand with the bitwise operations applied to it.
func (p *printer) masked(o operand) string {
	if o.mask == nil {
		return o.name
	}
	and, xor := p.format(o.datatype(), o.mask), p.format(o.datatype(), o.xor)
	switch {
	case isZero(o.xor):
		return fmt.Sprintf("%s & %s", o.name, and)
	case ones(o.mask) == len(o.mask)*8:
		return fmt.Sprintf("%s ^ %s", o.name, xor)
	case isDisjoint(o.mask, o.xor) && ones(o.mask)+ones(o.xor) == len(o.mask)*8:
		return fmt.Sprintf("%s | %s", o.name, xor)
	}
	return fmt.Sprintf("%s & %s ^ %s", o.name, and, xor)
}

// source returns the contents of a register that something is set to: a value of type t, or a field.
func (p *printer) source(n uint32, t *datatype) string {
	o := p.registers[register(n)]
	switch {
	case o.value != nil:
		return o.value(t)
	case o.name == "":
		return "[unknown]"
	}
	return p.masked(o)
}

// key returns the operands of a set's key, which begins in register n; s may be nil.
func (p *printer) key(n uint32, s *set) []operand {
	at := register(n)
	all := []operand{p.registers[at]}
	for next := at + words(all[0].size); s != nil && next < registers && (next-at)*4 < s.keyLen && p.registers[next].name != ""; {
		all = append(all, p.registers[next])
		next += words(p.registers[next].size)
	}
	return all
}

func textOf(key []operand) string {
	var s []string
	for _, o := range key {
		s = append(s, o.name)
	}
	return strings.Join(s, " . ")
}

// lookup prints a lookup in a set or verdict map, or loads the result of a map.
func (p *printer) lookup(e expression) {
	name := e.text(unix.NFTA_LOOKUP_SET)
	s := p.sets(name)
	key := p.key(e.u32(unix.NFTA_LOOKUP_SREG), s)
	text := textOf(key)
	if len(key) == 1 {
		text = p.masked(key[0])
	}
	_, isMap := e.attrs[unix.NFTA_LOOKUP_DREG]
	to := e.u32(unix.NFTA_LOOKUP_DREG)
	switch {
	case isMap && to == unix.NFT_REG_VERDICT:
		p.say("%s vmap %s", text, p.set(name, s, key, nil))
	case isMap:
		o := operand{value: func(t *datatype) string { return text + " map " + p.set(name, s, key, t) }}
		if s != nil {
			o.size = s.dataLen
		}
		p.load(to, o)
	default:
		p.say("%s%s %s", text, not(e.u32(unix.NFTA_LOOKUP_FLAGS)&unix.NFT_LOOKUP_F_INV != 0), p.set(name, s, key, nil))
	}
}

// set returns the name of a set, or the elements of an anonymous one. They map to values of type to.
func (p *printer) set(name string, s *set, key []operand, to *datatype) string {
	if s == nil || s.flags&unix.NFT_SET_ANONYMOUS == 0 {
		return "@" + name
	}
	elements := slices.Clone(s.elements)
	interval := s.flags&unix.NFT_SET_INTERVAL != 0
	slices.SortStableFunc(elements, func(a, b element) int {
		return bytes.Compare(sortKey(key, a.key, interval), sortKey(key, b.key, interval))
	})
	var all []string
	for i, e := range elements {
		var text string
		switch {
		case e.isEnd:
			continue
		case interval && len(key) == 1:
			var end []byte // exclusive end of the interval; nil: none
			if i+1 < len(elements) {
				end = elements[i+1].key
			}
			text = p.interval(key[0].datatype(), e.key, end)
		default:
			var parts []string
			ends := split(key, e.end)
			for i, from := range split(key, e.key) {
				parts = append(parts, p.between(key[i].datatype(), from, ends[i]))
			}
			text = strings.Join(parts, " . ")
		}
		switch {
		case e.isVerdict:
			text += " : " + e.verdict.String()
		case e.data != nil:
			text += " : " + p.format(to, e.data)
		}
		all = append(all, text)
	}
	return "{ " + strings.Join(all, ", ") + " }"
}

// split returns the parts of a key, each of which begins in a new register.
func split(key []operand, b []byte) (parts [][]byte) {
	for i, o := range key {
		n := min(len(b), o.size)
		if len(key) == 1 {
			n = len(b)
		}
		parts = append(parts, b[:n])
		if i < len(key)-1 {
			b = b[min(len(b), words(o.size)*4):]
		}
	}
	return parts
}

// sortKey returns the bytes by which nft sorts the elements of a set: a number in network byte order. Without
// intervals, text is also sorted as a number in host byte order.
func sortKey(key []operand, b []byte, interval bool) (sort []byte) {
	for i, part := range split(key, b) {
		if t := key[i].datatype(); t.host || t.text && !interval {
			part = swap(part)
		}
		sort = append(sort, part...)
	}
	return sort
}

// interval returns an element of an interval set, from its first value to the exclusive end.
func (p *printer) interval(t *datatype, from, end []byte) string {
	if t.text {
		prefix := bytes.TrimRight(from, "\x00")
		if len(prefix) > 0 && len(prefix) == len(bytes.TrimRight(end, "\x00")) {
			return fmt.Sprintf("\"%s*\"", prefix)
		}
		return p.format(t, from)
	}
	last := bytes.Repeat([]byte{0xff}, len(from))
	if n := integer(end); n.Sign() > 0 && len(end) == len(from) {
		n.Sub(n, big.NewInt(1)).FillBytes(last)
	}
	return p.between(t, from, last)
}

// between returns a range as a prefix if it is one, or as a single value if both ends are equal or to is empty.
func (p *printer) between(t *datatype, from, to []byte) string {
	if len(to) != len(from) || bytes.Equal(from, to) {
		return p.format(t, from)
	}
	mask, bits := make([]byte, len(from)), make([]byte, len(from)) // the bits that are the same in both ends, and the others
	for i := range mask {
		bits[i] = from[i] ^ to[i]
		mask[i] = ^bits[i]
	}
	if isPrefix(t, mask) && isDisjoint(from, bits) {
		return fmt.Sprintf("%s/%d", p.format(t, from), ones(mask))
	}
	return p.format(t, from) + "-" + p.format(t, to)
}

// datatype returns the type of an operand's values.
func (o operand) datatype() *datatype {
	t := o.typ
	if t == nil {
		t = rawNumber
	}
	if t.host && o.swapped {
		network := *t
		network.host = false
		return &network
	}
	return t
}

// format returns a value of type t; nil means a raw number.
func (p *printer) format(t *datatype, b []byte) string {
	switch {
	case t == nil:
		return rawNumber.format(p, b)
	case t.host:
		return t.format(p, swap(b))
	}
	return t.format(p, b)
}

func not(b bool) string {
	if b {
		return " !="
	}
	return ""
}

// fib loads the result of a routing table lookup.
func (p *printer) fib(e expression) {
	var by []string
	flags := e.u32(unix.NFTA_FIB_FLAGS)
	for i, name := range []string{"saddr", "daddr", "mark", "iif", "oif"} { // NFTA_FIB_F_SADDR and so on
		if flags&(1<<i) != 0 {
			by = append(by, name)
		}
	}
	result := fieldOf(fibFields, "result", e.u32(unix.NFTA_FIB_RESULT))
	if flags&unix.NFTA_FIB_F_PRESENT != 0 {
		result.typ, result.size = boolean, 1
	}
	result.name = "fib " + strings.Join(by, " . ") + " " + result.name
	p.load(e.u32(unix.NFTA_FIB_DREG), operand{field: result})
}
