package packet_test

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func ExampleFlow_SCTP() {
	const client, server = 11, 22 // the tags of packets to each
	cookie := []byte("cookie")
	fmt.Println(web.SCTP(0, packet.SCTPInit(client, 100)))
	fmt.Println(web.Reverse().SCTP(client, packet.SCTPInitAck(server, 200, cookie)))
	fmt.Println(web.SCTP(server, packet.SCTPCookieEcho(cookie), packet.SCTPData(100, 0, 0, []byte("hello"))))
	fmt.Println(web.Reverse().SCTP(client, packet.SCTPCookieAck(), packet.SCTPSack(100)))
	// Output:
	// IP 198.18.0.2.10000 > 192.0.2.1.80: sctp tag 0 [INIT tag 11, tsn 100], length 32
	// IP 192.0.2.1.80 > 198.18.0.2.10000: sctp tag 11 [INIT ACK tag 22, tsn 200], length 44
	// IP 198.18.0.2.10000 > 192.0.2.1.80: sctp tag 22 [COOKIE ECHO] [DATA tsn 100, stream 0, seq 0, 5 bytes], length 48
	// IP 192.0.2.1.80 > 198.18.0.2.10000: sctp tag 11 [COOKIE ACK] [SACK tsn 100], length 32
}
