package model

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Generate returns n random conversations of the protocols (none: all), the same ones for the same r. They consist of what
// ends do (open, send, acknowledge, close, retransmit, reset) and of what they should not do (segments out of the window,
// wrong flags, answers to nothing, wrong checksums), in any order, and of time that passes. Most are of TCP. All of them pass
// the same times, so that ForAll can hold them side by side.
func Generate(r *rand.Rand, n int, protos ...nf.Proto) []Conversation {
	if len(protos) == 0 {
		protos = []nf.Proto{nf.TCP, nf.TCP, nf.TCP, nf.TCP, nf.TCP, nf.TCP, nf.UDP, nf.ICMP}
	}
	var passes []time.Duration
	for range r.IntN(4) {
		passes = append(passes, times[r.IntN(len(times))]*time.Second)
	}
	all := make([]Conversation, n)
	for i := range all {
		g := generator{r: r, passes: passes, c: Conversation{Proto: protos[r.IntN(len(protos))]}}
		all[i] = g.conversation()
	}
	return all
}

// times that pass, in seconds: on both sides of each timeout.
var times = []time.Duration{1, 5, 9, 10, 11, 29, 30, 31, 59, 60, 61, 100, 119, 120, 121, 250, 299, 300, 301, 1000, 431999, 432000}

// Bytes returns a source of randomness that is the data, followed by numbers that are always the same. With it a Go fuzz
// target searches among conversations:
//
//	f.Fuzz(func(t *testing.T, data []byte) { … model.Generate(model.Bytes(data), 1) … })
func Bytes(data []byte) *rand.Rand { return rand.New(&source{data, rand.NewPCG(0, 0)}) }

// source is a rand.Source of bytes. A number takes one byte, so that a change of a byte changes one decision.
type source struct {
	data []byte
	rest rand.Source // after the data
}

// Uint64 returns the next byte, repeated so that upper and lower bits of the number vary.
func (s *source) Uint64() uint64 {
	if len(s.data) == 0 {
		return s.rest.Uint64()
	}
	n := uint64(s.data[0]) * 0x0101010101010101
	s.data = s.data[1:]
	return n
}

// generator makes one conversation.
type generator struct {
	r      *rand.Rand
	c      Conversation
	passes []time.Duration // that are left
	ends   [2]speaker      // of TCP
	phase  int             // of TCP: the SYN, the answer, its acknowledgement, and then anything
	opener End
}

// speaker is one end of a TCP connection.
type speaker struct {
	next  uint32 // its next sequence number
	acked uint32 // what it has acknowledged
	win   uint16
}

// one reports true with odds of 1 to n-1.
func (g *generator) one(n int) bool { return g.r.IntN(n) == n-1 }

func (g *generator) conversation() Conversation {
	g.opener = End(g.r.IntN(2))
	g.c.Answers = g.one(4)
	if g.c.Proto == nf.TCP {
		g.start()
	}
	for range 1 + g.r.IntN(14) {
		var s Step
		switch {
		case len(g.passes) > 0 && g.one(10):
			s = Step{Pass: g.passes[0]}
			g.passes = g.passes[1:]
		case len(g.c.Steps) > 0 && g.one(8): // again
			if s = g.c.Steps[g.r.IntN(len(g.c.Steps))]; s.Pass > 0 {
				continue
			}
			for range g.r.IntN(4) * g.r.IntN(2) { // and again
				g.c.Steps = append(g.c.Steps, s)
			}
		default:
			s = g.packet()
		}
		g.c.Steps = append(g.c.Steps, s)
	}
	return g.c
}

func (g *generator) packet() (s Step) {
	switch s.From = End(g.r.IntN(2)); g.c.Proto {
	case nf.TCP:
		s = g.segment()
	case nf.ICMP:
		s.Reply = g.one(2)
		if !g.one(4) {
			s.From = g.opener
			if s.Reply {
				s.From = g.opener.Other()
			}
		}
	}
	if g.c.Proto != nf.TCP {
		s.Len = g.r.IntN(3) * 20
	}
	s.BadSum = g.one(40)
	return s
}

// start chooses initial sequence numbers, also ones that are about to wrap.
func (g *generator) start() {
	for i := range g.ends {
		isn := [...]uint32{1, 0, 1000, 1 << 31, 1<<31 - 100, 1<<32 - 50, 1<<32 - 70000, g.r.Uint32()}[g.r.IntN(8)]
		g.ends[i] = speaker{next: isn, win: windows[g.r.IntN(len(windows))]}
	}
	g.phase = 0
}

var windows = [...]uint16{65535, 65535, 1000, 100, 1, 0, 14600}

// segment returns a segment of TCP: the next one of the connection, or any.
func (g *generator) segment() (s Step) {
	if g.one(20) {
		g.start() // another connection of the same ports
	}
	switch kind := g.r.IntN(20); {
	case kind < 12:
		return g.expected()
	case kind < 15:
		s = g.expected()
		s.Seq += g.offset()
	case kind < 17:
		s = g.expected()
		s.Ack += g.offset()
	case kind < 18:
		s = g.expected()
		s.Flags = packet.TCPFlags(g.r.IntN(256))
	default:
		s = g.expected()
		s.Flags = packet.FlagRST | packet.FlagACK*packet.TCPFlags(g.r.IntN(2))
		s.Len = 0
		switch g.r.IntN(4) {
		case 0:
			s.Seq = 0
		case 1:
			s.Seq += g.offset()
		case 2:
			s.Ack = 0
		}
	}
	return s
}

// offset returns how far a number is wrong.
func (g *generator) offset() uint32 {
	n := [...]uint32{1, 10, 99, 100, 101, 999, 1001, 14600, 65535, 65536, 66000, 66001, 70000, 131071, 1 << 20, 1 << 30, 1<<31 - 1}[g.r.IntN(17)]
	if g.one(2) {
		return -n
	}
	return n
}

// expected returns the next segment of the connection, as if all those before had arrived.
func (g *generator) expected() (s Step) {
	s.From = End(g.r.IntN(2))
	switch g.phase {
	case 0:
		s.From, s.Flags = g.opener, packet.FlagSYN
	case 1:
		s.From, s.Flags = g.opener.Other(), packet.FlagSYN|packet.FlagACK
		if g.one(10) {
			s.Flags = packet.FlagSYN // simultaneous open
		}
	case 2:
		s.From, s.Flags = g.opener, packet.FlagACK
	default:
		s.Flags = [...]packet.TCPFlags{
			packet.FlagACK, packet.FlagACK, packet.FlagACK, packet.FlagACK | packet.FlagPSH, packet.FlagFIN | packet.FlagACK,
			packet.FlagFIN | packet.FlagACK, packet.FlagSYN, packet.FlagSYN | packet.FlagACK,
		}[g.r.IntN(8)]
		if s.Flags.Contains(packet.FlagACK) && g.one(2) {
			s.Len = [...]int{1, 10, 100, 1000, 1400}[g.r.IntN(5)]
		}
	}
	me, peer := &g.ends[s.From], &g.ends[s.From.Other()]
	g.phase++
	if g.one(6) {
		me.win = windows[g.r.IntN(len(windows))]
	}
	s.Seq, s.Window = me.next, me.win
	switch {
	case s.Flags&packet.FlagACK == 0:
	case g.one(4):
		s.Ack = me.acked // acknowledges nothing new
	default:
		s.Ack = peer.next
		me.acked = s.Ack
	}
	me.next = segmentEnd(s)
	s.Options = g.options(s)
	return s
}

func (g *generator) options(s Step) (options []packet.TCPOption) {
	if s.Flags&packet.FlagSYN == 0 {
		if s.Flags&packet.FlagACK != 0 && g.one(6) {
			left := s.Ack + uint32(g.r.IntN(2000))
			return []packet.TCPOption{packet.SACK([2]uint32{left, left + uint32(1+g.r.IntN(2000))})}
		}
		return nil
	}
	if g.one(2) {
		options = append(options, packet.MSS(1460))
	}
	if g.one(2) {
		options = append(options, packet.SACKPermitted())
	}
	if g.one(2) {
		options = append(options, packet.WindowScale([...]uint8{0, 1, 7, 14, 15}[g.r.IntN(5)]))
	}
	return options
}

// Shrink returns a conversation that still fails and is as small as possible: no step can be left out and no number be made
// simpler. fails reports whether a conversation fails; it is called some hundred times. c must fail.
func Shrink(c Conversation, fails func(Conversation) bool) Conversation {
	c = c.clone()
	try := func(simpler Conversation) bool {
		if fails(simpler) {
			c = simpler
			return true
		}
		return false
	}
	for again := true; again; {
		again = false
		for size := len(c.Steps) / 2; size > 0; size /= 2 { // without some steps in a row
			for i := 0; i+size <= len(c.Steps); {
				fewer := c.clone()
				fewer.Steps = slices.Delete(fewer.Steps, i, i+size)
				if len(fewer.Steps) == 0 || !try(fewer) {
					i++
				} else {
					again = true
				}
			}
		}
		if c.Answers {
			simpler := c.clone()
			simpler.Answers = false
			again = try(simpler) || again
		}
		for i := range c.Steps {
			for _, simplify := range simplifications {
				simpler := c.clone()
				if simplify(&simpler.Steps[i], simpler.Proto) && try(simpler) {
					again = true
				}
			}
		}
	}
	return c
}

// simplifications change a step to a simpler one; false if it is as simple already. Each ends, so that Shrink ends.
var simplifications = []func(*Step, nf.Proto) bool{
	func(s *Step, _ nf.Proto) bool { done := s.BadSum; s.BadSum = false; return done },
	func(s *Step, _ nf.Proto) bool { done := s.Len > 0; s.Len = 0; return done },
	func(s *Step, _ nf.Proto) bool { done := s.Len > 1; s.Len = min(s.Len, 1); return done },
	func(s *Step, _ nf.Proto) bool { done := s.Options != nil; s.Options = nil; return done },
	func(s *Step, _ nf.Proto) bool {
		done := len(s.Options) > 1
		s.Options = s.Options[:len(s.Options)/2]
		return done
	},
	func(s *Step, _ nf.Proto) bool {
		done := len(s.Options) > 1
		s.Options = s.Options[(len(s.Options)+1)/2:]
		return done
	},
	func(s *Step, p nf.Proto) bool {
		done := p == nf.TCP && s.Pass == 0 && s.Window != 65535
		s.Window = 65535
		return done
	},
	func(s *Step, _ nf.Proto) bool {
		plain := s.Flags &^ (packet.FlagPSH | packet.FlagURG | packet.FlagECE | packet.FlagCWR)
		done := plain != s.Flags
		s.Flags = plain
		return done
	},
	func(s *Step, _ nf.Proto) bool { done := s.Seq != 0; s.Seq = 0; return done },
	func(s *Step, _ nf.Proto) bool { done := s.Seq > 1; s.Seq /= 2; return done },
	func(s *Step, _ nf.Proto) bool { done := s.Ack != 0; s.Ack = 0; return done },
	func(s *Step, _ nf.Proto) bool { done := s.Ack > 1; s.Ack /= 2; return done },
}
