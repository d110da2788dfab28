package report

import (
	"fmt"
	"slices"
	"strings"
)

// The longest lists that a page shows; what goes beyond is in the files beside it.
const (
	mostFlows    = 100
	mostRules    = 100
	mostTimeline = 200
)

// view is Data as the template wants it.
type view struct {
	Data
	ID          string // what the names of places in the page begin with
	Head        headline
	DiffText    []diffLine
	Drawings    []drawing // the wide one and the narrow one; none without a path
	Quiet       string    // the hooks that no packet met
	Seq         sequence
	Flows       []kept[Flow]
	Rules       []kept[Rule]
	Timeline    []kept[Moment]
	Facts       []Count  // the statistics that are not zero
	Zeros       string   // the names of those that are
	Settings    []Sysctl // those that ctexp has not set
	OwnSettings []Sysctl
	Why         map[string]string
	Other       []Missing
}

func newView(d Data, id string) view {
	v := view{
		Data: d, ID: id, Head: d.headline(), DiffText: diffLines(d.Diff), Seq: d.sequence(),
		Flows:    keep(d.Flows, mostFlows, d.Omitted.Flows, func(Flow) bool { return false }),
		Rules:    keep(d.Rules, mostRules, d.Omitted.Rules, func(r Rule) bool { return r.Packets > 0 }),
		Timeline: keep(d.Timeline, mostTimeline, d.Omitted.Timeline, func(m Moment) bool { return m.Loss }),
		Why:      map[string]string{},
	}
	busy, quiet := d.Path.lanes()
	if len(busy) > 0 || d.Path.Silenced > 0 {
		v.Drawings = []drawing{d.wide(), d.narrow()}
	}
	v.Quiet = hooks(quiet)
	ours := len(d.Sysctls) // they come last
	if i := slices.IndexFunc(d.Sysctls, func(s Sysctl) bool { return rank(s.By) > 0 }); i >= 0 {
		ours = i
	}
	v.Settings, v.OwnSettings = d.Sysctls[:ours], d.Sysctls[ours:]
	var zeros []string
	for _, c := range d.Stats {
		if c.N == 0 {
			zeros = append(zeros, c.Name)
		} else {
			v.Facts = append(v.Facts, c)
		}
	}
	v.Zeros = strings.Join(zeros, ", ")
	for _, m := range d.Missing {
		switch m.Part {
		case PartPath, PartTally, PartFlows, PartRules, PartFrames, PartTimeline, PartStats, PartSysctls:
			v.Why[m.Part] = m.Why
		default:
			v.Other = append(v.Other, m)
		}
	}
	return v
}

// hooks names lanes: "IPv4: forward, output; IPv6: prerouting".
func hooks(lanes []lane) string {
	var families []string
	names := map[string][]string{}
	for _, l := range lanes {
		if names[l.family] == nil {
			families = append(families, l.family)
		}
		names[l.family] = append(names[l.family], l.hook)
	}
	var s []string
	for _, f := range families {
		s = append(s, fmt.Sprintf("%s %s", familyName(f), strings.Join(names[f], ", ")))
	}
	return strings.Join(s, "; ")
}

// Status is the word for what became of the test.
func (v view) Status() string {
	if v.Failed {
		return "failed"
	}
	return "passed"
}

// Setting is the line below the name of the test.
func (v view) Setting() []string {
	var s []string
	if v.Sent > 0 {
		into := ""
		if len(v.Links) == 1 {
			into = " into " + v.Links[0].Name
		}
		s = append(s, packets(v.Sent)+into)
	}
	if v.Room.Limited {
		s = append(s, fmt.Sprintf("room for %s", entries(v.Room.Free)))
	}
	if v.Kernel != "" {
		s = append(s, "Linux "+v.Kernel)
	}
	if v.Took > 0 {
		s = append(s, took(v.Took))
	}
	return s
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return thousands(uint64(max(n, 0))) + " entries"
}

// diffLine is a line of the difference.
type diffLine struct {
	Class string // "del", "add" or empty
	Text  string
}

// diffLines marks what a difference takes away and adds.
func diffLines(diff string) []diffLine {
	if strings.TrimSpace(diff) == "" {
		return nil
	}
	var out []diffLine
	for _, s := range strings.Split(strings.Trim(diff, "\n"), "\n") {
		l := diffLine{Text: s}
		switch {
		case strings.HasPrefix(s, "-"):
			l.Class = "del"
		case strings.HasPrefix(s, "+"):
			l.Class = "add"
		}
		out = append(out, l)
	}
	return out
}

// joinWords puts sep between words.
func joinWords(words []string, sep string) string { return strings.Join(words, sep) }
