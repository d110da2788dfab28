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
	icmp := nf.Tuple{Proto: nf.ICMP, Src: netip.AddrPortFrom(v4.Addr(), 0), Dst: netip.AddrPortFrom(v4.Addr(), 0), ICMP: nf.ICMPTuple{Type: 8, ID: 1}}
	id, mtu, unreachable, code, tooBig := uint16(2), uint32(1400), uint8(3), uint8(1), uint8(4)
	one := uint16(1)
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
		"ethernet of IPv4 from IPv6":   {packet.Match{EtherType: packet.EtherTypeIPv4, Src: v6}, false},
		"ethernet of IPv4 with ICMPv6": {packet.Match{EtherType: packet.EtherTypeIPv4, Proto: nf.ICMPv6}, false},
		"ethernet of IPv6":             {packet.Match{EtherType: packet.EtherTypeIPv6, Src: v6}, true},
		"half a tuple":                 {packet.Match{Tuple: nf.Tuple{Proto: nf.TCP, Src: v4}}, false},
		"a tuple of no protocol":       {packet.Match{Tuple: nf.Tuple{Src: v4, Dst: v4}}, false},
		"a tuple of ICMP with ports":   {packet.Match{Tuple: nf.Tuple{Proto: nf.ICMP, Src: v4, Dst: v4}}, false},
		"a port of ESP":                {packet.Match{Proto: 50, Src: v4}, false},
		"an identifier of an error":    {packet.Match{Proto: nf.ICMP, ICMPType: &unreachable, ICMPID: &id}, false},
		"an identifier and an MTU":     {packet.Match{ICMPID: &id, MTU: &mtu}, false},
		"an identifier and a quote":    {packet.Match{ICMPID: &id, About: &packet.Match{}}, false},
		"another identifier":           {packet.Match{Tuple: icmp, ICMPID: &id}, false},
		"the identifier of the tuple":  {packet.Match{Tuple: icmp, ICMPID: &one, ICMPType: &typ}, true},
		"another type":                 {packet.Match{Tuple: icmp, ICMPType: &unreachable}, false},
		"what an echo quotes":          {packet.Match{Proto: nf.ICMP, ICMPType: &typ, About: &packet.Match{}}, false},
		"a gateway and an MTU":         {packet.Match{Gateway: v4.Addr(), MTU: &mtu}, false},
		"a gateway of another family":  {packet.Match{Proto: nf.ICMP, Gateway: v6.Addr()}, false},
		"a gateway":                    {packet.Match{Gateway: v6.Addr(), Proto: nf.ICMPv6}, true},
		"an MTU":                       {packet.Match{MTU: &mtu}, true},
		"an MTU and its code":          {packet.Match{MTU: &mtu, ICMPType: &unreachable, ICMPCode: &tooBig}, true},
		"an MTU and another code":      {packet.Match{MTU: &mtu, ICMPType: &unreachable, ICMPCode: &code}, false},
		"an MTU of ICMPv6, type 3":     {packet.Match{MTU: &mtu, ICMPType: &unreachable, Proto: nf.ICMPv6}, false},
		"an error about the other one": {packet.Match{Proto: nf.ICMP, About: &packet.Match{Dst: v6}}, false},
		"from one about the other one": {packet.Match{Src: netip.AddrPortFrom(v4.Addr(), 0), About: &packet.Match{Dst: v6}}, false},
		"an error about IPv6 over TCP": {packet.Match{Proto: nf.TCP, About: &packet.Match{Dst: v6}}, false},
	} {
		if err := c.match.Check(); (err == nil) != c.right {
			t.Errorf("%s: %v", name, err)
		}
	}
}
