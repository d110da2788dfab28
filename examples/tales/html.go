package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/observe"
	pages "github.com/ctexp/go-ctexp/internal/report"
)

// writeHTML writes all results as one page into a file, which it replaces.
func writeHTML(file string, o options, results []result) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("-html: %w", err)
	}
	if err := errors.Join(page(o, results).WriteHTML(f), f.Close()); err != nil {
		return fmt.Errorf("-html: %w", err)
	}
	return nil
}

func page(o options, results []result) pages.Page {
	p := pages.Page{Title: "Conntrack tales", Said: "article"}
	for _, r := range results {
		if p.Intro == "" {
			p.Intro = fmt.Sprintf("Asked on Linux %s: rules by %s, %d packets, %d entries free in a full table. %s.",
				r.Kernel, r.Backend, o.size.packets, o.size.free, sum(results))
		}
		row := pages.Row{ID: r.ID, Claim: r.Claim, Verdict: string(r.Verdict), Why: r.Why, Error: r.Error, Got: pageFields(r.Got), Runs: r.Runs}
		for _, f := range r.Article {
			if words, ok := f.value.(string); ok && f.name == says {
				row.Quote = words
			} else {
				row.Said = append(row.Said, pages.Field{Name: f.name, Value: show(f.value)})
			}
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

func pageFields(f fields) []pages.Field {
	var out []pages.Field
	for _, x := range f {
		out = append(out, pages.Field{Name: x.name, Value: show(x.value)})
	}
	return out
}

// mostRuns is how many pictures a claim has.
const mostRuns = 6

// runs are the labs of the experiment in the order of their opening, as the page draws them: where their packets went. Of
// those in which the same became of all packets the first stands for all.
func (b *bench) runs() []pages.Data {
	var all []pages.Data
	same := map[string]int{} // index of the run
	for i, l := range b.labs {
		path, err := l.Observer.Path(b.ctx)
		d := pages.Data{Test: fmt.Sprintf("run %d of %d", i+1, len(b.labs)), Path: pages.PathOf(path)}
		if len(b.labs) == 1 {
			d.Test = "the run"
		}
		if room := l.Env.Room(); room.Free >= 0 {
			d.Test += ", into a full table"
			d.Room = pages.Room{Limited: true, Free: room.Free, Filler: room.Filler, Limit: room.Limit}
		}
		if err != nil {
			d.Missing = append(d.Missing, pages.Missing{Part: pages.PartPath, Why: err.Error()})
		}
		for _, link := range l.Env.Links() {
			d.Links = append(d.Links, pages.Link{Name: link.Name()})
		}
		for _, r := range l.rules {
			d.Rules = append(d.Rules, pages.Rule{Text: fmt.Sprintf("-t %s -A %s", r.at.table, r.iptables())})
		}
		if !slices.ContainsFunc(path.Points, func(p observe.Point) bool { return p.Packets > 0 }) && err == nil && path.Silenced == 0 {
			continue // nothing came
		}
		key := fmt.Sprint(l.rules, path)
		if _, known := same[key]; known {
			continue
		}
		same[key] = len(all)
		all = append(all, d)
	}
	return all[:min(len(all), mostRuns)]
}
