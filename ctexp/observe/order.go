package observe

import (
	"cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// byTuple is the order of flows.
func byTuple(a, b nf.Entry) int {
	return cmp.Or(
		compareTuples(a.Orig, b.Orig),
		cmp.Compare(a.Zone, b.Zone),
		cmp.Compare(a.ZoneDir, b.ZoneDir),
		cmp.Compare(a.ID, b.ID),
	)
}

// byExpected is the order of expectations.
func byExpected(a, b nf.Expectation) int {
	return cmp.Or(
		compareTuples(a.Master, b.Master),
		compareTuples(a.Tuple, b.Tuple),
		cmp.Compare(a.Zone, b.Zone),
		cmp.Compare(a.ID, b.ID),
	)
}

func compareTuples(a, b nf.Tuple) int {
	return cmp.Or(
		cmp.Compare(a.Proto, b.Proto),
		a.Src.Compare(b.Src),
		a.Dst.Compare(b.Dst),
		cmp.Compare(a.ICMP.Type, b.ICMP.Type),
		cmp.Compare(a.ICMP.Code, b.ICMP.Code),
		cmp.Compare(a.ICMP.ID, b.ICMP.ID),
	)
}
