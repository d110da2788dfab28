package nfnl

import "encoding/binary"

// AddStats adds the statistics of one CPU, from the body of a message of DumpStats or DumpExpectStats, to counts. The
// index in counts is the attribute type (include/uapi/linux/netfilter/nfnetlink_conntrack.h, enum ctattr_stats_cpu and
// ctattr_expect_stats). Types whose element is nil are skipped. Types beyond the end of counts are unknown; the first
// of them is returned. told has a bit for each type that the message has: older kernels lack some.
func AddStats(counts []*uint64, body []byte, at int) (told uint64, unknown *UnknownError, err error) {
	attrs, at, err := Body(body, at)
	if err != nil {
		return 0, nil, err
	}
	var u unknowns
	err = u.each(attrs, at, "statistics", func(v value) error {
		if int(v.typ) >= len(counts) || v.typ == 0 {
			return errUnknown
		}
		told |= 1 << v.typ
		err := v.check(4)
		if n := counts[v.typ]; n != nil && err == nil {
			*n += uint64(binary.BigEndian.Uint32(v.b))
		}
		return err
	})
	return told, u.first, err
}
