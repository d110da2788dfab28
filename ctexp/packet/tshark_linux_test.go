package packet_test

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

// Wireshark finds no fault with the packets of this package, except with the intentionally wrong ones.
func TestTsharkFindsNoFaultWithWhatWeBuild(t *testing.T) {
	t.Parallel()
	var all []packettest.Kind
	for family, f := range map[string]packet.Flow{"ipv4": web, "ipv6": web6} {
		for _, k := range packettest.Kinds(f) {
			all = append(all, packettest.Kind{Name: family + " " + k.Name, Packet: k.Packet})
		}
		for i, p := range f.UDP(make([]byte, 3000)).Fragments(1280) {
			all = append(all, packettest.Kind{Name: fmt.Sprintf("%s fragment %d", family, i), Packet: p})
		}
	}
	const cut = "unverified checksum" // not all that it covers is there
	want := map[string]string{
		"ipv4 about a large one": cut, "ipv4 fragment 0": cut, "ipv6 about a large one": cut, "ipv6 fragment 0": cut,
	}
	for _, w := range wrongOnes() {
		all = append(all, w.Kind)
		want[w.Name] = w.complaint
	}

	got := complaints(t, all, packettest.Frames())

	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("what tshark complains of (-want +got):\n%s", diff)
	}
}

type wrongOne struct {
	packettest.Kind
	complaint string
}

// wrongOnes are intentionally wrong.
func wrongOnes() []wrongOne {
	syn, datagram := packet.SYN(web), web.UDP([]byte("hello"))
	about := packet.TimeExceeded(web.Dst.Addr(), packet.SYN(web))
	bad := packet.Checksum(0xbad)
	wrong := func(name string, p packet.Packet, complaint string) wrongOne {
		return wrongOne{packettest.Kind{Name: name, Packet: p}, complaint}
	}
	return []wrongOne{
		wrong("wrong header checksum", syn.With(packet.HeaderChecksum(0xbad)), "bad checksum"),
		wrong("wrong tcp", syn.With(bad), "bad checksum"),
		wrong("wrong udp", datagram.With(bad), "bad checksum"),
		wrong("wrong udplite", web.UDPLite(0, []byte("hello")).With(bad), "bad checksum"),
		wrong("wrong icmp", about.With(bad), "bad checksum"),
		wrong("wrong sctp", web.SCTP(0, packet.SCTPInit(1, 1)).With(bad), "bad checksum"),
		wrong("wrong dccp", web.DCCP(packet.DCCP{}).With(bad), "bad checksum"),
		wrong("wrong igmp", packet.IGMP(web.Src.Addr(), packet.IGMPQuery, netip.IPv4Unspecified()).With(bad), "bad checksum"),
		wrong("wrong gre", web.GRE(packet.GRE{Checksum: true, Payload: syn}).With(bad), "bad checksum"),
		wrong("wrong icmpv6", packet.Echo(web6.Src.Addr(), web6.Dst.Addr(), 1, 1, nil).With(bad), "bad checksum"),
		wrong("data offset beyond the end", syn.With(packet.DataOffset(15)), "malformed"),
	}
}

// complaints returns tshark's messages about the packets that it finds fault with.
func complaints(t *testing.T, packets []packettest.Kind, frames map[string]packet.Frame) map[string]string {
	t.Helper()
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeRaw)
	if err != nil {
		t.Fatal(err)
	}
	ethernet, err := w.AddInterface(pcapgo.NgInterface{Name: "eth0", LinkType: layers.LinkTypeEthernet})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	write := func(link int, name string, p []byte) {
		names = append(names, name)
		ci := gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), Length: len(p), CaptureLength: len(p), InterfaceIndex: link}
		if err := w.WritePacket(ci, p); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range packets {
		write(0, k.Name, k.Packet)
	}
	for name, f := range frames {
		write(ethernet, name, f)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	said := decoded(t, b.Bytes())
	if len(said) != len(names) {
		t.Fatalf("tshark has decoded %d packets of %d", len(said), len(names))
	}
	for i, text := range said {
		if c := complaint(text); c != "" {
			got[names[i]] = c
		}
	}
	return got
}

// complaint returns tshark's most severe message about a packet.
func complaint(text string) string {
	for _, c := range []struct{ mark, word string }{
		{`Malformed|BoundsError|Dissector bug`, "malformed"},
		{`Checksum Status: Bad|incorrect|Incorrect`, "bad checksum"},
		{`Expert Info \((Error|Warning)/[^S].*`, ""}, // all but those of the group Sequence, such as that an RST resets
		{`unverified`, "unverified checksum"},
	} {
		if m := regexp.MustCompile(c.mark).FindString(text); m != "" {
			return cmp.Or(c.word, m)
		}
	}
	return ""
}

// decoded returns tshark's most detailed output for each packet, with all checksums checked.
func decoded(t *testing.T, capture []byte) []string {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		needs.Check(t, &nf.UnsupportedError{Need: "tshark", Hint: "apt-get install tshark", Err: err})
	}
	file := filepath.Join(t.TempDir(), "packets.pcapng")
	if err := os.WriteFile(file, capture, 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"-n", "-V", "-r", file}
	for _, p := range []string{
		"ip.check_checksum:TRUE", "tcp.check_checksum:TRUE", "udp.check_checksum:TRUE", "udplite.check_checksum:TRUE",
		"dccp.check_checksum:TRUE", "sctp.checksum:crc-32c", "ip.defragment:FALSE", "ipv6.defragment:FALSE",
		"tcp.analyze_sequence_numbers:FALSE", "udp.ignore_ipv6_zero_checksum:FALSE",
	} {
		args = append(args, "-o", p)
	}
	cmd := exec.CommandContext(t.Context(), "tshark", args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "LC_ALL=C.UTF-8")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, &stderr)
	}
	return regexp.MustCompile(`(?m)^Frame \d+:`).Split(string(out), -1)[1:]
}
