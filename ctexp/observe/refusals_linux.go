package observe

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// refusing has the types of routes that drop packets. The actions of routing rules have the same numbers
// (include/uapi/linux/fib_rules.h, FR_ACT_BLACKHOLE).
var refusing = map[uint8]string{unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: refusesUnreachable, unix.RTN_PROHIBIT: "prohibit"}

// refusals lists the routes and the routing rules of the namespace that refuse packets.
func (o *Observer) refusals() (all map[nf.Family][]Refusal, err error) {
	err = o.ns.Do(func() error {
		conn, err := rtnetlink.Dial(nil)
		if err != nil {
			return err
		}
		defer conn.Close()
		all = map[nf.Family][]Refusal{}
		rules, err := conn.Rule.List()
		if err != nil {
			return fmt.Errorf("list routing rules: %w", err)
		}
		for _, r := range rules {
			if f := familyByNumber[r.Family]; f != 0 && refusing[r.Action] != "" {
				all[f] = append(all[f], Refusal{refusing[r.Action], ruleText(r), true})
			}
		}
		routes, err := conn.Route.List()
		if err != nil {
			return fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if f := familyByNumber[r.Family]; f != 0 && refusing[r.Type] != "" {
				all[f] = append(all[f], Refusal{refusing[r.Type], routeText(r), false})
			}
		}
		return nil
	})
	return all, err
}

// familyByNumber has the families of rtnetlink's messages. There are others, such as that of multicast routing.
var familyByNumber = map[uint8]nf.Family{unix.AF_INET: nf.IPv4, unix.AF_INET6: nf.IPv6}

// ruleText prints "by rule 100", with its preference.
func ruleText(r rtnetlink.RuleMessage) string {
	preference := uint32(0)
	if r.Attributes != nil && r.Attributes.Priority != nil {
		preference = *r.Attributes.Priority
	}
	return fmt.Sprintf("by rule %d", preference)
}

// routeText prints "192.0.2.66/32", and the table if that is not the main one.
func routeText(r rtnetlink.RouteMessage) string {
	s := destination(r.Attributes.Dst, r.DstLength)
	if r.Attributes.Table != unix.RT_TABLE_MAIN {
		s += fmt.Sprintf(" table %d", r.Attributes.Table)
	}
	return s
}

// destination prints a prefix; without an address it is that of all.
func destination(ip net.IP, length uint8) string {
	addr, ok := netip.AddrFromSlice(ip)
	if !ok {
		return "default"
	}
	return netip.PrefixFrom(addr.Unmap(), int(length)).String()
}
