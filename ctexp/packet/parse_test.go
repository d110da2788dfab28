package packet_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

// printed are the lines of the golden files: packets of every builder, of both families.
func printed(tb testing.TB) (lines []string) {
	tb.Helper()
	for _, name := range []string{"ipv4.golden", "ipv6.golden", "ipv4.kinds.golden", "ipv6.kinds.golden"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			tb.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "IP") {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// What String prints of a packet of any builder is read as a packet of that line.
func TestPrintedPacketsAreRead(t *testing.T) {
	t.Parallel()
	lines := printed(t)
	if len(lines) < 100 {
		t.Fatalf("%d lines in the golden files", len(lines))
	}
	for _, line := range lines {
		p, err := packet.Parse(line)
		switch {
		case err != nil:
			t.Errorf("%s\n%v", line, err)
		case p.String() != line:
			t.Errorf("%s\nis read as\n%v", line, p)
		case packettest.CheckSums(p) != nil:
			t.Errorf("%s: %v", line, packettest.CheckSums(p))
		}
	}
}

// A packet that is cut anywhere is read as one of its line, or refused: never as another one.
func TestCutPacketsAreReadAsTheyArePrinted(t *testing.T) {
	t.Parallel()
	read := 0
	for _, k := range append(packettest.Kinds(web), packettest.Kinds(web6)...) {
		for n := 20; n < min(len(k.Packet), 200); n++ {
			line := k.Packet.With(packet.Truncate(n)).String()
			p, err := packet.Parse(line)
			if err == nil {
				read++
			}
			if err == nil && p.String() != line {
				t.Errorf("%s, %d bytes:\n%s\nis read as\n%v", k.Name, n, line, p)
			}
		}
	}
	if read < 1000 {
		t.Errorf("%d are read", read)
	}
}

// Lines as people type them are the packets of the builders.
func TestTypedLinesAreTheBuildersPackets(t *testing.T) {
	t.Parallel()
	src, dst := web.Src.Addr(), web.Dst.Addr()
	for line, want := range map[string]packet.Packet{
		"tcp 198.18.0.2:10000 > 192.0.2.1:80 S":                                                  packet.SYN(web),
		"tcp 198.18.0.2:10000 > 192.0.2.1:80 S seq 1 win 65535":                                  packet.SYN(web),
		"tcp 192.0.2.1:80 > 198.18.0.2:10000 SYN+ACK":                                            packet.SYNACK(web.Reverse()),
		"tcp 192.0.2.1.80 > 198.18.0.2.10000 S.":                                                 packet.SYNACK(web.Reverse()),
		"tcp 198.18.0.2:10000 > 192.0.2.1:80 .":                                                  packet.ACK(web),
		"tcp 198.18.0.2:10000 > 192.0.2.1:80 F.":                                                 packet.FIN(web),
		"tcp 198.18.0.2:10000 > 192.0.2.1:80 R":                                                  packet.RST(web),
		"tcp 198.18.0.2:10000 > 192.0.2.1:80 S, options [mss 1460,wscale 7] ttl 1":               packet.SYN(web).With(packet.Options(packet.MSS(1460), packet.WindowScale(7)), packet.TTL(1)),
		`udp 198.18.0.2:10000 > 192.0.2.1:80 payload "a # b\n"`:                                  web.UDP([]byte("a # b\n")),
		"udp 198.18.0.2:10000 > 192.0.2.1:80 payload 0x0001 tos 0x10 nodf id 7":                  web.UDP([]byte{0, 1}).With(packet.TOS(0x10), packet.DontFragment(false), packet.ID(7)),
		"udp [2001:db8::2]:10000 > [2001:db8::1]:80 length 5":                                    web6.UDP(make([]byte, 5)),
		"udplite 198.18.0.2:10000 > 192.0.2.1:80 coverage 8 length 5":                            web.UDPLite(8, make([]byte, 5)),
		"icmp 198.18.0.2 > 192.0.2.1":                                                            packet.Echo(src, dst, 1, 1, nil),
		`icmp 198.18.0.2 > 192.0.2.1 echo reply id 7 seq 8 payload "x"`:                          packet.EchoReply(src, dst, 7, 8, []byte("x")),
		"icmp6 2001:db8::2 > 2001:db8::1 echo request":                                           packet.Echo(web6.Src.Addr(), web6.Dst.Addr(), 1, 1, nil),
		"icmp 192.0.2.1 > 198.18.0.2 port unreachable for (udp 198.18.0.2:10000 > 192.0.2.1:80)": packet.Unreachable(dst, 3, web.UDP(nil)),
		"sctp 198.18.0.2:10000 > 192.0.2.1:80 tag 0 [INIT tag 1, tsn 100]":                       web.SCTP(0, packet.SCTPInit(1, 100)),
		"dccp 198.18.0.2:10000 > 192.0.2.1:80 request service 42":                                web.DCCP(packet.DCCP{Type: packet.DCCPRequest, Seq: 1, Service: 42}),
		"gre 198.18.0.2 > 192.0.2.1 key 5 : udp 198.18.0.2:10000 > 192.0.2.1:80":                 web.GRE(packet.GRE{Key: new(uint32(5)), Payload: web.UDP(nil)}),
		"igmp 198.18.0.2 > 224.0.0.22 v3 report 239.1.2.3":                                       packet.IGMP(src, packet.IGMPv3Report, netip.MustParseAddr("239.1.2.3")),
		"IP 198.18.0.2 > 192.0.2.1: ospf payload 0x02":                                           web.Raw(89, []byte{2}),
	} {
		got, err := packet.Parse(line)
		if err != nil {
			t.Errorf("%s\n%v", line, err)
		} else if diff := packet.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

// Lines of captures and of tcpdump have a time, a link and a direction before the packet, and miss what tcpdump does not print.
func TestLinesOfCapturesAreRead(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"12:00:00.000001 tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0\n":                                                                                      packet.SYN(web).String(),
		"eth0 In  vlan 7, IP 198.18.0.2.10000 > 192.0.2.1.80: UDP, length 5":                                                                                                                        web.UDP(make([]byte, 5)).String(),
		"10:00:00.0 IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [.], ack 1, win 512, options [nop,nop,TS val 1 ecr 2], length 0":                                                                      "IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [.], seq 2, ack 1, win 512, options [nop,nop,TS val 1 ecr 2], length 0",
		"10:00:00.0 02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv4 (0x0800), length 54: 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0":                              packet.SYN(web).String(),
		"02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype 802.1Q (0x8100), length 58: vlan 7, p 0, ethertype IPv4 (0x0800), 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0": packet.SYN(web).String(),
		"10:00:00.0 IP 198.18.0.2.4000 > 192.0.2.1.161:  [len27<asnlen52]":                                                                                                                          "IP 198.18.0.2.4000 > 192.0.2.1.161: UDP, length 0",
		"10:00:00.0 IP 198.18.0.2.4000 > 192.0.2.1.514:  (invalid)":                                                                                                                                 "IP 198.18.0.2.4000 > 192.0.2.1.514: UDP, length 0",
		"router.cases:7: tcp 198.18.0.2:10000 > 192.0.2.1:80 S":                                                                                                                                     packet.SYN(web).String(),
		"    web_test.go:71: IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0":                                                                                             packet.SYN(web).String(),
		"IP 198.18.0.2.4000 > 192.0.2.1.53: 12345+ A? example.com. (29)":                                                                                                                            "IP 198.18.0.2.4000 > 192.0.2.1.53: UDP, length 29",
		"IP 198.18.0.2.10000 > 192.0.2.1.80: UDP, length 2000 (frag 7:1480@0+)":                                                                                                                     "IP 198.18.0.2.10000 > 192.0.2.1.80: UDP, length 2000 (frag 7:1480@0+)",
		"IP 198.18.0.2 > 192.0.2.1: udp (frag 7:528@1480)":                                                                                                                                          "IP 198.18.0.2 > 192.0.2.1: udp (frag 7:528@1480)",
		"IP6 2001:db8::2 > 2001:db8::1: udp (frag 7:528@1480)":                                                                                                                                      "IP6 2001:db8::2 > 2001:db8::1: udp (frag 7:528@1480)",
		"IP 198.18.0.2.10000 > 192.0.2.1.80: UDP, length 100, 60 bytes missing":                                                                                                                     "IP 198.18.0.2.10000 > 192.0.2.1.80: UDP, length 100, 60 bytes missing",
		"IP 198.18.0.2.10000 > 192.0.2.1.80: UDP, bad length 4":                                                                                                                                     "IP 198.18.0.2.10000 > 192.0.2.1.80: UDP, bad length 4",
	} {
		got, err := packet.Parse(line)
		if err != nil {
			t.Errorf("%s\n%v", line, err)
		} else if got.String() != want {
			t.Errorf("%s\ngot  %v\nwant %s", line, got, want)
		}
	}
}

// A text has a packet in each line. A wrong one is named with its column, behind the packets before it.
func TestWrongLinesAreNamed(t *testing.T) {
	t.Parallel()
	text := "# a handshake\n\ntcp 198.18.0.2:10000 > 192.0.2.1:80 S # the SYN\n\ttcp 192.0.2.1:80 > 198.18.0.2:10000 S.\r\n"
	got, err := packet.ParseAll(text + "tcp 192.0.2.1:80 > 198.18.0.2:10000 S. wim 5")
	want := &nf.ParseError{Line: 5, Column: 40, Word: "wim", What: "is no field of this packet"}
	var wrong *nf.ParseError
	if !errors.As(err, &wrong) || *wrong != *want || len(got) != 2 {
		t.Errorf("got %d packets, %v, want 2, %v", len(got), err, want)
	}
	if all, err := packet.ParseAll(text); err != nil || len(all) != 2 {
		t.Errorf("got %v, %v, want 2 packets", all, err)
	}

	for line, want := range map[string]string{
		"":                          `column 1: is not what a packet begins with`,
		"tpc 1.2.3.4:5 > 1.2.3.5:6": `column 1: "tpc" is not what a packet begins with`,
		"12:00:00.1 eth0 In  ARP, Request who-has 1.2.3.4":                                          `column 21: "ARP" is no IP, and rules and conntrack see none of it`,
		"10:00:00.0 IP (tos 0x0, ttl 64, id 1, offset 0, flags [DF], proto TCP (6), length 60)":     `is printed by tcpdump -v`,
		"10:00:00.0 IP6 (hlim 255, next-header ICMPv6 (58) payload length: 32) :: > ff02::1":        `is printed by tcpdump -v`,
		"02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Request who-has": `column 50: "ARP" is no IP`,
		"ARP, Reply 1.2.3.4 is-at 02:00:00:00:00:01":                                                `column 1: "ARP" is no IP`,
		"a.cases:7: tpc 1.2.3.4:5 > 1.2.3.5:6":                                                      `column 12: "tpc" is not what a packet begins with`,
		"tcp 1.2.3.4:5 1.2.3.5:6 S":                                                                 `column 15: "1.2.3.5:6" want >`,
		"tcp 1.2.3.4 > 1.2.3.5 S":                                                                   `column 5: "1.2.3.4" want a port`,
		"tcp 1.2.3.4:5 > [2001:db8::1]:6 S":                                                         `column 17: "[2001:db8::1]:6" is of another family than 1.2.3.4`,
		"tcp 1.2.3:5 > 1.2.3.5:6 S":                                                                 `column 5: "1.2.3:5" is no address`,
		"tcp 1.2.3.4:5 > 1.2.3.5:6 S seq x":                                                         `column 33: "x" want a number of 32 bits`,
		"tcp 1.2.3.4:5 > 1.2.3.5:6 S win 65536":                                                     `column 33: "65536" want a number of 16 bits`,
		"tcp 1.2.3.4:5 > 1.2.3.5:6 S seq":                                                           `column 32: want a number of 32 bits`,
		"tcp 1.2.3.4:5 > 1.2.3.5:6 S options [mss 1460,what]":                                       `"what" is no option whose bytes are known`,
		"tcp 1.2.3.4:5 > 1.2.3.5:6 Q":                                                               `column 27: "Q" is no field of this packet`,
		"IP 1.2.3.4.5 > 1.2.3.5.6: Flags [Q], length 0":                                             `column 34: "Q" want the flags as tcpdump writes them`,
		"IP 1.2.3.4.5 > 1.2.3.5.6: Flags [P.], seq 1:5, ack 1, win 1, length 5":                     `seq 1:5 is not of 5 bytes`,
		"udp 1.2.3.4:5 > 1.2.3.5:6 payload hello":                                                   `column 35: "hello" want a "text" or 0x`,
		`udp 1.2.3.4:5 > 1.2.3.5:6 payload "hello" length 4`:                                        `length 4 and a payload of 5 bytes are not alike`,
		"udp 1.2.3.4:5 > 1.2.3.5:6 length 65530":                                                    `build packet`,
		"icmp 1.2.3.4 > 1.2.3.5 echo request length 4":                                              `length 4 is less than the 8 bytes of the header`,
		"icmp 1.2.3.4 > 1.2.3.5 port unreachable for (udp 1.2.3.5:1 > x)":                           `column 62: "x" is no address`,
		"sctp 1.2.3.4:5 > 1.2.3.5:6 tag 1 [DATA tsn 1]":                                             `want stream`,
		"dccp 1.2.3.4:5 > 1.2.3.5:6 hello":                                                          `column 28: "hello" want the type of the packet`,
		"gre 1.2.3.4 > 1.2.3.5 key":                                                                 `want a number of 32 bits`,
		"IP 1.2.3.4.5 > 1.2.3.5.6: truncated-tcp 9":                                                 `"truncated-tcp" is no packet whose fields are known`,
		"IP6 fe80::1%eth0 > fe80::2: ICMP6, echo request":                                           `column 5: "fe80::1%eth0" is no address`,
	} {
		p, err := packet.Parse(line)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot  %v, %v\nwant %s", line, p, err, want)
		}
	}
}

// A wrong line in a program is a panic that says what is wrong with it.
func TestMustParsePanics(t *testing.T) {
	t.Parallel()
	if got := packet.MustParse("tcp 198.18.0.2:10000 > 192.0.2.1:80 S"); packet.Diff(packet.SYN(web), got) != "" {
		t.Errorf("got %v", got)
	}
	text := packettest.PanicOf(func() { packet.MustParse("tcp 198.18.0.2:10000") })
	if want := "packet: MustParse: line 1, column 21: want >"; text != want {
		t.Errorf("got %q, want %q", text, want)
	}
}

// Whatever the line, Parse returns a packet or an error about that line; and the line of a packet is read as one of that line.
func FuzzParse(f *testing.F) {
	for _, line := range append(printed(f), dumped(f)...) {
		f.Add(line)
	}
	f.Add(`udp [2001:db8::2]:1 > [2001:db8::1]:2 payload "x" ttl 1 (frag 7:8@16+)`)
	f.Fuzz(func(t *testing.T, line string) {
		p, err := packet.Parse(line)
		var wrong *nf.ParseError
		switch {
		case err == nil && len(p) == 0:
			t.Fatalf("%q: neither a packet nor an error", line)
		case err == nil:
		case !errors.As(err, &wrong):
			t.Fatalf("%q: %v", line, err)
		case wrong.Column < 1 || wrong.Column > len(line)+1:
			t.Fatalf("%q: column %d", line, wrong.Column)
		}
		if err != nil {
			return
		}
		again, err := packet.Parse(p.String())
		if err == nil && again.String() != p.String() {
			t.Errorf("%q\nis       %v\nand then %v", line, p, again)
		}
	})
}

// A packet as a line: typed, or as tcpdump, a capture or a report prints it.
func ExampleParse() {
	for _, line := range []string{
		"tcp 198.18.0.2:10000 > 192.0.2.1:80 S",
		"12:00:00.000001 tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0",
		`udp [2001:db8::2]:1 > [2001:db8::1]:53 payload "hello"`,
		"icmp 198.18.0.2 > 192.0.2.1 echo request id 7",
		"tcp 198.18.0.2:10000 > 192.0.2.1:99999 S",
	} {
		p, err := packet.Parse(line)
		fmt.Println(p, err)
	}
	// Output:
	// IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0 <nil>
	// IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0 <nil>
	// IP6 2001:db8::2.1 > 2001:db8::1.53: UDP, length 5 <nil>
	// IP 198.18.0.2 > 192.0.2.1: ICMP echo request, id 7, seq 1, length 8 <nil>
	// empty packet line 1, column 24: "192.0.2.1:99999" is no address: want 192.0.2.1, or with a port 192.0.2.1:80 or [2001:db8::1]:80
}

// Packets of a text, one in a line, with comments.
func ExampleParseAll() {
	all, err := packet.ParseAll(`
# a handshake
tcp 198.18.0.2:10000 > 192.0.2.1:80 S
tcp 192.0.2.1:80 > 198.18.0.2:10000 S. # its answer
`)
	fmt.Println(len(all), all[1], err)
	// Output:
	// 2 IP 192.0.2.1.80 > 198.18.0.2.10000: Flags [S.], seq 1, ack 2, win 65535, length 0 <nil>
}

// What the log of a failed test prints behind a packet is left out; in a line that was typed it is a mistake.
func TestLinesOfAReportAreRead(t *testing.T) {
	t.Parallel()
	const line = "IP 198.18.0.2.10007 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0"
	for _, behind := range []string{" (dropped: conntrack table full)", " ×3", " ×3 (dropped: conntrack table full (drop +3))"} {
		p, err := packet.Parse("15:37:08.471464 tun0 In  " + line + behind)
		if err != nil || p.String() != line {
			t.Errorf("%s: got %v, %v", behind, p, err)
		}
	}
	for _, ends := range []string{"198.18.0.2.10007–10009 > 192.0.2.1.80:", "198.18.0.2.10007, 10009, 10011 … 10020 > 192.0.2.1.80:"} {
		if p, err := packet.Parse("IP " + ends + " Flags [S], seq 1, win 65535, length 0 ×3"); err != nil || p.String() != line {
			t.Errorf("%s: got %v, %v", ends, p, err)
		}
	}
	const to = "IP6 2001:db8::2.1 > 2001:db8::1.80: UDP, length 0"
	for _, ends := range []string{"2001:db8::1.80–82:", "2001:db8::1.80, 90:"} {
		if p, err := packet.Parse("IP6 2001:db8::2.1 > " + ends + " UDP, length 0 ×2"); err != nil || p.String() != to {
			t.Errorf("%s: got %v, %v", ends, p, err)
		}
	}
	if p, err := packet.Parse("udp 198.18.0.2:1–3 > 192.0.2.1:2"); err == nil {
		t.Errorf("got %v", p)
	}
	if p, err := packet.Parse("udp 198.18.0.2:1 > 192.0.2.1:2 (frg 1:8@0)"); err == nil {
		t.Errorf("got %v", p)
	}
}
