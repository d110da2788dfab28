package nf

// Filter selects entries. The zero Filter selects all of the experiment's.
type Filter struct {
	Family Family // zero: both
	// Mark selects entries whose mark agrees in the bits of MarkMask; a zero MarkMask asks for none.
	Mark, MarkMask uint32
	// Status selects entries whose status agrees in the bits of StatusMask; a zero StatusMask asks for none.
	Status, StatusMask Status
	// Zone selects entries of one zone, if it is not nil: nf.InZone(0) differs from no zone asked for.
	Zone *uint16
	// Proto and Tuple are compared after reading: the kernel has no filter for them that every version gets right.
	Proto Proto
	Tuple Tuple // an entry whose original or reply tuple is this one; zero: any
}

// InZone returns a value for Filter.Zone.
func InZone(zone uint16) *uint16 { return &zone }

// Match reports whether e is among the entries that f selects.
func (f Filter) Match(e Entry) bool {
	return (f.Family == 0 || f.Family == e.Orig.Family()) &&
		e.Mark&f.MarkMask == f.Mark&f.MarkMask &&
		e.Status&f.StatusMask == f.Status&f.StatusMask &&
		(f.Zone == nil || *f.Zone == e.Zone) &&
		(f.Proto == 0 || f.Proto == e.Orig.Proto) &&
		(f.Tuple == Tuple{} || f.Tuple == e.Orig || f.Tuple == e.Reply)
}
