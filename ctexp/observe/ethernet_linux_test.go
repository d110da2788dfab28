package observe_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

var neighbour = nf.MAC{2, 0, 0, 0, 0, 9}

// ethernet opens a host on an Ethernet and lets it see frames: a question by ARP, a segment, one in a VLAN and one in two.
func ethernet(t testing.TB, changes ...func(*observe.Config)) lab {
	t.Helper()
	x := open(t, netnsenv.Config{Silent: true, Links: []netnsenv.LinkConfig{
		{Name: "eth0", Kind: netnsenv.Veth, ARP: true, Prefixes: prefixes("192.0.2.1/24")},
	}}, changes...)
	link := x.env.Links()[0]
	syn := inject.SYN(web).Frame(neighbour, link.HardwareAddr())
	ask := inject.ARPRequest(neighbour, web.Dst.Addr().Next(), web.Dst.Addr())
	if _, err := inject.New(link).SendFrames(t.Context(), inject.Frames(ask, syn, syn.VLAN(7), syn.VLAN(9).VLAN(7))); err != nil {
		t.Fatal(err)
	}
	return x
}

// What a frame has in front of its packet is there, as the kernel took it apart and as the host made it.
func TestFramesHaveTheirEthernet(t *testing.T) {
	t.Parallel()
	for name, capture := range captures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ethernet(t, capture)
			host := x.env.Links()[0].HardwareAddr()
			var got []string
			for _, f := range collect(t, x.o.Frames(t.Context())) {
				if f.Link == "eth0" {
					line := fmt.Sprint(f.SrcMAC(), " ", f.DstMAC(), " ", f.VLANs(), f.String()[len("15:04:05.000000"):])
					got = append(got, strings.ReplaceAll(line, host.String(), "host"))
				}
			}
			syn := "IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0"
			want := []string{
				"02:00:00:00:00:09 ff:ff:ff:ff:ff:ff [] eth0 In  ARP, who has 192.0.2.1 tell 192.0.2.2, length 28",
				"host 02:00:00:00:00:09 [] eth0 Out ARP, 192.0.2.1 is at host, length 28",
				"02:00:00:00:00:09 host [] eth0 In  " + syn,
				"02:00:00:00:00:09 host [7] eth0 In  vlan 7, " + syn,
				"02:00:00:00:00:09 host [7 9] eth0 In  vlan 7, vlan 9, " + syn,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			reply := observe.FrameMatch{Packet: nf.Match{Out: "eth0"}, EtherType: 0x0806, SrcMAC: host, DstMAC: neighbour}
			if n := len(reply.Select(collect(t, x.o.Frames(t.Context())))); n != 1 {
				t.Errorf("%d frames are %v, want 1", n, reply)
			}
		})
	}
}

// Wireshark sees addresses and tags where all frames have them, and tags and senders where a tun has none.
func TestPcapngHasTheEthernetOfFrames(t *testing.T) {
	t.Parallel()
	x := ethernet(t)
	frames := collect(t, x.o.Frames(t.Context()))
	tun := observe.Frame{Time: frames[0].Time, Link: "tun7", EtherType: 0x0800, Packet: inject.SYN(web)}
	host := x.env.Links()[0].HardwareAddr().String()
	show := func(frames []observe.Frame, source string) string {
		file := writePcapng(t, frames, nil)
		lines := wireshark(t, "tshark", "-n", "-r", file, "-T", "fields", "-E", "separator= ", "-e", "frame.protocols",
			"-e", source, "-e", "vlan.id", "-e", "ip.src", "-e", "arp.opcode")
		return strings.ReplaceAll(strings.Join(lines, "\n"), host, "host")
	}
	got := show(frames, "eth.src") + "\n" + show(append(frames, tun), "sll.src.eth")
	lines := func(begin string) string {
		const n = "02:00:00:00:00:09"
		return begin + ":ethertype:arp " + n + "   1\n" +
			begin + ":ethertype:arp host   2\n" +
			begin + ":ethertype:ip:tcp " + n + "  198.18.0.2 \n" +
			begin + ":ethertype:vlan:ethertype:ip:tcp " + n + " 7 198.18.0.2 \n" +
			begin + ":ethertype:vlan:ethertype:vlan:ethertype:ip:tcp " + n + " 7,9 198.18.0.2 "
	}
	want := lines("eth") + "\n" + lines("sll") + "\nsll:ethertype:ip:tcp   198.18.0.2 "
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
