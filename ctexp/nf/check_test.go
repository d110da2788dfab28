package nf_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

var v4, v6 = netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")

func TestCheckOfProbes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		probe nf.Probe
		right bool
	}{
		"all":                              {nf.Probe{}, true},
		"in":                               {nf.Probe{Match: nf.Match{In: "a"}}, true},
		"in and out, forward":              {nf.Probe{Hook: nf.Forward, Match: nf.Match{In: "a", Out: "b"}}, true},
		"in, postrouting":                  {nf.Probe{Hook: nf.Postrouting, Match: nf.Match{In: "a"}}, true},
		"in, output":                       {nf.Probe{Hook: nf.Output, Match: nf.Match{In: "a"}}, false},
		"out, prerouting":                  {nf.Probe{Match: nf.Match{Out: "a"}}, false},
		"out, input":                       {nf.Probe{Hook: nf.Input, Match: nf.Match{Out: "a"}}, false},
		"one family":                       {nf.Probe{Family: nf.IPv6, Match: nf.Match{Src: v6}}, true},
		"another family":                   {nf.Probe{Family: nf.IPv4, Match: nf.Match{Dst: v6}}, false},
		"two families":                     {nf.Probe{Match: nf.Match{Src: v4, Dst: v6}}, false},
		"mark":                             {nf.Probe{Mark: 0xf5, MarkMask: 0xf}, true},
		"mark without mask":                {nf.Probe{Mark: 5}, false},
		"mark outside of its mask":         {nf.Probe{Mark: 0x10, MarkMask: 0xf}, false},
		"ICMPv6 of IPv4":                   {nf.Probe{Family: nf.IPv4, Match: nf.Match{Proto: nf.ICMPv6}}, false},
		"ICMP of an address of IPv6":       {nf.Probe{Match: nf.Match{Proto: nf.ICMP, Src: v6}}, false},
		"ICMPv6":                           {nf.Probe{Family: nf.IPv6, Match: nf.Match{Proto: nf.ICMPv6, Src: v6}}, true},
		"untracked, with a status":         {nf.Probe{State: nf.StateUntracked, Status: nf.Assured}, false},
		"invalid, in one direction":        {nf.Probe{State: nf.StateInvalid, Dir: nf.Reply}, false},
		"invalid or new, with a mark":      {nf.Probe{State: nf.StateInvalid | nf.StateNew, Mark: 1, MarkMask: 1}, true},
		"state behind conntrack":           {nf.Probe{Priority: -150, State: nf.StateNew}, true},
		"state before conntrack":           {nf.Probe{Priority: -300, State: nf.StateNew}, false},
		"state before conntrack, lo":       {nf.Probe{Priority: -300, State: nf.StateNew, Match: nf.Match{In: "lo"}}, true},
		"state before conntrack, output":   {nf.Probe{Hook: nf.Output, Priority: -300, State: nf.StateNew}, true}, // a reply to a packet with an entry
		"untracked, between raw and track": {nf.Probe{Priority: -250, State: nf.StateUntracked}, true},
	} {
		if err := c.probe.Check(); (err == nil) != c.right {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckOfFilters(t *testing.T) {
	t.Parallel()
	now := time.Now()
	tcp := nf.Tuple{Proto: nf.TCP, Src: netip.MustParseAddrPort("192.0.2.1:1"), Dst: netip.MustParseAddrPort("192.0.2.2:2")}
	echo := nf.Tuple{Proto: nf.ICMP, Src: netip.MustParseAddrPort("192.0.2.1:0"), Dst: netip.MustParseAddrPort("192.0.2.2:0"), ICMP: nf.ICMPTuple{Type: 8, ID: 1}}
	for name, c := range map[string]struct {
		filter nf.Filter
		right  bool
	}{
		"all":                  {nf.Filter{}, true},
		"mark":                 {nf.Filter{Mark: 0xf5, MarkMask: 0xf}, true},
		"mark without mask":    {nf.Filter{Mark: 5}, false},
		"status":               {nf.Filter{StatusMask: nf.Assured}, true},
		"status without mask":  {nf.Filter{Status: nf.Assured}, false},
		"mark, other mask":     {nf.Filter{Mark: 0x10, MarkMask: 0xf}, false},
		"status, other mask":   {nf.Filter{Status: nf.DstNAT, StatusMask: nf.SrcNAT}, false},
		"tuple":                {nf.Filter{Proto: nf.TCP, Tuple: tcp, State: nf.TCPNone + 1, Family: nf.IPv4}, true},
		"tuple, protocol":      {nf.Filter{Proto: nf.UDP, Tuple: tcp}, false},
		"tuple, family":        {nf.Filter{Family: nf.IPv6, Tuple: tcp}, false},
		"state, protocol":      {nf.Filter{Proto: nf.UDP, State: nf.TCPNone + 1}, false},
		"ports of ICMP":        {nf.Filter{Proto: nf.ICMP, DstPort: 80}, false},
		"ICMP of IPv6":         {nf.Filter{Proto: nf.ICMP, Family: nf.IPv6}, false},
		"ICMPv6 of an address": {nf.Filter{Proto: nf.ICMPv6, Src: v4}, false},
		"two families":         {nf.Filter{Src: v4, Addr: v6}, false},
		"tuple of an echo":     {nf.Filter{Tuple: echo}, true},
		"tuple of an error":    {nf.Filter{Tuple: nf.Tuple{Proto: nf.ICMP, Src: echo.Src, Dst: echo.Dst, ICMP: nf.ICMPTuple{Type: 3}}}, false},
		"half a tuple":         {nf.Filter{Tuple: nf.Tuple{Proto: nf.TCP, Src: tcp.Src}}, false},
		"tuple, no protocol":   {nf.Filter{Tuple: nf.Tuple{Src: tcp.Src, Dst: tcp.Dst}}, false},
		"tuple of TCP, ICMP":   {nf.Filter{Tuple: nf.Tuple{Proto: nf.TCP, Src: tcp.Src, Dst: tcp.Dst, ICMP: nf.ICMPTuple{ID: 1}}}, false},
		"tuple, another port":  {nf.Filter{Tuple: tcp, SrcPort: tcp.Src.Port() + 1}, true}, // it may be a reply tuple that NAT made
		"times":                {nf.Filter{After: now, Before: now.Add(1)}, true},
		"a time to come":       {nf.Filter{After: now.Add(time.Hour)}, false},
		"times the wrong way":  {nf.Filter{After: now, Before: now}, false},
	} {
		if err := c.filter.Check(); (err == nil) != c.right {
			t.Errorf("%s: %v", name, err)
		}
	}
}
