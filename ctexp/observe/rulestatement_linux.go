package observe

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// statement says what an expression does that asks for nothing.
func (w *ruleWriter) statement(e expr.Any) {
	switch e := e.(type) {
	case *expr.Counter: // shown as numbers
	case *expr.Verdict:
		w.say("%s", verdict(e))
	case *expr.Objref:
		what := "object"
		if e.Type == nftObjectCounter {
			what = "counter"
		}
		w.say("%s name %q", what, e.Name)
	case *expr.Limit:
		w.say("limit rate%s %d%s/%s", over(e.Over), e.Rate, limitUnit(e.Type), limitTime(e.Unit))
	case *expr.Quota:
		w.say("quota%s %d bytes", over(e.Over), e.Bytes)
	case *expr.Connlimit:
		w.say("ct count%s %d", over(e.Flags&1 != 0), e.Count)
	case *expr.Log:
		w.say("log%s", logTo(e))
	case *expr.Reject:
		if e.Type == unix.NFT_REJECT_TCP_RST {
			w.say("reject with tcp reset")
		} else {
			w.say("reject")
		}
	case *expr.NAT:
		what := "snat"
		if e.Type == expr.NATTypeDestNAT {
			what = "dnat"
		}
		w.say("%s to %s", what, w.target(e.RegAddrMin, e.RegProtoMin))
	case *expr.Masq:
		w.say("masquerade")
	case *expr.Redir:
		w.say("redirect to %s", w.target(0, e.RegisterProtoMin))
	case *expr.Notrack:
		w.say("notrack")
	case *expr.Queue:
		w.say("queue num %d", e.Num)
	case *expr.FlowOffload:
		w.say("flow add @%s", e.Name)
	case *expr.Dynset:
		w.say("add @%s { %s }", e.SetName, w.registers[e.SrcRegKey].name)
	case *expr.Match:
		w.say("xt match %s", e.Name)
	case *expr.Target:
		w.say("xt target %s", e.Name)
	default:
		w.say("(%s)", kind(e))
	}
}

func verdict(v *expr.Verdict) string {
	switch v.Kind {
	case expr.VerdictAccept:
		return "accept"
	case expr.VerdictDrop:
		return "drop"
	case expr.VerdictReturn:
		return "return"
	case expr.VerdictContinue:
		return "continue"
	case expr.VerdictJump:
		return "jump " + v.Chain
	case expr.VerdictGoto:
		return "goto " + v.Chain
	}
	return fmt.Sprintf("verdict(%d)", v.Kind)
}

func over(b bool) string {
	if b {
		return " over"
	}
	return ""
}

func limitUnit(t expr.LimitType) string {
	if t == expr.LimitTypePktBytes {
		return " bytes"
	}
	return ""
}

func limitTime(t expr.LimitTime) string {
	switch t {
	case expr.LimitTimeSecond:
		return "second"
	case expr.LimitTimeMinute:
		return "minute"
	case expr.LimitTimeHour:
		return "hour"
	case expr.LimitTimeDay:
		return "day"
	case expr.LimitTimeWeek:
		return "week"
	}
	return fmt.Sprintf("%d seconds", t)
}

func logTo(l *expr.Log) string {
	var s string
	if prefix := strings.TrimRight(string(l.Data), "\x00"); prefix != "" {
		s += fmt.Sprintf(" prefix %q", prefix)
	}
	if l.Key&(1<<unix.NFTA_LOG_GROUP) != 0 {
		s += fmt.Sprintf(" group %d", l.Group)
	}
	return s
}

// target prints where NAT translates to, from the registers of the address and the port; 0 is no register.
func (w *ruleWriter) target(addr, port uint32) string {
	var s string
	if addr != 0 {
		o := w.registers[addr]
		a, ok := netip.AddrFromSlice(o.data)
		switch {
		case !ok:
			s = o.name
		case a.Is6() && port != 0:
			s = "[" + a.String() + "]"
		default:
			s = a.String()
		}
	}
	if port != 0 {
		o := w.registers[port]
		if len(o.data) >= 2 {
			s += ":" + number(o.data[:2])
		} else {
			s += ":" + o.name
		}
	}
	return s
}
