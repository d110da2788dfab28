package peer_test

import (
	"context"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
)

// The link is one to a host that answers each SYN by a SYN+ACK. In a test it is a *netnsenv.Link.
func ExampleInbox_Expect() {
	ctx, link := context.Background(), &host{name: "tun0", answer: func(p packet.Packet) []packet.Packet {
		return []packet.Packet{packet.SYNACK(web.Reverse())}
	}}
	inbox := peer.NewInbox(link)
	inject.New(link).Send(ctx, packet.Packets(packet.SYN(web)))

	got, err := inbox.Expect(ctx, packet.Match{Out: "tun0", Src: web.Dst, Flags: packet.FlagSYN | packet.FlagACK})
	fmt.Println(got, err)
	fmt.Println(inbox.ExpectNothing(ctx))
	// Output:
	// tun0 Out IP 192.0.2.1.80 > 198.18.0.2.10000: Flags [S.], seq 1, ack 2, win 65535, length 0 <nil>
	// <nil>
}

// Two ends of a connection, with a router between them: what comes in by one link leaves by the other.
func ExampleHandshake() {
	ctx := context.Background()
	tun0, tun1, inbox := crossed()
	client := peer.NewTCP(inject.New(tun0), "tun0", inbox, web)
	server := peer.NewTCP(inject.New(tun1), "tun1", inbox, packet.Flow{Src: web.Dst})
	client.MSS = 1460

	fmt.Println(peer.Handshake(ctx, client, server))
	client.Write(ctx, []byte("GET /"))
	request, err := server.Read(ctx, 5)
	fmt.Printf("%s %v %d\n", request, err, server.Learnt().MSS)
	// Output:
	// <nil>
	// GET / <nil> 1460
}

// The host answers by something else than expected.
func ExampleExpectationError() {
	ctx, link := context.Background(), &host{name: "tun0", answer: func(p packet.Packet) []packet.Packet {
		return []packet.Packet{packet.RST(web.Reverse())}
	}}
	client := peer.NewTCP(inject.New(link), "tun0", peer.NewInbox(link), web)
	fmt.Println(client.Connect(ctx))
	// Output:
	// no such segment to 198.18.0.2:10000: another packet came
	// nearest: tun0: IP 192.0.2.1.80 > 198.18.0.2.10000: Flags [R], seq 2, win 65535, length 0
	//         | want | got
	// ≠ flags | [S.] | [R]
	// ≠ ack   | 1    | none
	// packets that came (✓ taken, = nothing new, ✗ not expected; numbers of 198.18.0.2:10000 relative):
	//   ✗ tun0: IP 192.0.2.1.80 > 198.18.0.2.10000: Flags [R], seq 2, win 65535, length 0
}

// A connection to a server that is scripted, too: numbers are relative to those of each side.
func ExampleTCP() {
	ctx := context.Background()
	tun0, tun1, inbox := crossed()
	client := peer.NewTCP(inject.New(tun0), "tun0", inbox, web)
	server := peer.NewTCP(inject.New(tun1), "tun1", inbox, packet.Flow{Src: web.Dst})
	peer.Handshake(ctx, client, server)

	client.Send(ctx, peer.Segment{Payload: []byte("ping")})
	got, err := server.Expect(ctx, peer.Segment{Payload: []byte("ping")})
	fmt.Println(got.Tuple().Src, err)
	fmt.Println(client.ExpectNothing(ctx))
	fmt.Println(peer.Teardown(ctx, client, server))
	// Output:
	// 198.18.0.2:10000 <nil>
	// <nil>
	// <nil>
}

// Two ends that speak UDP; the second answers the first that comes.
func ExampleUDP() {
	ctx := context.Background()
	tun0, tun1, inbox := crossed()
	client := peer.NewUDP(inject.New(tun0), "tun0", inbox, web)
	server := peer.NewUDP(inject.New(tun1), "tun1", inbox, packet.Flow{Src: web.Dst})

	client.Send(ctx, []byte("question"))
	_, err := server.Expect(ctx, []byte("question"))
	server.Send(ctx, []byte("answer"))
	got, err2 := client.Expect(ctx, nil)
	fmt.Println(err, err2, got)
	// Output:
	// <nil> <nil> IP 192.0.2.1.80 > 198.18.0.2.10000: UDP, length 6
}

// One end asks, the other answers.
func ExampleEcho() {
	ctx := context.Background()
	tun0, tun1, inbox := crossed()
	asks := peer.NewEcho(inject.New(tun0), "tun0", inbox, web.Src.Addr(), web.Dst.Addr())
	answers := peer.NewEcho(inject.New(tun1), "tun1", inbox, web.Dst.Addr(), web.Src.Addr())

	asks.Ping(ctx, []byte("hello"))
	request, err := answers.ExpectRequest(ctx, []byte("hello"))
	answers.Reply(ctx)
	reply, err2 := asks.ExpectReply(ctx, []byte("hello"))
	fmt.Println(request, err)
	fmt.Println(reply, err2)
	// Output:
	// IP 198.18.0.2 > 192.0.2.1: ICMP echo request, id 1, seq 1, length 13 <nil>
	// IP 192.0.2.1 > 198.18.0.2: ICMP echo reply, id 1, seq 1, length 13 <nil>
}
