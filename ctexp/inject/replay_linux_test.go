package inject_test

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/packettest"
	"github.com/ctexp/go-ctexp/internal/pcap"
)

// BenchmarkReplay tells the cost of a packet that is read from a recording and sent: by one link, and in turn by both links
// of a router, where the host has to be done with each packet before the next one.
func BenchmarkReplay(b *testing.B) {
	there, back := pcap.Packet{Data: web.UDP(nil)}, pcap.Packet{Link: "tun1", Data: web.Reverse().UDP(nil)}
	for name, packets := range map[string][2]pcap.Packet{"one link": {there, there}, "in turn": {there, back}} {
		for _, kind := range []netnsenv.LinkKind{netnsenv.Auto, netnsenv.Veth} {
			b.Run(name+"/"+kind.String(), func(b *testing.B) {
				env := open(b, netnsenv.Config{
					Links: []netnsenv.LinkConfig{
						{Kind: kind, Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.0.1/24")}},
						{Kind: kind, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.254/24")}},
					},
					Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}, Silent: true, NoPath: true,
				})
				head := packettest.Recording([]string{"tun0", "tun1"}, packets[:]...)
				more := packettest.Recording([]string{"tun0", "tun1"}, append(packets[:], packets[:]...)...)
				file := &packettest.Repeated{Head: head, Packets: more[len(head):], Times: b.N/2 + 1}
				b.ReportAllocs()
				b.ResetTimer()
				if _, err := (inject.Replay{}).Send(b.Context(), packet.ReadRecording(file), env.Links()[0], env.Links()[1]); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
