package observe

import (
	"encoding/binary"
	"fmt"

	"github.com/ctexp/go-ctexp/internal/ctnl"
)

// statOf returns the counts by their attributes (include/uapi/linux/netfilter/nfnetlink_conntrack.h, enum
// ctattr_stats_cpu); what is nil, Linux has stopped counting before 5.10.
func (s *Stats) statOf() []*uint64 {
	return []*uint64{
		2: &s.Found, 4: &s.Invalid, 8: &s.Insert, 9: &s.InsertFailed, 10: &s.Drop, 11: &s.EarlyDrop, 12: &s.Error,
		13: &s.SearchRestart, 14: &s.ClashResolve, 15: &s.ChainTooLong,
	}
}

// expectStatOf is statOf of enum ctattr_expect_stats.
func (s *Stats) expectStatOf() []*uint64 {
	return []*uint64{1: &s.ExpectNew, 2: &s.ExpectCreate, 3: &s.ExpectDelete}
}

// addStats adds the counts of one CPU to those that counts has by attribute. The body of the message, which begins with
// struct nfgenmsg, lies at an offset in the datagram that errors name. The first attribute that is not
// known is returned as such; all others are added.
func addStats(counts []*uint64, body []byte, at int) (unknown *ctnl.UnknownError, err error) {
	attrs, at, err := ctnl.Body(body, at)
	if err != nil {
		return nil, err
	}
	err = ctnl.Attributes(attrs, at, func(typ uint16, at int, v []byte) error {
		if int(typ) >= len(counts) || typ == 0 {
			if unknown == nil {
				unknown = &ctnl.UnknownError{Among: "statistics", Type: typ, Offset: at}
			}
			return nil
		}
		if len(v) != 4 {
			return fmt.Errorf("statistic of type %d, value at offset %d: %d bytes, want 4", typ, at, len(v))
		}
		if n := counts[typ]; n != nil {
			*n += uint64(binary.BigEndian.Uint32(v))
		}
		return nil
	})
	return unknown, err
}
