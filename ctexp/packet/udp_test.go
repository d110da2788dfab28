package packet_test

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func ExampleFlow_UDP() {
	fmt.Println(web6.UDP([]byte("hello")))
	// Output: IP6 2001:db8::2.10000 > 2001:db8::1.80: UDP, length 5
}

func ExampleFlow_DCCP() {
	fmt.Println(web.DCCP(packet.DCCP{Type: packet.DCCPRequest, Seq: 5, Service: 42}))
	fmt.Println(web.Reverse().DCCP(packet.DCCP{Type: packet.DCCPResponse, Seq: 9, Ack: 5, Service: 42}))
	// Output:
	// IP 198.18.0.2.10000 > 192.0.2.1.80: DCCP-Request, seq 5, service 42, length 0
	// IP 192.0.2.1.80 > 198.18.0.2.10000: DCCP-Response, seq 9, ack 5, service 42, length 0
}
