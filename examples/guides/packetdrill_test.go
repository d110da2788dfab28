package guides

import (
	"io"
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
)

// A server of the host accepts a connection, reads a request, and answers; then a reset beyond the window must not end it.
func TestServerIgnoresAResetOutOfWindow(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	listener, err := x.Env.Listen(t.Context(), "tcp", "192.0.2.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	client := x.TCP("tun0", packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:8080")})
	client.MSS = 1000

	client.Connect() // < S 0:0(0) <mss 1000>  > S. 0:0(0) ack 1  < . 1:1(0) ack 1
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client.Write([]byte("GET /")) // < P. 1:6(5) ack 1
	request := make([]byte, 5)
	if _, err := io.ReadFull(conn, request); err != nil || string(request) != "GET /" {
		x.Errorf("the server has read %q: %v", request, err)
	}
	client.ExpectAck() // > . 1:1(0) ack 6
	if _, err := conn.Write([]byte("hello")); err != nil {
		x.Errorf("write: %v", err)
	}
	client.Expect(peer.Segment{Payload: []byte("hello")}) // > P. 1:6(5) ack 6
	client.Ack()                                          // < . 6:6(0) ack 6

	client.Reset(peer.ResetOutOfWindow) // < R 1000000:1000000(0)
	if _, err := conn.Write([]byte("still here")); err != nil {
		x.Errorf("after the reset: %v", err)
	}
	client.Expect(peer.Segment{Payload: []byte("still here")})
}
