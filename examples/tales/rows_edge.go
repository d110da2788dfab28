package main

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// edgeRows are about the edges of "a full table drops new flows".
var edgeRows = []row{
	{
		id:      "flood-filled",
		claim:   "a table that a SYN flood has filled hard-drops every new flow",
		article: fields{{says, "when it's full, packets creating new flows will be dropped. No questions asked"}},
		verdict: refined,
		why: "only a tiny table, or one full of answered flows, hard-drops; " +
			"at the default size early_drop makes room among flows that were never answered",
		full:  true,
		early: fillUnreplied,
		ask: func(b *bench) fields {
			b.must(b.early.err)
			b.must(b.early.lack)
			b.notes = append(b.notes, b.early.notes...)
			l := b.full(0, script...)
			l.inject(packet.SYNs(b.packets, web))
			t := l.tally()
			return append(b.early.got,
				field{"assured_mangle", l.counts()[atMangle]}, field{"assured_dropped", int(t.Dropped)},
				field{"assured_evicted", int(t.Evicted)})
		},
		expect: func(q question) expectations {
			unlucky := q.got.number("may_be_dropped")
			return expectations{
				{"mangle", between{q.n - unlucky, q.n}}, {"dropped", between{0, unlucky}}, {"evicted", atLeast(q.n - unlucky)},
				{"assured_mangle", 0}, {"assured_dropped", q.n}, {"assured_evicted", 0},
			}
		},
	},
	{
		id:      "held-unconfirmed",
		claim:   "it is the entries in the table that count towards the limit",
		article: fields{{says, "the number of concurrent connections exceeds the conntrack limit"}},
		verdict: refined,
		why:     "packets that a queue holds have no entry in the table yet, and count all the same",
		full:    true,
		ask:     askHeld,
		expect: func(q question) expectations {
			return expectations{{"held", q.m}, {"dropped", q.n - q.m}, {"listed", 0}}
		},
	},
	{
		id:      limitEdges,
		claim:   "the limit can be tuned to any size on the host's side",
		article: fields{{says, "let's reduce the table size to 7 entries"}},
		verdict: refined,
		why:     "0 means no limit (refused since 6.19, 2b749f257645); a limit below the count drops every new flow and evicts nothing",
		ask:     askLimitEdges,
		expect: func(q question) expectations {
			return expectations{{"zero_means_none", q.got.get("zero_refused") == nil}, {"dropped_below_count", q.n}, {"evicted", 0}}
		},
	},
	{
		id:      "existing-flows",
		claim:   "on a full table only packets that create new flows are dropped",
		article: fields{{says, "packets creating new flows will be dropped"}},
		verdict: confirmed,
		why:     "the flow that has its entry goes on, and so do the ICMP errors about it",
		full:    true,
		ask:     askExisting,
		expect: func(q question) expectations {
			return expectations{
				{"data_on_existing", "ESTABLISHED"}, {"icmp_error_for_existing", "RELATED"}, {"new_syn", "dropped"},
			}
		},
	},
}

// vmVariable is set to 1 in a virtual machine whose limit is nobody else's.
const vmVariable = "CTEXP_VM"

func askLimitEdges(b *bench) fields {
	r, ok := b.hear(roleLimits)
	if !ok {
		need := &nf.UnsupportedError{
			Need: "a virtual machine", Hint: "the limit is the whole host's: set " + vmVariable + "=1 where that harms nobody",
		}
		if os.Getenv(vmVariable) == "1" {
			need = &nf.UnsupportedError{Need: "real root", Hint: "run it as root of the virtual machine"}
		}
		b.must(need)
	}
	b.must(r.err())
	return r.Got
}

func askExisting(b *bench) fields {
	classes := map[nf.CTState]rule{}
	var rules []rule
	for _, state := range []nf.CTState{nf.StateEstablished, nf.StateRelated, nf.StateNew, nf.StateInvalid} {
		classes[state] = rule{at: manglePrerouting, state: state}
		rules = append(rules, classes[state])
	}
	l := b.full(1, rules...)
	b.listen(l)

	// The last free entry is for a connection.
	l.inject(packet.Packets(packet.SYN(web)))
	synack, ok := l.synacks(time.Time{})[web.Src.Port()]
	if !ok {
		b.must(errors.New("the listener did not answer a SYN"))
	}
	l.inject(packet.Packets(web.TCP(packet.TCP{Flags: packet.FlagACK, Seq: 2, Ack: synack.Seq + 1})))

	fresh := web.Nth(1000)
	before := l.counts()
	class := func(p packet.Packet) string {
		l.inject(packet.Packets(p))
		after := l.counts()
		name := classAt(before, after, classes)
		before = after
		return name
	}
	got := fields{
		{"data_on_existing", class(web.TCP(packet.TCP{
			Flags: packet.FlagPSH | packet.FlagACK, Seq: 2, Ack: synack.Seq + 1, Payload: []byte("x"),
		}))},
		{"icmp_error_for_existing", class(tooBig(web.Reverse().TCP(packet.TCP{
			Flags: packet.FlagACK, Seq: synack.Seq + 1, Ack: 3,
		})))},
		{"new_syn", class(packet.SYN(fresh))},
	}
	t := l.tally()
	return append(append(got, field{"dropped", int(t.Dropped)}), dice(t)...)
}

// tooBig is what a router on the way says about a packet of the host: that it had to be fragmented.
func tooBig(p packet.Packet) packet.Packet {
	router := netip.MustParseAddr("198.18.0.1")
	const quoted = 28
	out, err := packet.Build(
		&layers.IPv4{TTL: 64, SrcIP: router.AsSlice(), DstIP: host.AsSlice()},
		&layers.ICMPv4{
			TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded),
			Seq:      1400, // the next hop's MTU
		},
		gopacket.Payload(p[:quoted]),
	)
	if err != nil {
		panic("tales: " + err.Error()) // it fits
	}
	return out
}

// classAt is the class of the one packet that has just been injected: which of the rules has counted it.
func classAt(before, after map[rule]int, rules map[nf.CTState]rule) string {
	for state, r := range rules {
		if after[r] > before[r] {
			return strings.ToUpper(state.String())
		}
	}
	return "dropped"
}
