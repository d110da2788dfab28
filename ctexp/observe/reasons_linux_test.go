package observe_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func (l lab) reasons() []observe.Reason {
	l.Helper()
	var reasons []observe.Reason
	for r, err := range l.o.Reasons(l.Context()) {
		if err != nil {
			needs.Check(l, err)
		}
		reasons = append(reasons, r)
	}
	return reasons
}

func TestReasonsOfBothFamiliesAndOfTheHostItself(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Prefixes: prefixes("192.0.2.1/24", "2001:db8::1/64")}}})
	x.send(web.TCP(packet.TCP{Seq: 1}), web6.TCP(packet.TCP{Seq: 1}))
	var got []string
	for _, r := range x.reasons() {
		tuple := packet.Packet(r.Packet).Tuple()
		got = append(got, fmt.Sprintf("%s %v %v %s", r.Link, tuple.Family(), tuple.Src.Port(), r.Text))
	}
	want := []string{ // the host answers with a RST, the first packet of a flow
		"tun0 ipv4 10000 invalid tcp flag combination", "tun0 ipv4 80 invalid new",
		"tun0 ipv6 10000 invalid tcp flag combination", "tun0 ipv6 80 invalid new",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	of, rest := observe.ReasonsOf(x.captured(), x.reasons())
	beside := 0
	for _, r := range of {
		beside += len(r)
	}
	if beside != len(want) || len(rest) != 0 {
		t.Errorf("%d beside their frames, without one %v", beside, rest)
	}
}

// What is missing is named, and is no failure of anything else.
func TestReasonsThatCannotBeHad(t *testing.T) {
	t.Parallel()
	t.Run("not asked for", func(t *testing.T) {
		t.Parallel()
		x := open(t, netnsenv.Config{NoReasons: true}, func(c *observe.Config) { c.NoFrames = true })
		err := lastError(x.o.Reasons(t.Context()))
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "nf_conntrack_log_invalid is 0") {
			t.Errorf("got %v", err)
		}
		if _, err := x.o.Path(t.Context()); err != nil {
			t.Errorf("path: %v", err)
		}
	})
	t.Run("another logger", func(t *testing.T) {
		t.Parallel()
		x := open(t, netnsenv.Config{Sysctls: map[string]string{"net.netfilter.nf_log.2": "NONE", "net.netfilter.nf_log.10": "NONE"}})
		err := lastError(x.o.Reasons(t.Context()))
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "nf_log.2 is NONE") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("another reader", func(t *testing.T) {
		t.Parallel()
		x := open(t, netnsenv.Config{})
		second, err := observe.Open(t.Context(), x.env, configOf(x.env))
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		err = lastError(second.Reasons(t.Context()))
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "NFLOG group 0") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		x := open(t, netnsenv.Config{})
		if err := x.o.Close(); err != nil {
			t.Fatal(err)
		}
		if err := lastError(x.o.Reasons(t.Context())); !errors.Is(err, os.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// The group is free again as soon as an Observer is closed.
func TestNextObserverReadsReasons(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	for range 5 {
		if err := x.o.Close(); err != nil {
			t.Fatal(err)
		}
		o, err := observe.Open(t.Context(), x.env, configOf(x.env))
		if err != nil {
			t.Fatal(err)
		}
		x.o = o
		x.send(client(fin|syn, 1, 0, 0))
		if got := x.reasons(); len(got) != 1 {
			t.Errorf("got %v", got)
		}
	}
	if err := x.o.Close(); err != nil {
		t.Error(err)
	}
}

// A user's own LOG and NFLOG rules speak to the same group: what they say is no reason.
func TestUsersLogIsNoReason(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(`table ip u {
	chain in { type filter hook input priority 0; log prefix "hello "; log prefix "nf_ct_proto_x: " group 0; }
}`)}})
	x.send(packet.SYN(web), client(fin|syn, 1, 0, 0))
	if got := x.reasons(); len(got) != 1 || got[0].Text != "invalid tcp flag combination" {
		t.Errorf("got %v", got)
	}
}

// A buffer that ran over is an error that tells how many reasons are missing.
func TestLostReasonsAreCounted(t *testing.T) {
	t.Parallel()
	const n = 20_000
	x := open(t, netnsenv.Config{Silent: true}, func(c *observe.Config) { c.NoFrames = true })
	if err := lastError(x.o.Reasons(t.Context())); err != nil {
		needs.Check(t, err)
	}
	observe.ShrinkReasons(x.o)
	release := observe.HoldReasons(x.o)
	if _, err := inject.New(x.env.Links()[0]).Send(t.Context(), packet.Repeat(n, client(fin|syn, 1, 0, 0))); err != nil {
		t.Fatal(err)
	}
	release()
	x.o.Drain() // what there is room for again is heard
	x.send(client(fin|syn, 1, 0, 0))
	got := 0
	var last error
	for _, err := range x.o.Reasons(t.Context()) {
		if last = err; err == nil {
			got++
		}
	}
	want := fmt.Sprintf("%d found the receive buffer full", n+1-got)
	if !errors.Is(last, observe.ErrReasonsLost) || !strings.Contains(last.Error(), want) || got < 2 {
		t.Errorf("got %d, then %v; want %q", got, last, want)
	}
}

// Thousands of INVALID packets, drained as Lab.Inject does it, each have their reason beside them.
func TestReasonsOfAFlood(t *testing.T) {
	t.Parallel()
	const n = 20_000
	x := open(t, netnsenv.Config{Silent: true})
	_, err := inject.New(x.env.Links()[0]).Send(t.Context(), func(yield func(packet.Packet) bool) {
		for i := range n {
			if i%256 == 0 {
				x.o.Drain()
			}
			if !yield(client(fin|syn, uint32(i%100), 0, 0)) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	of, rest := observe.ReasonsOf(x.captured(), x.reasons())
	beside := 0
	for _, r := range of {
		if len(r) == 1 {
			beside++
		}
	}
	if beside != n || len(rest) != 0 {
		t.Errorf("%d of %d frames have their reason, %d reasons have no frame", beside, n, len(rest))
	}
	if s := x.path().Reasons; len(s) != 1 || s[0].Packets != n {
		t.Errorf("the path says %v", s)
	}
}

// What the reasons cost a flood of INVALID packets.
func BenchmarkReasons(b *testing.B) {
	p := client(fin|syn, 1, 0, 0)
	for name, without := range map[string]bool{"with": false, "without": true} {
		b.Run(name, func(b *testing.B) {
			x := open(b, netnsenv.Config{Silent: true, NoReasons: without}, func(c *observe.Config) { c.NoFrames = true })
			for i := 0; b.Loop(); i++ {
				if i%256 == 0 {
					x.o.Drain()
				}
				if _, err := x.env.Links()[0].Write(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
