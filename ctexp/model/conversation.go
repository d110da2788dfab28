package model

import (
	"fmt"
	"go/format"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Conversation is what two ends send to each other through the host under test, and the time that passes in between. It
// has neither addresses nor ports: those are given to it when it is held. The zero Conversation has no steps.
type Conversation struct {
	Proto nf.Proto // nf.TCP, nf.UDP or nf.ICMP
	// Answers makes the end that opens the conversation do as if it answered: it sends from the port of its service to one that
	// the other end might have opened. False: it sends from a port of its own to the service of the other end.
	Answers bool
	Steps   []Step // in the order of time
}

// Step is one packet, or time that passes.
type Step struct {
	// Pass is the time that passes, in whole seconds, instead of a packet; zero: a packet is sent.
	Pass time.Duration
	// From is the end that sends the packet; zero: A.
	From End
	// Len is the number of bytes of payload, at most 1400.
	Len int
	// BadSum makes the checksum of the transport header wrong.
	BadSum bool

	// Flags are those of a TCP segment.
	Flags packet.TCPFlags
	// Seq and Ack are the numbers of a TCP segment, as in the header.
	Seq, Ack uint32
	// Window is that of a TCP segment, as in the header, not scaled; zero: a closed one.
	Window uint16
	// Options are those of a TCP segment.
	Options []packet.TCPOption

	// Reply makes an ICMP message an echo reply; false: an echo request.
	Reply bool
}

// End is one of the two ends of a Conversation.
type End uint8

// The ends.
const (
	A End = iota
	B
)

// String returns "A" or "B".
func (e End) String() string { return [...]string{"A", "B"}[e&1] }

// Other returns the other end.
func (e End) Other() End { return 1 - e }

// Opener returns the end that sends the first packet.
func (c Conversation) Opener() End {
	for _, s := range c.Steps {
		if s.Pass == 0 {
			return s.From
		}
	}
	return A
}

// passes returns the times that pass.
func (c Conversation) passes() (all []time.Duration) {
	for _, s := range c.Steps {
		if s.Pass > 0 {
			all = append(all, s.Pass)
		}
	}
	return all
}

// clone returns a copy that shares no memory with c.
func (c Conversation) clone() Conversation {
	c.Steps = slices.Clone(c.Steps)
	for i, s := range c.Steps {
		c.Steps[i].Options = slices.Clone(s.Options)
	}
	return c
}

// String returns the steps, one per line and numbered from 1.
func (c Conversation) String() string {
	var b strings.Builder
	b.WriteString(c.remark())
	for i, s := range c.Steps {
		fmt.Fprintf(&b, "%2d %s\n", i+1, s.describe(c.Proto))
	}
	return b.String()
}

// remark says which ports are used, unless they are the usual ones.
func (c Conversation) remark() string {
	if !c.Answers || c.Proto == nf.ICMP {
		return ""
	}
	return fmt.Sprintf("   %v sends from the port of its service\n", c.Opener())
}

// describe returns the step on one line: "A > [S.] seq 1 ack 2 win 65535", "120s pass".
func (s Step) describe(p nf.Proto) string {
	if s.Pass > 0 {
		return fmt.Sprintf("%v pass", s.Pass)
	}
	words := []string{map[End]string{A: "A >", B: "B <"}[s.From&1]}
	switch p {
	case nf.TCP:
		words = append(words, fmt.Sprintf("[%v] seq %d ack %d win %d", s.Flags, s.Seq, s.Ack, s.Window))
		if len(s.Options) > 0 {
			words = append(words, fmt.Sprint(s.Options))
		}
	case nf.ICMP:
		words = append(words, map[bool]string{false: "echo request", true: "echo reply"}[s.Reply])
	default:
		words = append(words, p.String())
	}
	if s.Len > 0 {
		words = append(words, fmt.Sprintf("%d bytes", s.Len))
	}
	if s.BadSum {
		words = append(words, "bad checksum")
	}
	return strings.Join(words, " ")
}

// GoString returns the Conversation as Go source.
func (c Conversation) GoString() string {
	var b strings.Builder
	answers := ""
	if c.Answers {
		answers = " Answers: true,"
	}
	protos := map[nf.Proto]string{nf.TCP: "nf.TCP", nf.UDP: "nf.UDP", nf.ICMP: "nf.ICMP"}
	fmt.Fprintf(&b, "model.Conversation{Proto: %s,%s Steps: []model.Step{\n", protos[c.Proto], answers)
	for _, s := range c.Steps {
		fmt.Fprintf(&b, "\t{%s},\n", s.fields())
	}
	b.WriteString("}}")
	return b.String()
}

// fields returns the fields that are not zero as Go source.
func (s Step) fields() string {
	var f []string
	add := func(on bool, format string, args ...any) {
		if on {
			f = append(f, fmt.Sprintf(format, args...))
		}
	}
	add(s.Pass > 0, "Pass: %d * time.Second", int(s.Pass/time.Second))
	add(s.From == B, "From: model.B")
	add(s.Flags != 0, "Flags: %s", goFlags(s.Flags))
	add(s.Seq != 0, "Seq: %d", s.Seq)
	add(s.Ack != 0, "Ack: %d", s.Ack)
	add(s.Window != 0, "Window: %d", s.Window)
	add(len(s.Options) > 0, "Options: []packet.TCPOption{%s}", strings.Join(goOptions(s.Options), ", "))
	add(s.Len != 0, "Len: %d", s.Len)
	add(s.Reply, "Reply: true")
	add(s.BadSum, "BadSum: true")
	return strings.Join(f, ", ")
}

var flagNames = [...]string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"}

func goFlags(flags packet.TCPFlags) string {
	var names []string
	for i, name := range flagNames {
		if flags&(1<<i) != 0 {
			names = append(names, "packet.Flag"+name)
		}
	}
	return strings.Join(names, " | ")
}

func goOptions(options []packet.TCPOption) (text []string) {
	for _, o := range options {
		switch {
		case o.Kind == packet.OptionWindowScale && len(o.Data) == 1:
			text = append(text, fmt.Sprintf("packet.WindowScale(%d)", o.Data[0]))
		case o.Kind == packet.OptionSACKPermitted && len(o.Data) == 0:
			text = append(text, "packet.SACKPermitted()")
		default:
			text = append(text, fmt.Sprintf("{Kind: %d, Data: %#v}", o.Kind, o.Data))
		}
	}
	return text
}

// Test returns the source of a Go test file, of a package pkg and with a test of that name, that checks the Conversation
// against the Kernel k as Agree does. The package needs a TestMain that calls ctexp.Main.
func (c Conversation) Test(pkg, name string, k Kernel) string {
	imports := []string{`"testing"`, "", `"github.com/ctexp/go-ctexp/ctexp/model"`, `"github.com/ctexp/go-ctexp/ctexp/nf"`}
	if len(c.passes()) > 0 {
		imports = slices.Insert(imports, 1, `"time"`)
	}
	if c.Proto == nf.TCP {
		imports = append(imports, `"github.com/ctexp/go-ctexp/ctexp/packet"`)
	}
	source, err := format.Source(fmt.Appendf(nil, "package %s\n\nimport (\n%s\n)\n\nfunc %s(t *testing.T) {\n\tmodel.Agree(t, %#v, %#v)\n}\n",
		pkg, strings.Join(imports, "\n"), name, k, c))
	if err != nil {
		panic(fmt.Sprintf("model: the test of a conversation is no Go: %v", err))
	}
	return string(source)
}

const maxLen = 1400 // with all options it fits into an MTU of 1500

// payload is what packets carry; it is never modified.
var payload [maxLen]byte

// packet returns the packet of a step of a conversation. id is its IP identification, by which it is found again.
func (s Step) packet(p nf.Proto, src, dst netip.AddrPort, id uint16) packet.Packet {
	f, data := packet.Flow{Src: src, Dst: dst}, payload[:s.Len]
	var sent packet.Packet
	var sum int // where the checksum is in the transport header
	changes := []packet.Change{packet.ID(uint32(id))}
	switch p {
	case nf.TCP:
		sent, sum = f.TCP(packet.TCP{Flags: s.Flags, Seq: s.Seq, Ack: s.Ack, Window: s.Window, Options: s.Options, Payload: data}), 16
		if s.Window == 0 {
			changes = append(changes, packet.Window(0))
		}
	case nf.UDP:
		sent, sum = f.UDP(data), 6
	case nf.ICMP:
		echo, port := packet.Echo, src.Port()
		if s.Reply {
			echo, port = packet.EchoReply, dst.Port()
		}
		sent, sum = echo(src.Addr(), dst.Addr(), port, 1, data), 2
	default:
		panic(fmt.Sprintf("model: a conversation of protocol %v: want TCP, UDP or ICMP", p))
	}
	sent = sent.With(changes...)
	if s.BadSum {
		at := ipv4Header + sum
		sent[at] ^= 0xff
		if sent[at] == 0 && sent[at+1] == 0 { // in UDP that means none
			sent[at] = 1
		}
	}
	return sent
}

// ipv4Header is the length of an IPv4 header without options.
const ipv4Header = 20
