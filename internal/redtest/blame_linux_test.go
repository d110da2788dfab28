package redtest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Whatever is lost on one path by several causes at once, a cause that is said for certain explains at most as many packets as it
// took, every packet that was lost is in a loss, every cause is named, and no fate leaves out what happened.
func TestBlameIsNeverFalse(t *testing.T) {
	forDraws(t, func(t *testing.T, d *draw) {
		x := d.router(t, d.trace)

		x.Inject(packet.Packets(d.packets...))

		path := x.Path()
		for _, wrong := range append(d.misjudged(path), d.misfated(x.Fates())...) {
			t.Errorf("%s\n%v\n%v", wrong, path, d)
		}
	})
}

// misjudged says what is wrong about a path.
func (d *draw) misjudged(path observe.Path) (wrong []string) {
	var lost uint64
	named := map[string]bool{}
	for _, l := range path.Losses() {
		if l.Unconfirmed {
			continue
		}
		lost += l.Lost
		for _, c := range l.Causes {
			most := 0
			for _, h := range d.hazards {
				if h.is(c) {
					named[h.name] = true
					most += d.took[h.name]
				}
			}
			if n := int(min(c.Packets, l.Lost)); c.Certain && n > most {
				wrong = append(wrong, fmt.Sprintf("%s: %v: %d for certain, in fact %d", l.Between(), c, n, most))
			}
		}
	}
	for name, n := range d.took {
		if n > 0 && !named[name] {
			wrong = append(wrong, name+" is not named")
		}
	}
	if lost != uint64(len(d.lost)) {
		wrong = append(wrong, fmt.Sprintf("%d are lost, in fact %d", lost, len(d.lost)))
	}
	return wrong
}

// is reports whether a cause is that of the hazard.
func (h hazard) is(c observe.Cause) bool {
	if h.isRule() {
		return c.Kind == observe.CauseRule && strings.Contains(c.Rule.Text, h.rule)
	}
	return c.Kind == h.kind
}

// isRule reports whether a rule takes the packets.
func (h hazard) isRule() bool { return h.kind == "" }

// misfated says what is wrong about the fates of packets.
func (d *draw) misfated(fates []ctexp.Fate) (wrong []string) {
	for _, f := range fates {
		if f.Frame.Dir != packet.In {
			continue
		}
		h, isLost := d.lost[string(f.Frame.Packet)]
		switch {
		case f.Held, f.Lost && !isLost:
			wrong = append(wrong, fmt.Sprintf("%v: %v, in fact it went on", f.Frame, f))
		case f.Lost && len(f.Causes) > 0 && !slices.ContainsFunc(f.Causes, h.is):
			wrong = append(wrong, fmt.Sprintf("%v: %v, in fact it was %s", f.Frame, f, h.name))
		}
	}
	return wrong
}

// The verdict about a packet is that of the way in which it is lost, whatever else could have taken it.
func TestVerdictsAreTrue(t *testing.T) {
	forDraws(t, func(t *testing.T, d *draw) {
		x := d.router(t, d.trace)
		trials := make([]ctexp.Trial, len(d.packets))
		for i, p := range d.packets {
			trials[i] = ctexp.Trial{Link: "tun0", Packet: p}
		}
		try, name := x.Lab.Try, "Try"
		if d.dice.IntN(2) == 0 {
			try, name = x.Lab.TryQuickly, "TryQuickly"
		}

		outcomes, err := try(t.Context(), trials...)
		if err != nil {
			t.Fatal(err)
		}

		for i, o := range outcomes {
			h, isLost := d.lost[string(d.packets[i])]
			want := ctexp.VerdictAccept
			if isLost {
				want = h.judged()
			}
			if got := o.Verdict(); got != want {
				t.Errorf("%s: %v (%s): %v, want %v\n%v\n%v", name, d.packets[i], h.name, got, want, o, d)
			}
		}
	})
}

// judged is the verdict about the packets which the hazard takes.
func (h hazard) judged() ctexp.Verdict {
	switch {
	case h.verdict != ctexp.VerdictAccept:
		return h.verdict
	case h.isRule():
		return ctexp.VerdictDrop
	}
	return ctexp.VerdictLost
}

// The class of a packet is what conntrack called it, also if it was lost later; a packet that was lost before conntrack has none.
func TestClassesAreTrue(t *testing.T) {
	forDraws(t, func(t *testing.T, d *draw) {
		x := d.router(t, func(cfg *netnsenv.Config) { cfg.Classes = true })

		got := x.Classes(packet.Packets(d.packets...))

		for i, p := range d.packets {
			if want := d.class[string(p)]; !strings.HasPrefix(got[i], want) {
				t.Errorf("%v (%s): %q, want %q\n%v", p, d.lost[string(p)].name, got[i], want, d)
			}
		}
	})
}
