package report

import (
	"fmt"
	"slices"
	"strings"
)

// headline is the first thing one sees: what was lost, and if nothing was, what else is the matter.
type headline struct {
	Losses []lossLine // the worst first
	More   int        // losses beyond those
	Title  string     // instead of losses
	Text   string
}

// lossLine is a loss as a sentence, with its numbers apart.
type lossLine struct {
	Loss
	Family string // "IPv6", or empty if there is but one family
	What   string // "lost in conntrack, prerouting"
	Where  string // "met conntrack/prerouting, and not mangle/prerouting"
	Share  string // of 100: what was lost
	Rest   string
}

// mostHeadlines is how many losses are said at the top.
const mostHeadlines = 3

func (d Data) headline() headline {
	losses := slices.Clone(d.Path.Losses)
	slices.SortStableFunc(losses, func(a, b Loss) int {
		if a.Unconfirmed != b.Unconfirmed {
			if a.Unconfirmed {
				return 1
			}
			return -1
		}
		return int(min(b.Lost, 1<<31)) - int(min(a.Lost, 1<<31))
	})
	var h headline
	for i, l := range losses {
		if i == mostHeadlines {
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
	}
	if d.Failed && d.Diff != "" {
		h.Text = sentence(h.Text) + " The test wants something else: see the difference."
	}
	return h
}

// sentence ends a text as a sentence ends.
func sentence(s string) string {
	if strings.HasSuffix(s, ".") || s == "" {
		return s
	}
	return s + "."
}

func was(n uint64) string {
	if n == 1 {
		return "1 packet was"
	}
	return packets(n) + " were"
}

func (d Data) lossLine(l Loss) lossLine {
	from, to := l.place()
	s := lossLine{Loss: l, Where: fmt.Sprintf("Met %s, and not %s.", from, to)}
	if d.Path.families() > 1 {
		s.Family = familyName(l.Family)
	}
	inside := len(l.From) == 1 && len(l.To) == 1 && d.Path.hookOf(l.To[0]) == l.Hook
	switch {
	case l.Hook == ingress:
		s.What = "lost before the hooks"
	case l.Unconfirmed:
		s.What = "without an entry, " + l.Hook
	case inside:
		s.What = fmt.Sprintf("lost in %s, %s", stage(l.From[0]), l.Hook)
	default:
		hooks := []string{l.Hook}
		for _, from := range l.From {
			if h := d.Path.hookOf(from); h != "" && !slices.Contains(hooks, h) {
				hooks = append(hooks, h)
			}
		}
		s.What = "lost behind " + strings.Join(hooks, " and ")
	}
	lost := 100.0
	if l.Of > 0 {
		lost = 100 * min(1, float64(l.Lost)/float64(l.Of))
	}
	s.Share, s.Rest = fmt.Sprintf("%.2f", lost), fmt.Sprintf("%.2f", 100-lost)
	return s
}

// hookOf returns the hook of a point.
func (p Path) hookOf(point string) string {
	for _, at := range p.Points {
		if at.Name == point {
			return at.Hook
		}
	}
	return ""
}

// families counts the families of which packets were seen.
func (p Path) families() int {
	seen := map[string]bool{}
	busy, _ := p.lanes()
	for _, l := range busy {
		seen[l.family] = true
	}
	return len(seen)
}

func familyName(f string) string {
	switch f {
	case "ipv4":
		return "IPv4"
	case "ipv6":
		return "IPv6"
	}
	return f
}
