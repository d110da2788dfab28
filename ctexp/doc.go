// Package ctexp asserts what a real Linux kernel does with packets, from an ordinary go test: without root, in
// parallel, without a sleep, in milliseconds.
//
// Three nouns and a face: a netnsenv.Env is where (a network namespace of its own, with links, rules and a conntrack table of
// known room), an inject.Injector is what is sent, an observe.Observer is what happened. A Lab is the three wired
// together, for programs; an Experiment is a Lab for tests.
//
//	func TestMain(m *testing.M) { ctexp.Main(m) } // root of namespaces of its own, for everybody
//
//	func TestFullTableDropsNewFlows(t *testing.T) {
//		t.Parallel()
//		x := ctexp.New(t, netnsenv.Config{
//			Room:   netnsenv.Free(7),
//			Silent: true,
//			Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting},
//		})
//
//		x.Inject(inject.SYNs(10, web))
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
// When Inject returns, the kernel is done with every packet: counters, the table, the capture and the answers on the
// links are final. What happens later by itself (a timer, a program's answer) one awaits by a condition: Await.
//
// # Steps, and what never happens
//
// States tells how a flow's entry is after each packet, Life what happened to it in the kernel's order; what never
// happened is not in it:
//
//	x.States(flow, packets) // "SYN_SENT [UNREPLIED]", "SYN_RECV", "ESTABLISHED [ASSURED]"
//	x.Life(flow)            // "NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]"
//
// # Conversations
//
// The test can play any end of a conversation, behind any link, and keeps its numbers by what the kernel really answers:
//
//	client := x.TCP("tun0", packet.Flow{Src: inside, Dst: outside})
//	server := x.TCP("tun1", packet.Flow{Src: outside}) // takes the first client
//	x.Handshake(client, server)                       // through the host, which is a router here
//	client.Write([]byte("ping"))
//	server.Expect(peer.Segment{Payload: []byte("ping")})
//	server.Reset(peer.ResetOutOfWindow)
//	client.ExpectNothing()
//
// The other end may as well be a socket of the host: x.Env.Listen and client.Connect(), or server.AcceptDial(). In a Segment
// numbers count from the first of each side, and what is left out is right, or any. x.Teardown closes between two scripts.
//
// x.Expect takes a packet that the host sends by a packet.Match, of which every field that is nil or zero asks for nothing. An expectation
// that is not met shows what was wanted, what there was and all that came. What the host answers and forwards by itself is
// there at once; for what its sockets and timers send an expectation waits, that of nothing never does. Nor does an end of a
// conversation wait any longer for which a reset or an ICMP error has come.
//
// # What cannot be done here
//
// A test skips where the machine lacks something (user namespaces, the iptables binary), and says what, why and what to
// do. With CTEXP_REQUIRE=1 it fails instead, except for the needs that CTEXP_LACKS lists, separated by commas; a need
// that is listed and not lacking fails, too. A link falls back from tun to veth by itself.
//
// # When a test fails
//
// or panics, its log has, without being asked, the path that the packets took with the count at each probe and where they
// were lost, the flows, the rules with their counters and the captured packets. A page with all of it is kept, which begins
// with what the test wanted if that was said by the Experiment's own Errorf; of several Experiments in a test each has its
// page, and says which one it is. With CTEXP_HOLD=1 a failed test keeps its namespace open until it is interrupted and
// prints the nsenter line that leads into it.
package ctexp
