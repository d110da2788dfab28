package model_test

import (
	"errors"
	"flag"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/model"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/golden"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
)

var (
	conversations = flag.Int("conversations", 400, "how many random conversations TestKernelDoesWhatTheModelSays holds with each setting")
	seed          = flag.Uint64("seed", 0, "their seed; zero: a new one")
)

// settings are those that the model knows.
var settings = map[string]model.Kernel{
	"default": {}, "strict": {Strict: true}, "liberal": {Liberal: true}, "ignore invalid RST": {IgnoreInvalidRST: true},
}

func TestKernelDoesWhatTheModelSays(t *testing.T) {
	t.Parallel()
	for name, k := range settings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab, k := router(t, k)
			began := time.Now()
			found, err := model.Config{Ends: model.RouterEnds(), N: *conversations, Seed: *seed}.Find(t.Context(), lab, both(k.Check, model.Sound))
			switch {
			case err != nil:
				t.Fatal(err)
			case found != nil:
				t.Fatalf("%v\n\nas a test:\n\n%s", found, found.Test("model_test", "TestFound", k))
			}
			t.Logf("%d conversations in %v", *conversations, time.Since(began))
		})
	}
}

// router opens a router with the settings of a model, and returns the model of this kernel's version.
func router(t testing.TB, k model.Kernel) (*ctexp.Lab, model.Kernel) {
	t.Helper()
	needs.Check(t, kernel.BesideWindowPasses.Lack())
	lab := ctexp.New(t, k.Router()).Lab
	here, err := model.KernelOf(t.Context(), lab)
	if err != nil {
		t.Fatal(err)
	}
	k.LongReset, k.OwnSYNReset = here.LongReset, here.OwnSYNReset
	if here != k {
		t.Fatalf("a router of %#v is %#v", k, here)
	}
	return lab, k
}

// both is the property that two properties hold.
func both(a, b func(model.History) error) func(model.History) error {
	return func(h model.History) error { return errors.Join(a(h), b(h)) }
}

// A model with a wrong setting is found out, by a conversation of a few steps.
func TestWrongModelIsFoundOut(t *testing.T) {
	t.Parallel()
	lab, k := router(t, model.Kernel{})
	for name, c := range map[string]struct {
		wrong model.Kernel
		steps int // that are enough
	}{
		"strict":             {model.Kernel{Strict: true}, 1},
		"liberal":            {model.Kernel{Liberal: true}, 3},
		"ignore invalid RST": {model.Kernel{IgnoreInvalidRST: true}, 4},
	} {
		c.wrong.LongReset, c.wrong.OwnSYNReset = k.LongReset, k.OwnSYNReset
		found, err := model.Config{Ends: model.RouterEnds(), N: 20_000, Seed: 1}.Find(t.Context(), lab, c.wrong.Check)
		if err != nil {
			t.Fatal(err)
		}
		if found == nil || len(found.Steps) > c.steps {
			t.Errorf("%s: found %v, want a conversation of at most %d steps", name, found, c.steps)
		}
	}
}

// A UDP flow that is answered becomes assured when it is two seconds old, which Age cannot bring about. The conversation
// goes on until it is.
func TestAnsweredUDPFlowIsAssuredAfterTwoSeconds(t *testing.T) {
	t.Parallel()
	lab, k := router(t, model.Kernel{})
	assured := false
	for n := 64; !assured; n *= 2 {
		c := model.Conversation{Proto: nf.UDP, Steps: make([]model.Step, n)}
		c.Steps[1].From = model.B
		found, err := model.Config{Ends: model.RouterEnds(), Only: []model.Conversation{c}}.Find(t.Context(), lab, func(h model.History) error {
			last := h.Happened[n-1].Entries
			assured = len(last) == 1 && last[0].Status.Has(nf.Assured) && last[0].Timeout > 100*time.Second
			return k.Check(h)
		})
		if found != nil || err != nil {
			t.Fatal(found, err)
		}
	}
}

// A reproducer is Go: reproducer_linux_test.go is what Test prints.
func TestReproducerIsAGoTest(t *testing.T) {
	t.Parallel()
	const file = "reproducer_linux_test.go"
	c := model.Conversation{Proto: nf.TCP, Steps: []model.Step{
		{Flags: packet.FlagSYN, Seq: 1, Window: 1000, Options: []packet.TCPOption{packet.MSS(1460), packet.SACKPermitted(), packet.WindowScale(7)}},
		{From: model.B, Flags: packet.FlagSYN | packet.FlagACK, Seq: 1, Ack: 2, Window: 65535, Options: []packet.TCPOption{packet.WindowScale(2)}},
		{Flags: packet.FlagACK, Seq: 2, Ack: 2, Window: 65535},
		{From: model.B, Flags: packet.FlagACK | packet.FlagPSH, Seq: 2, Ack: 2, Len: 100, BadSum: true},
		{Pass: 432001 * time.Second},
		{Flags: packet.FlagACK, Seq: 2, Ack: 102, Window: 65535, Options: []packet.TCPOption{packet.SACK([2]uint32{200, 300})}},
	}}
	got := c.Test("model_test", "TestReproducer", model.Kernel{Liberal: true})
	golden.CheckFile(t, file, got)
}

// FuzzKernel has the fuzzer look for a conversation in which kernel and model disagree.
func FuzzKernel(f *testing.F) {
	lab, k := router(f, model.Kernel{})
	for i := range 16 {
		data := make([]byte, 64)
		for j := range data {
			data[j] = byte(i*j*31 + j*j)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		model.ForAll(t, lab, model.Config{Ends: model.RouterEnds(), Only: model.Generate(model.Bytes(data), 1)}, k.Check)
	})
}

// inside and outside are the sides of a firewall.
var (
	inside  = model.Place{Link: "tun0", Addr: netip.MustParseAddrPort("10.0.0.2:22")}
	outside = model.Place{Link: "tun1", Addr: netip.MustParseAddrPort("192.0.2.2:53")}
)

// firewall is a router between inside and outside with a policy in the language of nft.
func firewall(policy string) netnsenv.Config {
	return netnsenv.Config{
		Links: []netnsenv.LinkConfig{
			{Name: "tun0", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}},
			{Name: "tun1", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
		Rules:   []netnsenv.Ruleset{netnsenv.NFT(policy), model.Classes()},
	}
}

// unasked returns an error if something from outside has reached the inside before the inside has sent anything out.
func unasked(h model.History) error {
	for _, got := range h.Happened {
		switch {
		case got.Delivered == nil:
		case h.Ends[model.A].Addr.Addr() == got.Sent.Tuple().Src.Addr(): // asked
			return nil
		default:
			return errors.New("it has reached the inside unasked")
		}
	}
	return nil
}

const (
	stateful = `table ip f { chain c { type filter hook forward priority 0; policy drop;
		ct state established,related accept
		iifname "tun0" ct state new accept
		}
	}`
	// stateless lets in whatever pretends to be an answer.
	stateless = `table ip f { chain c { type filter hook forward priority 0; policy drop;
		iifname "tun0" accept
		tcp flags & (syn | ack) == ack accept
		udp sport 53 accept
		}
	}`
)

func TestNothingFromOutsideGetsInUnlessAsked(t *testing.T) {
	t.Parallel()
	lab := ctexp.New(t, firewall(stateful)).Lab
	model.ForAll(t, lab, model.Config{Ends: [2]model.Place{inside, outside}}, both(unasked, model.Sound))
}

func TestHoleOfAStatelessFirewallIsFound(t *testing.T) {
	t.Parallel()
	lab := ctexp.New(t, firewall(stateless)).Lab
	for _, proto := range []nf.Proto{nf.TCP, nf.UDP} {
		cfg := model.Config{Ends: [2]model.Place{inside, outside}, Protos: []nf.Proto{proto}}
		found, err := cfg.Find(t.Context(), lab, unasked)
		if err != nil {
			t.Fatal(err)
		}
		if found == nil || len(found.Steps) != 1 || found.Steps[0].From != model.B || found.Answers != (proto == nf.UDP) {
			t.Errorf("%v: found %v, want one packet of B, of UDP from the port of its service", proto, found)
		}
	}
}

// Answers go to the address that the asked end has seen, so that they are translated back.
func TestConversationsGoThroughNAT(t *testing.T) {
	t.Parallel()
	lab := ctexp.New(t, firewall(`table ip n { chain c { type nat hook postrouting priority srcnat; oifname "tun1" masquerade; }
}`)).Lab
	answers := 0
	model.ForAll(t, lab, model.Config{Ends: [2]model.Place{inside, outside}}, func(h model.History) error {
		translated := false
		for _, got := range h.Happened {
			if got.Delivered == nil {
				continue
			}
			fromInside := got.Sent.Tuple().Src.Addr() == inside.Addr.Addr()
			if fromInside && got.Class == nf.StateNew && got.Delivered.Tuple().Src.Addr() != netip.MustParseAddr("192.0.2.1") {
				return errors.New("it is not masqueraded")
			}
			translated = translated || fromInside && got.Class == nf.StateNew
			if translated && !fromInside && got.Class == nf.StateEstablished {
				answers++
				if dst := got.Delivered.Tuple().Dst.Addr(); dst != inside.Addr.Addr() {
					return errors.New("an answer is not translated back")
				}
			}
		}
		return model.Sound(h)
	})
	if answers == 0 {
		t.Error("no answer of 300 conversations came through")
	}
}

// An entry is confirmed behind the input chain, so that what is dropped there leaves none.
func TestInputDropLeavesNoEntry(t *testing.T) {
	t.Parallel()
	host := model.Place{Addr: netip.MustParseAddrPort("10.0.0.1:22")}
	lab := ctexp.New(t, firewall(`table ip f { chain c { type filter hook input priority 0; policy drop; }
}`)).Lab
	sent := 0
	model.ForAll(t, lab, model.Config{Ends: [2]model.Place{inside, host}}, func(h model.History) error {
		for _, got := range h.Happened {
			if got.Sent != nil {
				sent++
			}
			if len(got.Entries) > 0 {
				return errors.New("there is an entry")
			}
		}
		return nil
	})
	if sent == 0 {
		t.Error("nothing was sent")
	}
}

// What a policy drops at three places is lost there, and each loss has one cause, which is certain.
func TestEveryLostPacketHasOneCause(t *testing.T) {
	t.Parallel()
	lab := ctexp.New(t, firewall(`table ip f {
		chain raw { type filter hook prerouting priority raw; udp length > 30 counter drop; }
		chain c { type filter hook forward priority 0; ct state invalid counter drop; }
		chain post { type filter hook postrouting priority 0; meta l4proto icmp ct direction reply counter drop; }
	}`)).Lab
	lost := uint64(0)
	model.ForAll(t, lab, model.Config{Ends: [2]model.Place{inside, outside}}, func(h model.History) error {
		for _, got := range h.Happened {
			if got.Sent != nil && got.Delivered == nil {
				lost++
			}
		}
		return model.Sound(h)
	})
	path, err := lab.Observer.Path(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var where []string
	for _, l := range path.Losses() {
		where = append(where, l.Hook.String())
		if len(l.Causes) != 1 || !l.Causes[0].Certain || l.Causes[0].Packets != l.Lost {
			t.Errorf("want one cause, of all packets: %v", l)
		}
		lost -= l.Lost
	}
	if lost != 0 || strings.Join(where, " ") != "prerouting forward postrouting" {
		t.Errorf("losses %v, and %d lost packets too few; the path:\n%v", where, lost, path)
	}
}
