package observe

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// ruleText renders a rule: its comment if it has one, else its expressions, near to how nft writes them. Of an
// expression that it does not know it says the name; names are those of all of the rule's expressions.
func ruleText(r *nftables.Rule, names []string) string {
	if c := comment(r.UserData); c != "" {
		return c
	}
	w := ruleWriter{registers: map[uint32]operand{}}
	known := r.Exprs
	for _, name := range names {
		if len(known) > 0 && isNamed(known[0], name) {
			w.add(known[0])
			known = known[1:]
		} else {
			w.unknown(name)
		}
	}
	for _, e := range known {
		w.add(e)
	}
	if len(w.words) == 0 {
		return "(everything)"
	}
	return strings.Join(w.words, " ")
}

// isNamed reports whether the kernel calls e by this name.
func isNamed(e expr.Any, name string) bool {
	k := kind(e)
	return k == strings.ReplaceAll(name, "_", "") || k == "verdict" && name == "immediate"
}

// comment returns the comment in the user data of a rule (libnftnl, include/udata.h: type, length, value).
func comment(udata []byte) string {
	const ruleComment = 0 // NFTNL_UDATA_RULE_COMMENT
	for len(udata) >= 2 {
		typ, n := udata[0], int(udata[1])
		if len(udata) < 2+n {
			return ""
		}
		if typ == ruleComment {
			return strings.TrimRight(string(udata[2:2+n]), "\x00")
		}
		udata = udata[2+n:]
	}
	return ""
}

// ruleWriter follows what the expressions of a rule load into the registers.
type ruleWriter struct {
	words     []string
	registers map[uint32]operand
	last      operand // the latest one loaded
	proto     string  // "tcp" where the rule has asked for it, so that a payload has a name
	family    string  // "ip" or "ip6", likewise
}

func (w *ruleWriter) say(format string, args ...any) {
	w.words = append(w.words, strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (w *ruleWriter) load(register uint32, o operand) {
	w.registers[register], w.last = o, o
}

// unknown is for an expression of which there is nothing but the name. It may have loaded something into any register:
// what is compared next with a value is nothing that was loaded before.
func (w *ruleWriter) unknown(name string) {
	if name == "byteorder" { // changes no meaning
		return
	}
	w.say("(%s)", name)
	clear(w.registers)
	w.last = operand{}
}

func (w *ruleWriter) add(e expr.Any) {
	switch e := e.(type) {
	case *expr.Meta:
		if o := metaOperand(e.Key); e.SourceRegister {
			w.say("%s set %s", o.name, o.from(w.registers[e.Register]))
		} else {
			w.load(e.Register, o)
		}
	case *expr.Payload:
		if o := w.payloadOperand(e); e.OperationType == expr.PayloadWrite {
			w.say("%s set %s", o.name, o.from(w.registers[e.SourceRegister]))
		} else {
			w.load(e.DestRegister, o)
		}
	case *expr.Ct:
		if o := ctOperand(e); e.Register == 0 { // google/nftables does not read the register of "ct … set"
			w.say("%s set %s", o.name, o.from(w.last))
		} else {
			w.load(e.Register, o)
		}
	case *expr.Fib:
		w.load(e.Register, operand{name: fibName(e), format: hostNumber})
	case *expr.Exthdr:
		w.load(e.DestRegister, operand{name: fmt.Sprintf("exthdr %d", e.Type), format: number})
	case *expr.Immediate:
		w.load(e.Register, operand{name: "value", data: e.Data})
	case *expr.Bitwise:
		o := w.registers[e.SourceRegister]
		o.mask = e.Mask
		w.load(e.DestRegister, o)
	case *expr.Cmp:
		w.compare(w.registers[e.Register], e.Op, e.Data)
	case *expr.Range:
		o := w.registers[e.Register]
		w.say("%s%s %s-%s", o.name, not(e.Op == expr.CmpOpNeq), o.value(e.FromData), o.value(e.ToData))
	case *expr.Lookup:
		w.lookup(e)
	default:
		w.statement(e)
	}
}

func (w *ruleWriter) lookup(e *expr.Lookup) {
	o := w.registers[e.SourceRegister]
	switch {
	case e.IsDestRegSet && e.DestRegister == 0:
		w.say("%s vmap @%s", o.name, e.SetName)
	case e.IsDestRegSet:
		w.load(e.DestRegister, operand{name: fmt.Sprintf("%s map @%s", o.name, e.SetName)})
	default:
		w.say("%s%s @%s", o.name, not(e.Invert), e.SetName)
	}
}

// compare says what a comparison asks for. The protocol and the family that nft asks for by itself before it looks at
// a header are left out when the header follows.
func (w *ruleWriter) compare(o operand, op expr.CmpOp, data []byte) {
	value := o.value(data)
	if op == expr.CmpOpEq {
		switch o.name {
		case l4proto, "ip protocol", "ip6 nexthdr":
			w.proto = value
		case nfproto:
			w.family = map[string]string{"ipv4": "ip", "ipv6": "ip6"}[value]
		}
	}
	switch {
	case o.mask != nil && op == expr.CmpOpNeq && isZero(data): // any of these bits
		w.say("%s %s", o.name, o.value(o.mask))
	case o.mask != nil && isPrefix(o):
		w.say("%s%s %s/%d", o.name, operator(op), value, ones(o.mask))
	case o.mask != nil:
		w.say("%s & %s%s %s", o.name, o.value(o.mask), operator(op), value)
	default:
		w.say("%s%s %s", o.name, operator(op), value)
	}
}

// implied leaves out the last word if it is a condition that what follows implies.
func (w *ruleWriter) implied(condition string) {
	if n := len(w.words); n > 0 && w.words[n-1] == condition {
		w.words = w.words[:n-1]
	}
}

func operator(op expr.CmpOp) string {
	switch op {
	case expr.CmpOpNeq:
		return " !="
	case expr.CmpOpLt:
		return " <"
	case expr.CmpOpLte:
		return " <="
	case expr.CmpOpGt:
		return " >"
	case expr.CmpOpGte:
		return " >="
	}
	return ""
}

func not(b bool) string {
	if b {
		return " !="
	}
	return ""
}

// kind returns the name of an expression's type: "numgen" for *expr.Numgen.
func kind(e expr.Any) string {
	return strings.ToLower(reflect.Indirect(reflect.ValueOf(e)).Type().Name())
}
