package netnsenv_test

import (
	"net"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// A router with IPv6 sends nothing on its own, neither multicast reports nor done messages.
func TestHostWithIPv6IsQuiet(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		e := open(t, netnsenv.Config{
			Links:   []netnsenv.LinkConfig{{Kind: kind, Prefixes: prefixes("2001:db8::1/64"), Routes: prefixes("::/0")}},
			Sysctls: map[string]string{"net.ipv6.conf.all.forwarding": "1"},
		})
		if err := e.Do(func() error {
			tun0, err := net.InterfaceByName("tun0")
			if err != nil {
				return err
			}
			c, err := net.ListenMulticastUDP("udp6", tun0, &net.UDPAddr{IP: net.ParseIP("ff02::1234"), Port: 9})
			if err != nil {
				return err
			}
			return c.Close()
		}); err != nil {
			t.Fatal(err)
		}
		// What the host is asked, it answers, and nothing was said before.
		src, dst := addrPort("[2001:db8:1::2]:1").Addr(), addrPort("[2001:db8::1]:1").Addr()
		b := make([]byte, 1500)
		for id := range uint16(200) {
			send(t, e, packet.Echo(src, dst, id, 1, nil))
			n, err := e.Links()[0].Read(b)
			if err != nil || n < 41 || b[6] != 58 || b[40] != 129 {
				t.Fatalf("%v: %v, %x", kind, err, b[:n])
			}
		}
	}
}
