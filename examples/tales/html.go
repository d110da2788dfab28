package main

import (
	"errors"
	"fmt"
	"os"

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
