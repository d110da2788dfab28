package cases_test

import (
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/cases"
)

// Any text is read or refused with its place; what is read is read again as the same.
func FuzzParse(f *testing.F) {
	f.Add("rules a.nft\nlink wan 192.0.2.1/24 default\n\nin wan tcp 198.18.0.2:1 > 192.0.2.1:80 S => out lan udp 1.2.3.4:1 > 10.0.0.2:80 ttl 63 # why")
	f.Add("udp 198.18.0.2:1 > 192.0.2.1:80 payload \"=> #\" => drop")
	f.Add("12:00 lan In  IP 10.0.0.2.1 > 192.0.2.1.80: UDP, length 0 =>")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := cases.Parse("f", text)
		if err != nil && !strings.HasPrefix(err.Error(), "f:") {
			t.Errorf("the error has no place: %v", err)
		}
		for _, b := range s.Blocks {
			for _, c := range b.Cases {
				again, err := cases.ParseCase(c.Text)
				if err != nil || again.Trial.Packet.String() != c.Trial.Packet.String() || again.Want.String() != c.Want.String() {
					t.Errorf("%q is read as %v and %v: %v", c.Text, c, again, err)
				}
			}
		}
	})
}

// Any text is read as links or refused, and what is read is written so that it is read again.
func FuzzParseLinks(f *testing.F) {
	f.Add("wan 192.0.2.1/24 2001:db8::1/64 default; lan 10.0.0.1/24 route 10.1.0.0/16 mtu 1400")
	f.Add("eth0@if7 UP 192.0.2.1/24\ndefault via 192.0.2.254 dev eth0\n10.9.0.0/16 dev eth0")
	f.Fuzz(func(t *testing.T, text string) {
		links, err := cases.ParseLinks(text)
		if err != nil {
			return
		}
		written := cases.LinksText(links)
		again, err := cases.ParseLinks(written)
		if err != nil || cases.LinksText(again) != written {
			t.Errorf("%q is written as\n%sand that as\n%s%v", text, written, cases.LinksText(again), err)
		}
	})
}

// Any text is rules of some kind, or refused.
func FuzzRules(f *testing.F) {
	f.Add("*filter\nCOMMIT\n")
	f.Add("iptables -A INPUT -j DROP")
	f.Add("table inet t { }")
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := cases.Rules("f", text); (r == nil) == (err == nil) {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	})
}
