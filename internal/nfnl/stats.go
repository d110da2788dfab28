package nfnl

import "encoding/binary"

// AddStats adds the statistics of one CPU, a message of DumpStats or DumpExpectStats, to those in counts, whose indices are the
// types of the attributes (include/uapi/linux/netfilter/nfnetlink_conntrack.h, enum ctattr_stats_cpu and
// ctattr_expect_stats). Those that are nil are passed over. Types beyond are unknown; the first is returned.
func AddStats(counts []*uint64, body []byte, at int) (unknown *UnknownError, err error) {
	attrs, at, err := Body(body, at)
	if err != nil {
		return nil, err
	}
	var u unknowns
	err = u.each(attrs, at, "statistics", func(v value) error {
		if int(v.typ) >= len(counts) || v.typ == 0 {
			return errUnknown
		}
		err := v.check(4)
		if n := counts[v.typ]; n != nil && err == nil {
			*n += uint64(binary.BigEndian.Uint32(v.b))
		}
		return err
	})
	return u.first, err
}
