package observe

import (
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// readProbes reads the packets at each probe and at the silencer, by name. A name that is not there is no error here:
// the Observer knows which it has been promised.
func readProbes(conn *nfnl.Conn) (map[string]uint64, error) {
	counters, err := ruleset.Counters(conn, unix.NFPROTO_INET, ours.Table)
	if err != nil {
		return nil, err
	}
	packets := make(map[string]uint64, len(counters))
	for _, c := range counters {
		packets[c.Name] = c.Packets
	}
	return packets, nil
}
