// Package ctexp asserts what a real Linux kernel does with packets, from an ordinary go test: without root, in
// parallel, without a sleep, in milliseconds.
//
// The main types are Experiment, for tests, and Lab, the same for programs. Each wires three parts together: a netnsenv.Env
// is a network namespace with links, rules and a conntrack table of known room, an inject.Injector sends packets into it,
// and an observe.Observer reports what happened.
//
//	func TestMain(m *testing.M) { ctexp.Main(m) } // runs the tests as root of new user and mount namespaces
//
//	func TestFullTableDropsNewFlows(t *testing.T) {
//		t.Parallel()
//		x := ctexp.New(t, netnsenv.Config{
//			Room:   netnsenv.Free(7),
//			Silent: true,
//			Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting},
//		})
//
//		x.Inject(packet.SYNs(10, web))
//
//		want := observe.Tally{
//			Packets: map[string]uint64{"raw/prerouting": 10, "mangle/prerouting": 7},
//			Entries: 7,
//			Dropped: 3,
//		}
//		if diff := x.Tally().Diff(want); diff != "" {
//			x.Errorf("10 SYNs into a table with room for 7 (-want +got):\n%s", diff)
//		}
//	}
//
// # Nothing to wait for
//
// When Inject returns, the kernel has processed every packet: counters, the table, the capture and the answers on the
// links are final. For what happens later (a timer, the answer of a program), Await waits for a condition.
//
// # The life of a flow
//
// States returns the state of a flow's entry after each packet. Life returns every event of the entry in the kernel's
// order, so it also shows what never happened:
//
//	x.States(flow, packets) // "SYN_SENT [UNREPLIED]", "SYN_RECV", "ESTABLISHED [ASSURED]"
//	x.Life(flow)            // "NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]"
//
// # Conversations
//
// The test can play either end of a conversation, behind any link. Sequence numbers follow what the kernel really answers:
//
//	client := x.TCP("tun0", packet.Flow{Src: inside, Dst: outside})
//	server := x.TCP("tun1", packet.Flow{Src: outside}) // accepts the first client
//	x.Handshake(client, server)                       // the host is a router between them
//	client.Write([]byte("ping"))
//	server.Expect(peer.Segment{Payload: []byte("ping")})
//	server.Reset(peer.ResetOutOfWindow)
//	client.ExpectNothing()
//
// The other end may also be a socket of the host: x.Env.Listen and client.Connect(), or server.AcceptDial(). In a Segment
// numbers are relative to the initial sequence number of each side. A field that is left out is filled in when sending, and
// not compared when receiving. x.Teardown closes a connection between two scripted ends.
//
// x.Expect takes a packet that the host has sent and that a packet.Match selects; fields of the Match that are nil or zero
// match anything. A failed expectation shows what was wanted, the nearest packet and every packet that came. Packets that
// the host forwards or answers in the kernel are there when Inject returns. Expect waits for those that sockets and timers
// send; ExpectNothing never waits. An end of a conversation stops waiting when a reset or an ICMP error arrives.
//
// # Missing requirements
//
// A test skips if the machine lacks something (user namespaces, the iptables binary); the message says what is missing,
// why, and what to do. With CTEXP_REQUIRE=1 the test fails instead, except for the needs that CTEXP_LACKS lists, separated
// by commas. A need that is listed but present is a failure, too. A tun link falls back to veth automatically.
//
// # When a test fails
//
// If a test fails or panics, its log shows the path of the packets with the count at each probe and the places of losses,
// the flows, the rules with their counters, and the captured packets. An HTML page with all of it is kept; it
// also has the messages that were passed to the Experiment's own Errorf, right after the losses. If a test has several
// Experiments, each has its own page. With CTEXP_HOLD=1 a failed test keeps its namespace open until it is interrupted, and prints the nsenter
// command that enters it. Which of several rules without counters dropped a packet, only a trace can tell: the log then has
// the command that runs the test again with CTEXP_TRACE=1, by which New traces every Env.
package ctexp
