package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"sync"
)

// Page is a list of claims, each with its verdict and optionally the reports of its experiments.
type Page struct {
	Title string `json:"title"`           // of the page
	Intro string `json:"intro,omitempty"` // a sentence below the title: kernel, backend, sizes
	Said  string `json:"said,omitempty"`  // heading of the column of Row.Said: "article"; empty: "said"
	Rows  []Row  `json:"rows,omitempty"`  // in the order of the page
}

// Row is a claim that an experiment tested.
type Row struct {
	ID      string `json:"id"`      // short name of the claim
	Claim   string `json:"claim"`   // as a sentence
	Verdict string `json:"verdict"` // "confirmed", "changed", "refined", "refuted" or "unsupported"; others are shown in grey
	// Said is what the author of the claim measured, Got what was measured here. Pairs have the same name.
	Said  []Field `json:"said,omitempty"`
	Got   []Field `json:"got,omitempty"`   // see Said
	Quote string  `json:"quote,omitempty"` // the claim in the author's words
	Why   string  `json:"why,omitempty"`   // explanation of the verdict
	Error string  `json:"error,omitempty"` // why there is no result
	// Reports are the reports of the experiments behind the row, folded below it; usually none or one.
	Reports []Data `json:"reports,omitempty"`
	// Runs are experiments of which only the path is drawn, together with the rules on it. They share one fold, which
	// is closed if the claim is confirmed.
	Runs []Data `json:"runs,omitempty"`
}

// Field is a named measurement.
type Field struct {
	Name  string `json:"name"`  // "entries"
	Value string `json:"value"` // as text, with its unit
}

// WriteHTML writes all claims as one self-contained page. It fails only if w does.
func (p Page) WriteHTML(w io.Writer) error {
	p = clean(p)
	v := pageView{Page: p, Shares: p.verdictCounts()}
	for i, r := range p.Rows {
		row := rowView{Row: r, Word: r.shownVerdict(), Anchor: fmt.Sprintf("claim-%d", i+1), Pairs: r.pairs()}
		for k, d := range r.Reports {
			row.Views = append(row.Views, newView(d.normalize(), fmt.Sprintf("%s-%d-", row.Anchor, k+1)))
		}
		for k, d := range r.Runs {
			row.Runs = append(row.Runs, newView(d.normalize(), fmt.Sprintf("%s-run-%d-", row.Anchor, k+1)))
		}
		v.Rows = append(v.Rows, row)
	}
	return write(w, "page", v)
}

// WriteHTML writes the report as one self-contained page. It fails only if w does.
func (d Data) WriteHTML(w io.Writer) error {
	d = clean(d.normalize())
	return write(w, "report", newView(d, ""))
}

// write executes the template before it writes anything.
func write(w io.Writer, name string, v any) error {
	t, err := pages()
	if err != nil {
		panic("report: " + err.Error()) // the templates are embedded
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, name, v); err != nil {
		return fmt.Errorf("draw the report: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

//go:embed templates
var templateFiles embed.FS

// pages returns the templates, which are parsed once.
var pages = sync.OnceValues(func() (*template.Template, error) {
	return template.New("").Funcs(template.FuncMap{
		"thousands": thousands, "signed": signed, "packets": packets, "since": since, "took": took,
		"join": joinWords, "uint": func(n int) uint64 { return uint64(max(n, 0)) }, "class": class, "breaks": breaks, "pieces": pieces, "count": count,
		"total": total, "extras": extras, "frames": func(d Data) uint64 { return uint64(len(d.Frames) + d.Omitted.Frames) },
	}).ParseFS(templateFiles, "templates/*.tmpl")
})

// pageView is a Page for the template.
type pageView struct {
	Page
	Shares []verdictCount
	Rows   []rowView
}

type rowView struct {
	Row
	Word   string // the verdict that is shown
	Anchor string
	Pairs  []pair
	Views  []view
	Runs   []view
}

// Walk returns the title of the fold with the runs of a row: "Where the packets went: 10 came in, 3 lost; 7 of the
// host's own; 7 lost on the way out".
func (r rowView) Walk() string {
	var arrived, lost, own, ownLost uint64
	for _, v := range r.Runs {
		busy, _ := v.Data.Path.lanes()
		for _, l := range busy {
			switch l.hook {
			case "prerouting":
				arrived += l.first()
			case "output":
				own += l.first()
			}
			if l.hook == "output" || l.hook == "postrouting" {
				ownLost += l.lost()
			} else {
				lost += l.lost()
			}
		}
	}
	s := fmt.Sprintf("Where the packets went: %s came in, %s lost", thousands(arrived), thousands(lost))
	if own > 0 {
		s += fmt.Sprintf("; %s of the host's own", thousands(own))
	}
	if ownLost > 0 {
		s += fmt.Sprintf("; %s lost on the way out", thousands(ownLost))
	}
	if n := len(r.Runs); n > 1 {
		s += fmt.Sprintf(" (%d pictures)", n)
	}
	return s
}

// pair is a Field of a Row as said and as measured.
type pair struct {
	Name, Said, Got string
	Differ          bool // both are present and differ
}

// pairs returns what was said beside what was measured, in the order of the latter.
func (r Row) pairs() []pair {
	said := map[string]string{}
	for _, f := range r.Said {
		said[f.Name] = f.Value
	}
	var out []pair
	for _, f := range r.Got {
		s, ok := said[f.Name]
		delete(said, f.Name)
		out = append(out, pair{f.Name, s, f.Value, ok && s != f.Value})
	}
	for _, f := range r.Said {
		if _, ok := said[f.Name]; ok {
			out = append(out, pair{Name: f.Name, Said: f.Value})
		}
	}
	return out
}

// noAnswer is the verdict of a row with an Error.
const noAnswer = "no answer"

// shownVerdict returns the verdict that is shown.
func (r Row) shownVerdict() string {
	if r.Error != "" || r.Verdict == "" {
		return noAnswer
	}
	return r.Verdict
}

// verdictCount is how many rows have a verdict.
type verdictCount struct {
	Verdict string
	N       int
}

// verdictCounts counts the verdicts, the known ones first and in their order.
func (p Page) verdictCounts() []verdictCount {
	count := map[string]int{}
	order := []string{"confirmed", "changed", "refined", "refuted", "unsupported", noAnswer}
	for _, r := range p.Rows {
		if count[r.shownVerdict()]++; count[r.shownVerdict()] == 1 {
			order = append(order, r.shownVerdict())
		}
	}
	var out []verdictCount
	for _, v := range order {
		if n := count[v]; n > 0 {
			out = append(out, verdictCount{v, n})
			delete(count, v)
		}
	}
	return out
}

// view is Data for the template.
type view struct {
	Data
	ID          string // prefix of the anchors in the page
	Head        headline
	Fails       []failure
	Contents    []content
	Drawings    []drawing // the wide and the narrow one; none without a path
	Quiet       string    // hooks that no packet met
	Seq         sequence
	Flows       []item[Flow]
	Rules       []item[Rule]
	Timeline    []item[Moment]
	Facts       []Count  // statistics that are not zero
	Zeros       string   // names of those that are zero
	Settings    []Sysctl // sysctls that ctexp did not set
	OwnSettings []Sysctl
	Why         map[string]string
	Other       []Missing
}

// The maximum lengths of lists on a page. The files beside it have the rest.
const (
	maxFlows    = 100
	maxRules    = 100
	maxTimeline = 200
)

func newView(d Data, id string) view {
	v := view{
		Data: d, ID: id, Head: d.headline(), Seq: d.sequence(),
		Flows:    shorten(d.Flows, maxFlows, d.Omitted.Flows, func(Flow) bool { return false }),
		Rules:    shorten(d.Rules, maxRules, d.Omitted.Rules, func(r Rule) bool { return r.Packets > 0 }),
		Timeline: shorten(d.Timeline, maxTimeline, d.Omitted.Timeline, func(m Moment) bool { return m.Loss }),
		Why:      map[string]string{},
	}
	for _, f := range d.Failures {
		title, rest, _ := strings.Cut(strings.Trim(f.Text, "\n"), "\n")
		v.Fails = append(v.Fails, failure{f.Place, title, diffLines(rest)})
	}
	v.Contents = v.contents()
	busy, idle := d.Path.lanes()
	if len(busy) > 0 || d.Path.Silenced > 0 {
		v.Drawings = []drawing{d.wide(), d.narrow()}
	}
	v.Quiet = hooks(idle)
	ours := len(d.Sysctls) // those of ctexp come last
	if i := slices.IndexFunc(d.Sysctls, func(s Sysctl) bool { return setterRank(s.By) > 0 }); i >= 0 {
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

// failure is a Failure for the template.
type failure struct {
	Place, Title string // Title is the first line
	Rest         []diffLine
}

// HasDiff reports whether the message has lines of what was wanted or got.
func (f failure) HasDiff() bool {
	return slices.ContainsFunc(f.Rest, func(l diffLine) bool { return l.Class != "" })
}

// content is a line of the table of contents.
type content struct {
	ID, Title string
	N         int // items; zero is not shown
}

// contents returns the sections of the page, below the failures.
func (v view) contents() []content {
	return []content{
		{"path", "Where the packets went", 0}, {"conversation", "Conversation", len(v.Data.Frames) + v.Omitted.Frames}, {"tally", "Tally", 0},
		{"stats", "Kernel statistics", 0}, {"sysctls", "Sysctls", 0}, {"flows", "Flows", len(v.Data.Flows) + v.Omitted.Flows},
		{"rules", "Rules", len(v.Data.Rules) + v.Omitted.Rules}, {"timeline", "Timeline", 0}, {"setting", "Setting and files", 0},
	}
}

// Beside returns the names of the files beside the page.
func (v view) Beside() []string {
	return slices.DeleteFunc(slices.Clone(v.Artifacts), func(name string) bool { return strings.HasSuffix(name, "."+NameReport) })
}

// AllSetUp reports whether the experiment was set up for all losses.
func (v view) AllSetUp() bool {
	return len(v.Data.Path.Losses) > 0 && !slices.ContainsFunc(v.Data.Path.Losses, func(l Loss) bool { return l.SetUp == "" })
}

// Setting returns the line below the name of the test.
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
		s = append(s, "Linux "+short(v.Kernel, 40))
	}
	for _, p := range v.Versions {
		s = append(s, short(p.Name+" "+strings.TrimPrefix(p.Version, p.Name), 40))
	}
	if !v.Time.IsZero() {
		s = append(s, v.Time.Format("2 January 2006, 15:04 MST"))
	}
	if v.Took > 0 {
		s = append(s, took(v.Took))
	}
	return s
}

// hooks lists lanes: "IPv4: forward, output; IPv6: prerouting".
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

// item is an item of a shortened list or, if Gap is not zero, the number of items omitted here.
type item[T any] struct {
	Item T
	Gap  int
}

// shorten returns at most about limit items: the first ones, and of the others those that matter. It counts the
// omitted items between them, and more, which were omitted before.
func shorten[T any](items []T, limit, more int, matters func(T) bool) []item[T] {
	first := len(items)
	if first > limit {
		first = limit * 2 / 3
	}
	var out []item[T]
	gap := 0
	for i, v := range items {
		if i >= first && (len(out) >= limit || !matters(v)) {
			gap++
			continue
		}
		if gap > 0 {
			out = append(out, item[T]{Gap: gap})
			gap = 0
		}
		out = append(out, item[T]{Item: v})
	}
	if gap += more; gap > 0 {
		out = append(out, item[T]{Gap: gap})
	}
	return out
}

// diffLine is a line of a diff.
type diffLine struct {
	Class string // "del", "add" or empty
	Text  string
}

// diffLines marks the removed and added lines of a diff.
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
