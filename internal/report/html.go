package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"sync"
)

//go:embed templates
var templateFiles embed.FS

// pages are the templates, parsed once.
var pages = sync.OnceValues(func() (*template.Template, error) {
	return template.New("").Funcs(template.FuncMap{
		"thousands": thousands, "signed": signed, "packets": packets, "since": since, "took": took, "ends": ends,
		"join": joinWords, "uint": func(n int) uint64 { return uint64(max(n, 0)) }, "class": class, "breaks": breaks, "pieces": pieces, "count": count,
		"total": total, "extras": extras, "frames": func(d Data) uint64 { return uint64(len(d.Frames) + d.Omitted.Frames) },
	}).ParseFS(templateFiles, "templates/*.tmpl")
})

// WriteHTML writes the report as one page that needs nothing else. It fails only if w does.
func (d Data) WriteHTML(w io.Writer) error {
	d = clean(d.tidy())
	return write(w, "report", newView(d, ""))
}

// WriteHTML writes all claims as one page that needs nothing else. It fails only if w does.
func (p Page) WriteHTML(w io.Writer) error {
	p = clean(p)
	v := pageView{Page: p, Shares: p.shares()}
	for i, r := range p.Rows {
		row := rowView{Row: r, Word: r.word(), Anchor: fmt.Sprintf("claim-%d", i+1), Pairs: r.pairs()}
		for k, d := range r.Reports {
			row.Views = append(row.Views, newView(d.tidy(), fmt.Sprintf("%s-%d-", row.Anchor, k+1)))
		}
		for k, d := range r.Runs {
			row.Runs = append(row.Runs, newView(d.tidy(), fmt.Sprintf("%s-run-%d-", row.Anchor, k+1)))
		}
		v.Rows = append(v.Rows, row)
	}
	return write(w, "page", v)
}

// write makes the whole page before it writes any of it.
func write(w io.Writer, name string, v any) error {
	t, err := pages()
	if err != nil {
		panic("report: " + err.Error()) // the templates are ours
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

// pageView is a Page as the template wants it.
type pageView struct {
	Page
	Shares []share
	Rows   []rowView
}

type rowView struct {
	Row
	Word   string // the verdict
	Anchor string
	Pairs  []pair
	Views  []view
	Runs   []view
}
