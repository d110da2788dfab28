package packet_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// typed are lines as people type them, with fields that String does not print.
var typed = []string{
	"tcp 198.18.0.2:10000 > 192.0.2.1:80 SA seq 1 ack 2 win 65535 urg 7 ttl 63 tos 8 id 9 options [mss 1460]",
	"tcp 198.18.0.2:10000 > 192.0.2.1:80 P. seq 2:7 ack 2",
	"icmp 192.0.2.1 > 198.18.0.2 fragmentation needed mtu 1400 for (udp 198.18.0.2:10000 > 192.0.2.1:80 ttl 7)",
	"IP 192.0.2.1 > 198.18.0.2: ICMP 192.0.2.1 udp port 80 unreachable, length 36",
	"sctp 198.18.0.2:10000 > 192.0.2.1:80 tag 5 [INIT tag 1 tsn 100]",
	"dccp 198.18.0.2:10000 > 192.0.2.1:80 reset seq 5 ack 6 code 2",
	"gre 198.18.0.2 > 192.0.2.1 key 5 proto 0x0800 seq 8",
	"gre 198.18.0.2 > 192.0.2.1 : udp 198.18.0.2:10000 > 192.0.2.1:80 ttl 7",
	"igmp 198.18.0.2 > 224.0.0.22 v3 report 239.1.2.3",
	"udplite 198.18.0.2:10000 > 192.0.2.1:80 coverage 8 length 5",
}

// Whatever number of a line is changed, the names that ParseFields returns have the field that it changes: an expectation with another
// number is not met.
func TestEachNumberOfALineNamesItsField(t *testing.T) {
	t.Parallel()
	always := []string{"protocol", "src", "dst", "src port", "dst port", "flags", "type", "code", "igmp type", "group"}
	number := regexp.MustCompile(`\b[0-9]+\b`)
	changed := 0
	for _, line := range append(printed(t), typed...) {
		p, err := packet.Parse(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for _, at := range number.FindAllStringIndex(line, -1) {
			n, _ := strconv.ParseUint(line[at[0]:at[1]], 10, 64)
			other := line[:at[0]] + strconv.FormatUint(n+1, 10) + line[at[1]:]
			q, names, err := packet.ParseFields(other)
			if err != nil || packet.Diff(p, q) == "" {
				continue
			}
			said := func(p packet.Packet) []packet.Field {
				return slices.DeleteFunc(p.Fields(), func(f packet.Field) bool { return !slices.Contains(names, f.Name) && !slices.Contains(always, f.Name) })
			}
			if changed++; slices.Equal(said(p), said(q)) {
				t.Errorf("%s\n%s\nare the same in all fields that the line says, %v; they differ in\n%s", line, other, names, packet.Diff(p, q))
			}
		}
	}
	if changed < 500 {
		t.Errorf("%d numbers changed", changed)
	}
}

// What contradicts itself, belongs to no field of the packet, or is another protocol in a spelling that no program prints, is no packet.
func TestLinesThatSayTwoThingsAreRefused(t *testing.T) {
	t.Parallel()
	const printed = "IP 1.2.3.4.5 > 1.2.3.5.6: Flags [S], seq 1, win 65535, length 0"
	for line, want := range map[string]string{
		"tcp 1.2.3.4:5 > 1.2.3.5:6 S seq 1 seq 2":                                                                 `column 35: "seq" gives seq a second time`,
		"tcp 1.2.3.4:5 > 1.2.3.5:6 S .":                                                                           `column 29: "." gives flags a second time`,
		"tcp 1.2.3.4:5 > 1.2.3.5:6 S df ttl 1 nodf":                                                               `"nodf" gives df or nodf a second time`,
		"udp 1.2.3.4:5 > 1.2.3.5:6 ttl 1 payload \"x\" ttl 2":                                                     `"ttl" gives ttl a second time`,
		"udp 1.2.3.4:5 > 1.2.3.5:6 payload \"x\" payload \"y\"":                                                   `gives payload a second time`,
		"icmp 1.2.3.4 > 1.2.3.5 echo request id 1 id 2":                                                           `gives id a second time`,
		"icmp 1.2.3.4 > 1.2.3.5 port unreachable for (udp 1.2.3.5:1 > 1.2.3.4:2) for (udp 1.1.1.1:1 > 1.1.1.2:2)": `gives for a second time`,
		"sctp 1.2.3.4:5 > 1.2.3.5:6 [COOKIE ACK] payload \"x\"":                                                   `has no payload of its own`,
		"igmp 1.2.3.4 > 1.2.3.5 leave 224.1.1.1 payload \"x\"":                                                    `has no payload of its own`,
		"gre 1.2.3.4 > 1.2.3.5 payload \"x\" : udp 1.2.3.5:1 > 1.2.3.4:2":                                         `has no payload of its own`,
		strings.Replace(printed, "Flags", "Flgas", 1):                                                             `column 27: "Flgas" is no packet whose fields are known`,
		strings.Replace(printed, "Flags [S]", "[S]", 1):                                                           `"[S]" is no packet whose fields are known`,
		strings.Replace(printed, "Flags [S]", "S", 1):                                                             `"S" is no packet whose fields are known`,
		"IP 1.2.3.4.5 > 1.2.3.5.6: TCP, length 0":                                                                 `"TCP" is no packet whose fields are known`,
		"IP 1.2.3.4.5 > 1.2.3.5.6: Udp, length 0":                                                                 `"Udp" is no packet whose fields are known`,
		printed + " (ttl 1)":                                                                                      `"(ttl 1)" is no field of this packet`,
		printed + " (flag 7:24@16+)":                                                                              `"(flag 7:24@16+)" is no field of this packet`,
		printed + " ×many":                                                                                        `"×many" is no field of this packet`,
	} {
		p, err := packet.Parse(line)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot  %v, %v\nwant %s", line, p, err, want)
		}
	}
}
