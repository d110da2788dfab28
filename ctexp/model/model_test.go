package model_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/model"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func TestSameSeedMakesTheSameConversations(t *testing.T) {
	t.Parallel()
	generate := func(seed uint64) string {
		return fmt.Sprintf("%#v", model.Generate(rand.New(rand.NewPCG(seed, 0)), 50))
	}
	first, again, other := generate(1), generate(1), generate(2)
	if first != again {
		t.Error("one seed makes different ones")
	}
	if first == other {
		t.Error("two seeds make the same")
	}
}

// All conversations of one Generate pass the same times, each of them the first few.
func TestConversationsPassTheSameTimes(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	passed := 0
	for range 20 {
		var longest []time.Duration
		for _, c := range model.Generate(r, 50) {
			var times []time.Duration
			for _, s := range c.Steps {
				if s.Pass > 0 {
					times = append(times, s.Pass)
				}
			}
			passed += len(times)
			n := min(len(longest), len(times))
			if !slices.Equal(times[:n], longest[:n]) {
				t.Fatalf("one passes %v, another %v", times, longest)
			}
			if len(times) > n {
				longest = times
			}
		}
	}
	if passed == 0 {
		t.Error("no time passes")
	}
}

// Every kind of step is made, of every protocol.
func TestConversationsHaveEverything(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range model.Generate(rand.New(rand.NewPCG(3, 3)), 3000) {
		if c.Proto == nf.TCP {
			for _, s := range c.Steps {
				seen[s.Flags.String()] = true
				seen["closed window"] = seen["closed window"] || s.Pass == 0 && s.Window == 0
				for _, o := range s.Options {
					seen[string(rune('0'+o.Kind))] = true
				}
			}
		}
		seen[c.Proto.String()] = true
	}
	for _, want := range []string{"tcp", "udp", "icmp", "S", "S.", ".", "P.", "F.", "R", "R.", "closed window", "2", "3", "4", "5"} {
		if !seen[want] {
			t.Errorf("no %q among 3000 conversations", want)
		}
	}
}

func TestBytesMakeAConversation(t *testing.T) {
	t.Parallel()
	for n := range 300 {
		data := slices.Repeat([]byte{byte(n)}, n)
		if cs := model.Generate(model.Bytes(data), 1); len(cs) != 1 {
			t.Fatalf("%d conversations", len(cs))
		}
	}
}

// The smallest conversation in which B sends a FIN after more than a minute is two steps.
func TestShrinkFindsTheSmallest(t *testing.T) {
	t.Parallel()
	fails := func(c model.Conversation) bool {
		passed := time.Duration(0)
		for _, s := range c.Steps {
			if passed += s.Pass; passed > time.Minute && s.From == model.B && s.Flags.Contains(packet.FlagFIN) && s.Seq > 1000 {
				return true
			}
		}
		return false
	}
	c := model.Conversation{Proto: nf.TCP, Steps: []model.Step{
		{Flags: packet.FlagSYN, Seq: 99, Window: 1},
		{From: model.B, Flags: packet.FlagSYN | packet.FlagACK, Options: []packet.TCPOption{packet.MSS(1)}},
		{Pass: 61 * time.Second},
		{Flags: packet.FlagACK, Len: 100},
		{Pass: time.Second},
		{From: model.B, Flags: packet.FlagFIN | packet.FlagACK | packet.FlagPSH, Seq: 1 << 20, Ack: 7, Len: 9, BadSum: true, Options: []packet.TCPOption{packet.NOP()}},
	}}
	before := c.String()

	got := model.Shrink(c, fails)

	want := model.Conversation{Proto: nf.TCP, Steps: []model.Step{
		{Pass: 61 * time.Second},
		{From: model.B, Flags: packet.FlagFIN | packet.FlagACK, Seq: 1024, Window: 65535},
	}}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.String() != before {
		t.Errorf("Shrink has changed its argument: %v", c)
	}
}
