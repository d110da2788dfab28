// Package peer has the remote ends of conversations with the host under test: an Inbox has the packets that the host sends, and
// TCP, UDP and Echo are ends that a test plays step by step.
//
// Expect takes the first packet that a packet.Match selects, and ExpectNothing fails if there is one:
//
//	inbox := peer.NewInbox(links...)
//	got, err := inbox.Expect(ctx, packet.Match{Out: "tun0", Flags: packet.FlagSYN | packet.FlagACK})
//	err = inbox.ExpectNothing(ctx)
//
// A TCP follows the sequence numbers, options and timestamps that it really receives, and never sends by itself:
//
//	client := peer.NewTCP(inject.New(link), "tun0", inbox, web)
//	err := client.Connect(ctx)
//	…
//	got, err := client.Expect(ctx, peer.Segment{Payload: []byte("hello")})
//
// A failed expectation is an *ExpectationError, with a table of what was wanted and what the nearest packet has, and with the
// packets that came.
package peer
