package nf

// ZoneOf returns the zone that the tuple of a direction is looked up in.
func (e Entry) ZoneOf(d Direction) uint16 {
	if e.ZoneDir != 0 && e.ZoneDir != d {
		return 0
	}
	return e.Zone
}
