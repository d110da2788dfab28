package observe

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// mibCause is a counter of the kernel's that says why the way between two hooks ended for a packet.
type mibCause struct{ name, why string }

// mibBehindPrerouting are the causes between prerouting and input or forward (net/ipv4/ip_input.c, route.c and ip_forward.c,
// net/ipv6/ip6_output.c and route.c). Martian packets are in none of a namespace's counters.
var mibBehindPrerouting = map[nf.Family][]mibCause{
	nf.IPv4: {
		{"TcpExtIPReversePathFilter", "the source is not behind that link (rp_filter)"},
		{"IpExtInNoRoutes", "no route"},
		{"IpInAddrErrors", "not for this host, which does not forward"},
		{"IpInHdrErrors", "the time to live is over"},
		{"IpFragFails", "too big for the next link"},
	},
	nf.IPv6: {
		{"Ip6InNoRoutes", "no route, or no forwarding"},
		{"Ip6InAddrErrors", "not for this host"},
		{"Ip6InHdrErrors", "the hop limit is over"},
		{"Ip6InTooBigErrors", "too big for the next link"},
	},
}

// mibNames are the counters that a Path has, without those that are zero.
func mibNames() []string {
	var names []string
	for _, causes := range [][]mibCause{mibBehindPrerouting[nf.IPv4], mibBehindPrerouting[nf.IPv6], mibBeforeHooks[nf.IPv4], mibBeforeHooks[nf.IPv6]} {
		for _, c := range causes {
			names = append(names, c.name)
		}
	}
	return names
}

// routing says by the counters, and by what the kernel says of packets that it threw away, why packets of a family did not get from prerouting to another hook. What no counter tells
// is one of the things that otherwise says.
func (p Path) routing(f nf.Family, lost uint64, otherwise string) string {
	var why []string
	var told uint64
	for _, c := range mibBehindPrerouting[f] {
		n := p.MIB[c.name]
		if c.name == "IpInHdrErrors" { // a bad checksum is no matter of routing
			n = monus(n, p.MIB["IpExtInCsumErrors"])
		}
		if n > 0 {
			why = append(why, fmt.Sprintf("%s (%s +%d)", c.why, c.name, n))
			told += n
		}
	}
	for _, c := range martians {
		if n := p.thrown(f, c.name); n > 0 {
			why = append(why, fmt.Sprintf("%s (%s %d)", c.why, c.name, n))
			told += n
		}
	}
	if told < lost {
		if told > 0 {
			otherwise = "else " + otherwise
		}
		why = append(why, otherwise)
	}
	return strings.Join(why, "; ")
}

// subMIB returns what was counted between before and after.
func subMIB(after, before map[string]uint64) map[string]uint64 {
	if after == nil {
		return nil
	}
	d := map[string]uint64{}
	for name, n := range after {
		if n = monus(n, before[name]); n > 0 {
			d[name] = n
		}
	}
	return d
}

// parseMIB reads the text of /proc/net/snmp or /proc/net/netstat, in which two lines each have the names and the values,
// or of /proc/net/snmp6, of one counter a line, and adds the counters to mib under the names that nstat gives them:
// "IpInAddrErrors", "TcpExtIPReversePathFilter", "Ip6InNoRoutes". Values that are no count, such as -1, are left out.
func parseMIB(text string, mib map[string]uint64) error {
	var names []string
	for i, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		group, isGroup := "", false
		if len(fields) > 0 {
			group, isGroup = strings.CutSuffix(fields[0], ":")
		}
		switch {
		case len(fields) == 0:
		case !isGroup && len(fields) == 2:
			addMIB(mib, fields[0], fields[1])
		case isGroup && names == nil:
			names = fields
		case isGroup && len(names) == len(fields) && names[0] == fields[0]:
			for j := 1; j < len(fields); j++ {
				addMIB(mib, group+names[j], fields[j])
			}
			names = nil
		default:
			return fmt.Errorf("line %d: want a counter, or names and then as many values: %q", i+1, line)
		}
	}
	if names != nil {
		return fmt.Errorf("names without values: %q", names[0])
	}
	return nil
}

func addMIB(mib map[string]uint64, name, value string) {
	if n, err := strconv.ParseUint(value, 10, 64); err == nil {
		mib[name] = n
	}
}
