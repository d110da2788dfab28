package packet_test

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func ExampleFlow_GRE() {
	fmt.Println(web.GRE(packet.GRE{Key: new(uint32(5)), Payload: packet.SYN(web6)}))
	fmt.Println(web.PPTP(packet.PPTP{CallID: 7, Seq: 1, Payload: []byte("PPP")}))
	// Output:
	// IP 198.18.0.2 > 192.0.2.1: GREv0, key 0x5, proto 0x86dd, length 68: IP6 2001:db8::2.10000 > 2001:db8::1.80: Flags [S], seq 1, win 65535, length 0
	// IP 198.18.0.2 > 192.0.2.1: GREv1, call 7, seq 1, proto 0x880b, length 15
}
