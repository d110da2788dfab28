package packet_test

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func TestCheckOfMatches(t *testing.T) {
	t.Parallel()
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::1]:80")
	port, typ, seq := netip.AddrPortFrom(netip.Addr{}, 80), uint8(8), uint32(1)
	udp := nf.Tuple{Proto: nf.UDP, Src: v4, Dst: v4}
	for name, c := range map[string]struct {
		match packet.Match
		right bool
	}{
		"any":                          {packet.Match{}, true},
		"TCP":                          {packet.Match{Proto: nf.TCP, Flags: packet.FlagSYN, Seq: &seq, Src: v4, SrcNet: netip.MustParsePrefix("192.0.0.0/8")}, true},
		"flags of UDP":                 {packet.Match{Proto: nf.UDP, Flags: packet.FlagSYN}, false},
		"sequence number of UDP":       {packet.Match{Tuple: udp, Seq: &seq}, false},
		"another tuple":                {packet.Match{Proto: nf.TCP, Tuple: udp}, false},
		"ICMP":                         {packet.Match{ICMPType: &typ, Src: netip.AddrPortFrom(v6.Addr(), 0)}, true},
		"ICMP of TCP":                  {packet.Match{Proto: nf.TCP, ICMPType: &typ}, false},
		"ICMP with flags":              {packet.Match{ICMPType: &typ, Flags: packet.FlagSYN}, false},
		"ICMP with a port":             {packet.Match{Proto: nf.ICMP, Dst: port}, false},
		"ICMP to IPv6":                 {packet.Match{Proto: nf.ICMP, Dst: netip.AddrPortFrom(v6.Addr(), 0)}, false},
		"two families":                 {packet.Match{Src: v4, Dst: v6}, false},
		"mapped":                       {packet.Match{Src: v4, Dst: netip.MustParseAddrPort("[::ffff:192.0.2.2]:80")}, true},
		"not in the prefix":            {packet.Match{Src: v4, SrcNet: netip.MustParsePrefix("10.0.0.0/8")}, false},
		"ARP":                          {packet.Match{EtherType: packet.EtherTypeARP}, true},
		"ARP of TCP":                   {packet.Match{EtherType: packet.EtherTypeARP, Proto: nf.TCP}, false},
		"about":                        {packet.Match{About: &packet.Match{Proto: nf.UDP}}, true},
		"about nothing":                {packet.Match{About: &packet.Match{Proto: nf.UDP, Flags: packet.FlagSYN}}, false},
		"an error about IPv6 over TCP": {packet.Match{Proto: nf.TCP, About: &packet.Match{Dst: v6}}, false},
	} {
		if err := c.match.Check(); (err == nil) != c.right {
			t.Errorf("%s: %v", name, err)
		}
	}
}
