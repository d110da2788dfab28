package cases_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/cases"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Each wrong line has one error, with the place and what to do.
func TestWrongLinesAreToldWithTheirPlace(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"":                                      "f: there are no packets: want lines such as tcp 198.18.0.2:10000 > 192.0.2.1:80 S => drop",
		"tcp 1.2.3.4:1 > 5.6.7.8":               `f:1:5: "1.2.3.4:1" want a port with each address, as in 192.0.2.1:80 or [2001:db8::1]:80`,
		"tcp 1.2.3.4:1 > 5.6.7.8:80 S =>":       "f:1:32: missing the expectation: want accept, drop, reject, lost, held, host or out LINK",
		"tcp 1.2.3.4:1 > 5.6.7.8:80 S => block": `f:1:33: "block" is no expectation: want accept, drop, reject, lost, held, host or out LINK`,
		"tcp 1.2.3.4:1 > 5.6.7.8:80 S => drop it":           `f:1:38: "it" was not expected behind drop`,
		"tcp 1.2.3.4:1 > 5.6.7.8:80 S => out":               "f:1:36: missing the link on which the packet leaves: want out LINK or out LINK PACKET",
		"tcp 1.2.3.4:1 > 5.6.7.8:80 S => out b tcp 1.2.3.4": `f:1:50: want >`,
		"in eth0 tcp 1.2.3.4:x > 5.6.7.8:80 S":              `f:1:13: "1.2.3.4:x" is no address: want 192.0.2.1, or with a port 192.0.2.1:80 or [2001:db8::1]:80`,
		"rules":                                             "f:1: rules: want the name of one file",
		"link":                                              "f:1: link: want a name and addresses, such as wan 192.0.2.1/24 default",
		"link a 10.0.0.1":                                   `f:1: link a: "10.0.0.1": want an address with its prefix length, such as 192.0.2.1/24, or default, route, mtu`,
		"link @if7":                                         `f:1: link "@if7": want the name of a link before its addresses, such as wan 192.0.2.1/24 default`,
		"link a mtu":                                        "f:1: link a: mtu: want a number of bytes behind it",
		"link a mtu x":                                      `f:1: link a: mtu "x": want a number of bytes`,
		"link a route x":                                    `f:1: link a: route: "x" is no network: want 10.0.0.0/24 or default`,
		"udp 1.2.3.4:1 > 5.6.7.8:80\nlink a 10.0.0.1/24":         "f:2: rules and links stand before the first packet",
		"udp 1.2.3.4:1 > 5.6.7.8:80 => no\n# a comment\n\nnever": `f:1:31: "no" is no expectation: want accept, drop, reject, lost, held, host or out LINK` + "\n" + `f:4:1: "never" is not what a packet begins with: want IP, `,
	} {
		_, err := cases.Parse("f", line)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s …", line, err, want)
		}
	}
}

// A file has blocks, comments, settings, links before packets and expectations behind them.
func TestFileIsRead(t *testing.T) {
	t.Parallel()
	got, err := cases.Parse("f", strings.Join([]string{
		"rules a.nft # the rules",
		"link wan 192.0.2.1/24 default",
		"link lan 10.0.0.1/24 2001:db8::1/64 fe80::1/64 route 10.1.0.0/16 mtu 1400",
		"",
		"# first",
		"in wan tcp 198.18.0.2:1 > 192.0.2.1:80 S => drop\r",
		"# second",
		`udp 198.18.0.2:1 > 192.0.2.1:80 payload "=> #" => out lan udp 1.2.3.4:1 > 10.0.0.2:80 ttl 63 # why`,
		"",
		"",
		"12:00:00.1 lan In  IP 10.0.0.2.1 > 192.0.2.1.80: UDP, length 0",
		"f:6: in wan tcp 198.18.0.2:1 > 192.0.2.1:80 S", // as it is printed
	}, "\n"))
	if err != nil {
		t.Fatal(err)
	}

	type flat struct {
		line       int
		link, want string
		fields     []string
	}
	var have []flat
	for _, b := range got.Blocks {
		for _, c := range b.Cases {
			have = append(have, flat{c.Line, c.Trial.Link, c.Want.String(), c.Want.Fields})
		}
		have = append(have, flat{})
	}
	want := []flat{
		{6, "wan", "drop", nil}, {8, "", "out lan udp 1.2.3.4:1 > 10.0.0.2:80 ttl 63", []string{"ttl"}}, {},
		{11, "lan", "", nil}, {12, "wan", "", nil}, {},
	}
	if len(have) != len(want) {
		t.Fatalf("got %v, want %v", have, want)
	}
	for i := range want {
		if diff := ctexp.Diff(want[i].fields, have[i].fields); diff != "" || have[i].line != want[i].line || have[i].link != want[i].link || have[i].want != want[i].want {
			t.Errorf("case %d: got %v, want %v", i, have[i], want[i])
		}
	}
	links := "wan 192.0.2.1/24 default\nlan 10.0.0.1/24 2001:db8::1/64 route 10.1.0.0/16 mtu 1400\n"
	if text := cases.LinksText(got.Links); text != links || len(got.Rules) != 1 {
		t.Errorf("got rules %v and links\n%s", got.Rules, text)
	}
}

// The links of a machine are what ip prints.
func TestLinksOfAnotherMachine(t *testing.T) {
	t.Parallel()
	got, err := cases.ParseLinks(`
lo               UNKNOWN        127.0.0.1/8 ::1/128
eth0@if7         UP             192.0.2.1/24 fe80::5054:ff:fe12:3456/64
wg0              UNKNOWN        10.8.0.1/24
default via 192.0.2.254 dev eth0 proto dhcp metric 100
10.9.0.0/16 via 10.8.0.2 dev wg0
10.9.9.9 dev wg0 scope link
192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.1
`)
	if want := "eth0 192.0.2.1/24 default\nwg0 10.8.0.1/24 route 10.9.0.0/16 10.9.9.9/32\n"; err != nil || cases.LinksText(got) != want {
		t.Errorf("got %v\n%swant\n%s", err, cases.LinksText(got), want)
	}

	_, err = cases.ParseLinks("eth0 192.0.2.1/24; default via 192.0.2.2 dev eth1")
	if want := "links: line 2: route by eth1: no line before has a link of this name"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := cases.ParseLinks("lo 127.0.0.1/8"); err == nil {
		t.Error("no links are no error")
	}
}

// A route that leads to no link is an error, and not left out: packets that it refuses would be routed. So is what is neither a link
// before a packet nor that of a captured line.
func TestWhatWouldBePassedOverIsRefused(t *testing.T) {
	t.Parallel()
	for _, route := range []string{"unreachable 198.51.100.0/24 dev lo metric 3", "blackhole 198.51.100.0/24", "blackhole default", "throw 10.0.0.0/8", "prohibit 10.9.9.9", "local 10.0.0.0/8 dev lo"} {
		if got, err := cases.ParseLinks("eth0 192.0.2.1/24 default\n" + route); err == nil || !strings.Contains(err.Error(), "links: line 2: "+route[:strings.Index(route, " ")]) {
			t.Errorf("%s: got %v, %v", route, got, err)
		}
	}
	if _, err := cases.ParseLinks("eth0 2001:db8::1/64\nunreachable default dev lo metric 4294967295 error -101"); err != nil {
		t.Error(err)
	}
	const line = "IP 10.0.0.2.4000 > 198.51.100.7.443: Flags [S], seq 1, length 0 => drop"
	for before, column := range map[string]int{"In lan ": 1, "lan in ": 5, "10:00:00.0 lan in ": 16, "IN lan ": 1} {
		var wrong *nf.ParseError
		if c, err := cases.ParseCase(before + line); !errors.As(err, &wrong) || wrong.Column != column {
			t.Errorf("%s: got link %q, %v", before, c.Trial.Link, err)
		}
	}
}

// The host has what packets go to, and a link for each that rules name and that can be.
func TestLinksAreGuessed(t *testing.T) {
	t.Parallel()
	rules, err := cases.Rules("f", `
define inner = { lan, "br-*" }
table inet t { chain c { iif "wan" accept; iifname $inner accept; iifname "/never/" drop; meta oifname "lo" accept; iifname "a-very-long-name" drop; fwd to dmz; }; }
`)
	if err != nil {
		t.Fatal(err)
	}
	packets := []packet.Packet{
		packet.MustParse("tcp 198.18.0.2:1 > 203.0.113.7:22 S"), packet.MustParse("tcp 203.0.113.7:22 > 198.18.0.2:1 S."),
		packet.MustParse("udp 198.18.0.2:1 > 224.0.0.251:5353"), packet.MustParse("udp [2001:db8::2]:1 > [2001:db8::1]:53"),
	}

	got := cases.LinksText(cases.GuessLinks([]netnsenv.Ruleset{rules}, packets))

	if want := "wan 203.0.113.7/32 2001:db8::1/128 default\nlan 10.255.1.1/24\nbr-0 10.255.2.1/24\ndmz 10.255.3.1/24\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got, want := cases.LinksText(cases.GuessLinks(nil, nil)), "eth0 192.0.2.1/24 default\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A text of ipset save is recognized.
func TestSetsOfIPSetAreRules(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"create s hash:ip family inet\nadd s 10.0.0.1\n", "# of ipset save\n-N s list:set\n"} {
		if _, err := cases.Rules("f", text); err != nil {
			t.Error(err)
		}
	}
}

// Texts that are no rules say what they look like and what to do.
func TestTextsThatAreNoRules(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"# nothing\n":                   "f: there are no rules: the file is empty or has only comments",
		"table\x00":                     "f: is no text",
		"{\"nftables\": []}":            "f: line 1: looks like JSON: want the text of nft list ruleset without -j",
		"<zone>":                        "f: line 1: looks like XML: want the rules that it stands for, as nft list ruleset or iptables-save prints them",
		"Chain INPUT (policy ACCEPT)":   "f: line 1: looks like iptables -L: want the output of iptables-save",
		"\nhello":                       `f: line 2: "hello" begins no rules that are known: nft, iptables-save, commands of iptables, ipset save, or conntrack -L`,
		"iptables -A INPUT -j DROP\nls": `f: line 2: "ls" is no command of iptables`,
		"iptables -A INPUT -j DROP\nip6tables -A INPUT -j DROP": "f: line 2: commands of iptables and ip6tables in one file: make two of it",
	} {
		if _, err := cases.Rules("f", text); err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}
