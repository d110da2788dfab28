package observe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// mibNames returns the names of the counters that a Path may have.
func mibNames() []string {
	var names []string
	lists := [][]evidence{countersOfSockets, countersOfDefrag}
	for _, f := range nf.Families() {
		headers := countersOfHeaders[f]
		lists = append(lists, countersOfRouting[f], countersBeforeHooks[f], []evidence{countersBehindHooks[f], headers.errors, headers.exceeded, headers.problems})
	}
	for _, e := range slices.Concat(lists...) {
		names = append(names, e.name)
	}
	return names
}

// parseMIB parses the text of /proc/net/snmp or /proc/net/netstat, in which a line of names precedes a line of
// values, or of /proc/net/snmp6, which has one counter per line. It adds the counters to mib under the names that
// nstat uses: "IpInAddrErrors", "TcpExtIPReversePathFilter", "Ip6InNoRoutes". Values that are not counts, such as -1,
// are skipped.
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
