package nf

import (
	"net/netip"
	"slices"
)

// tuple begins the next tuple.
func (p *entryParser) tuple() {
	p.complete()
	if p.dir == Reply {
		p.fail("begins a third tuple")
		return
	}
	p.dir++
	p.ofDir = nil
}

// complete makes it an error if the current tuple has not all of its keys.
func (p *entryParser) complete() {
	if p.dir == 0 {
		return
	}
	for _, key := range tupleKeys(p.e.Orig.Proto) {
		if !slices.Contains(p.ofDir, key) {
			p.missing("%s of the %v direction is", key, p.dir)
		}
	}
}

// isOfTuple reports whether key belongs to one direction.
func (p *entryParser) isOfTuple(key string) bool {
	return key == "packets" || key == "bytes" || slices.Contains(tupleKeys(p.e.Orig.Proto), key)
}

// ofTuple reads what belongs to one direction.
func (p *entryParser) ofTuple(key, value string) {
	t, packets, bytes := &p.e.Orig, &p.e.Packets.Orig, &p.e.Bytes.Orig
	switch p.dir {
	case 0:
		p.fail("comes before src")
		return
	case Reply:
		t, packets, bytes = &p.e.Reply, &p.e.Packets.Reply, &p.e.Bytes.Reply
	}
	switch key {
	case "src":
		t.Src = netip.AddrPortFrom(p.addr(value), 0)
		p.ofFamily(t.Src.Addr())
	case "dst":
		t.Dst = netip.AddrPortFrom(p.addr(value), 0)
		p.ofFamily(t.Dst.Addr())
	case "sport", "srckey":
		t.Src = netip.AddrPortFrom(t.Src.Addr(), uint16(p.number(value, 16)))
	case "dport", "dstkey":
		t.Dst = netip.AddrPortFrom(t.Dst.Addr(), uint16(p.number(value, 16)))
	case "type":
		t.ICMP.Type = uint8(p.number(value, 8))
	case "code":
		t.ICMP.Code = uint8(p.number(value, 8))
	case "id":
		t.ICMP.ID = uint16(p.number(value, 16))
	case "packets":
		*packets = p.number(value, 64)
	case "bytes":
		*bytes = p.number(value, 64)
	}
}

// ofFamily holds all addresses of a line to one family.
func (p *entryParser) ofFamily(a netip.Addr) {
	f := FamilyOf(a)
	if p.family == 0 {
		p.family = f
	}
	if p.err == nil && f != p.family {
		p.fail("is not of %v", p.family)
	}
}

// tupleKeys returns the keys that a tuple has, all of which it must have.
func tupleKeys(p Proto) []string {
	switch {
	case p.IsICMP():
		return []string{"src", "dst", "type", "code", "id"}
	case p.HasPorts():
		return []string{"src", "dst", "sport", "dport"}
	case p == GRE:
		return []string{"src", "dst", "srckey", "dstkey"}
	}
	return []string{"src", "dst"}
}
