// Package model holds random conversations through a kernel and asserts what is true of all of them.
//
// A Conversation is what two ends send to each other, and the time that passes in between: a TCP connection with its flags,
// numbers, windows, retransmissions and resets, right or wrong ones, UDP datagrams, ICMP echo. Generate makes random ones. ForAll
// holds some hundred of them side by side in a Lab, which is a router with any rules, and asks a property about the History
// of each: what was delivered to the other end, what conntrack said of each packet, which entries there were after each step.
// If it does not hold, the failure shows the smallest conversation for which it does not, as Go source:
//
//	func TestNothingFromOutsideGetsInUnlessAsked(t *testing.T) {
//		x := ctexp.New(t, firewall) // between tun0 and tun1
//		ends := [2]model.Place{
//			{Link: "tun0", Addr: netip.MustParseAddrPort("10.0.0.2:22")},
//			{Link: "tun1", Addr: netip.MustParseAddrPort("192.0.2.2:53")},
//		}
//		model.ForAll(t, x.Lab, model.Config{Ends: ends}, func(h model.History) error {
//			asked := false
//			for i, got := range h.Happened {
//				switch {
//				case got.Delivered == nil:
//				case h.Steps[i].From == model.A:
//					asked = true
//				case !asked:
//					return errors.New("unasked")
//				}
//			}
//			return nil
//		})
//	}
//
// Kernel is a model of the kernel's own tracking; its method Check is such a property, by which this package is tested, and
// by which one can see whether another kernel does the same. Conversation.Test prints a test of it. What was found with it
// is written down in docs/corners.md.
//
// All times are the kernel's: a step that lets time pass is Lab.Age, and nothing waits.
package model
