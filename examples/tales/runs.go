package main

import (
	"fmt"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/observe"
	pages "github.com/ctexp/go-ctexp/internal/report"
)

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
		if l.Env.Room().Free >= 0 {
			d.Test += ", into a full table"
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
