package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	pages "github.com/ctexp/go-ctexp/internal/report"
)

func TestPageHasEveryClaim(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tales.html")
	results := []result{
		{ID: "table-full", Claim: "10 SYNs <into> 7", Article: fields{{"raw", 10}, {says, "they were hard dropped"}}, Got: fields{{"raw", 10}, {"mangle", 7}}, Verdict: confirmed, Kernel: "6.18", Runs: []pages.Data{{
			Test: "the run", Rules: []pages.Rule{{Text: "-t raw -A PREROUTING -j CT"}},
			Path: pages.Path{Points: []pages.Point{{Name: "raw/prerouting", Family: "ipv4", Hook: "prerouting", Packets: 10}}},
		}}},
		{ID: "broken", Error: "no socket"},
	}
	if err := writeHTML(file, options{size: size{10, 7}}, results); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"table-full", "10 SYNs &lt;into&gt; 7", "they were hard dropped", "mangle", "no socket", "Linux 6.18", "1 confirmed", "-t raw -A PREROUTING -j CT", `data-probe="raw/prerouting" data-packets="10"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if err := writeHTML(filepath.Join(file, "no"), options{}, nil); err == nil {
		t.Error("a file that cannot be made is no error")
	}
}

// The page shows what the article has of each claim: a value or its words.
func TestPageHasTheArticleForEveryRow(t *testing.T) {
	t.Parallel()
	var results []result
	for _, r := range rows() {
		results = append(results, result{ID: r.id, Article: r.article})
	}
	for _, row := range page(options{}, results).Rows {
		if len(row.Said) == 0 && row.Quote == "" {
			t.Errorf("%s: the page has nothing of the article", row.ID)
		}
	}
}
