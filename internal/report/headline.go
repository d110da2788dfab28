package report

import (
	"fmt"
	"slices"
	"strings"
)

// headline is the first text about the packets: the losses, those first that the experiment was not set up for, or if there
// are none, what else matters.
type headline struct {
	Losses []lossLine // the largest first
	More   int        // number of further losses
	Title  string     // if there are no losses
	Text   string
}

// lossLine is a loss as a sentence, with its numbers separate.
type lossLine struct {
	Loss
	Family string // "IPv6"; empty if all packets are of one family
	What   string // "lost in conntrack, prerouting"
	Where  string // "Met conntrack/prerouting, and not mangle/prerouting."
	Share  string // percentage that was lost
	Rest   string
}

// maxHeadlines is the largest number of losses in the headline.
const maxHeadlines = 3

func (d Data) headline() headline {
	losses := slices.Clone(d.Path.Losses)
	slices.SortStableFunc(losses, func(a, b Loss) int {
		if a.Unconfirmed != b.Unconfirmed {
			if a.Unconfirmed {
				return 1
			}
			return -1
		}
		if (a.SetUp == "") != (b.SetUp == "") {
			if a.SetUp == "" {
				return -1
			}
			return 1
		}
		return int(min(b.Lost, 1<<31)) - int(min(a.Lost, 1<<31))
	})
	var h headline
	for i, l := range losses {
		if i == maxHeadlines {
			h.More = len(losses) - i
			break
		}
		h.Losses = append(h.Losses, d.lossLine(l))
	}
	if len(losses) > 0 {
		return h
	}
	busy, _ := d.Path.lanes()
	switch why := d.missing(PartPath); {
	case why != "":
		h.Title, h.Text = "Where the packets went is not known", why
	case len(d.Path.Points) == 0:
		h.Title, h.Text = "Where the packets went was not counted", "The experiment had no probes on the path."
	case len(busy) == 0:
		h.Title, h.Text = "No packet met a probe", fmt.Sprintf("%s sent.", was(d.Sent))
	default:
		h.Title, h.Text = "No packet was lost on the path", fmt.Sprintf("%s sent.", was(d.Sent))
		if slices.ContainsFunc(d.Rules, isBesideThePath) {
			h.Title += ", which does not have the rules of netdev and bridge"
		}
	}
	return h
}

// isBesideThePath reports whether a rule may drop packets where no probe of the path counts them: as frames leave, or in a bridge.
func isBesideThePath(r Rule) bool {
	return (r.Family == "netdev" || r.Family == "bridge") && r.Kind != "counter"
}

func (d Data) lossLine(l Loss) lossLine {
	from, to := l.place()
	s := lossLine{Loss: l, Where: fmt.Sprintf("Met %s, and not %s.", from, to)}
	if d.Path.families() > 1 && l.Family != "" {
		s.Family = familyName(l.Family)
	}
	inside := len(l.From) == 1 && len(l.To) == 1 && d.Path.hookOf(l.To[0]) == l.Hook
	switch {
	case l.Hook == ingress:
		s.What = l.verb() + " before the hooks"
	case l.Unconfirmed:
		s.What = "without an entry, " + l.Hook
	case inside:
		s.What = fmt.Sprintf("%s in %s, %s", l.verb(), stage(l.From[0]), l.Hook)
	default:
		hooks := []string{l.Hook}
		for _, from := range l.From {
			if h := d.Path.hookOf(from); h != "" && !slices.Contains(hooks, h) {
				hooks = append(hooks, h)
			}
		}
		s.What = l.verb() + " after " + strings.Join(hooks, " and ")
	}
	lost := 100.0
	if l.Of > 0 {
		lost = 100 * min(1, float64(l.Lost)/float64(l.Of))
	}
	s.Share, s.Rest = fmt.Sprintf("%.2f", lost), fmt.Sprintf("%.2f", 100-lost)
	return s
}

// FirstLine returns the headline in one line, for the log: "3 of 10 packets lost in conntrack, prerouting: conntrack table
// full (drop +3)", or "no packet was lost on the path".
func (d Data) FirstLine() string {
	h := d.normalize().headline()
	if len(h.Losses) == 0 {
		return strings.ToLower(h.Title[:1]) + h.Title[1:]
	}
	l := h.Losses[0]
	packets := "packets"
	if l.Family != "" {
		packets = l.Family + " packets"
	}
	line := fmt.Sprintf("%d of %d %s %s", l.Lost, l.Of, packets, l.What)
	if l.Why != "" {
		line += ": " + l.Why
	}
	if more := len(d.Path.Losses) - 1; more > 0 {
		line += fmt.Sprintf(" (and %d more losses)", more)
	}
	return line
}
