package inject

import (
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Way says by which link some of the packets of a recording go in: those for which all holds that it says. A field that is
// zero says nothing.
type Way struct {
	From     string       // the link at which it was recorded, as Recorded.Link has it
	Dir      Dir          // the direction in which it was recorded
	SrcMAC   nf.MAC       // the sender in the link layer
	VLAN     uint16       // sent as well, or with Replay.Untag not
	Src, Dst netip.Prefix // what the addresses are in, as they will be sent
	To       string       // the link by which it goes in; "" leaves it out
}

// Ways is a table of ways, of which the first that fits a packet decides. Packets that none fits are left out. Both
// directions of a recording, split to the two links of a router:
//
//	inject.Replay{By: inject.Ways{
//		{Src: netip.MustParsePrefix("198.18.0.0/24"), To: "tun0"},
//		{To: "tun1"},
//	}.Link}
type Ways []Way

// Link returns the name of the link by which a packet goes in; "" if none. It is a rule for Replay.By.
func (w Ways) Link(r Recorded) string {
	t := r.Packet.Tuple()
	src, dst := t.Src.Addr(), t.Dst.Addr()
	for _, way := range w {
		if way.From != "" && way.From != r.Link ||
			way.Dir != DirUnknown && way.Dir != r.Dir ||
			way.SrcMAC != (nf.MAC{}) && way.SrcMAC != r.Src ||
			way.VLAN != 0 && way.VLAN != r.VLAN ||
			way.Src.IsValid() && !way.Src.Contains(src) ||
			way.Dst.IsValid() && !way.Dst.Contains(dst) {
			continue
		}
		return way.To
	}
	return ""
}
