// Package peer has the other ends of the host under test's conversations: an Inbox has what the host sends, and TCP, UDP and
// Echo are ends that a test plays step by step.
//
// Expect takes the first packet that a packet.Match means, and ExpectNothing fails if there is one:
//
//	inbox := peer.NewInbox(links...)
//	got, err := inbox.Expect(ctx, packet.Match{Out: "tun0", Flags: packet.FlagSYN | packet.FlagACK})
//	err = inbox.ExpectNothing(ctx)
//
// A TCP keeps numbers, options and time stamps as they really come, and never sends by itself:
//
//	client := peer.NewTCP(inject.New(link), "tun0", inbox, web)
//	err := client.Connect(ctx)
//	…
//	got, err := client.Expect(ctx, peer.Segment{Payload: []byte("hello")})
//
// What is not as expected is an *ExpectationError, with a table of what was wanted and what there was, and with the packets that
// came instead.
package peer
