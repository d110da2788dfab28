package report_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/internal/golden"
	"github.com/ctexp/go-ctexp/internal/report"
)

// samples are the experiments drawn in testdata, which the browser test reads as well.
func samples() map[string]report.Data {
	return map[string]report.Data{"full-table": fullTable(), "router": router(), "passed": passed(), "hostile": hostile(), "ingress": beforeHooks(), "nothing": {}}
}

func html(t *testing.T, d report.Data) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := d.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReportIsDrawnAsBefore(t *testing.T) {
	t.Parallel()
	for name, d := range samples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden.Check(t, name+".html", string(html(t, d)))
		})
	}
}

func TestClaimsAreDrawnAsBefore(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := claims().WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "claims.html", b.String())
}

// The page begins with what failed and how to run it again; then come the packets.
func TestPageBeginsWithTheFailure(t *testing.T) {
	t.Parallel()
	page := string(html(t, fullTable()))
	at := -1
	for _, want := range []string{
		"<h1>", `<code>first_test.go:38</code> 10 SYNs into a table with room for 7`, `<span class="del">-`, `<span class="add">&#43;`,
		"<code>go test -run", "<code>CTEXP_HOLD=1 go test", `<nav aria-label="Contents">`, `<h2 id="path">`, `id="loss"`, `<svg class="path`, `<h2 id="setting">`,
	} {
		next := strings.Index(page, want)
		if next <= at {
			t.Errorf("%q is at %d of the page, behind it what should come before: %d", want, next, at)
		}
		at = next
	}
}

// What the experiment was set up to lose is said to be so, and is not red.
func TestLossesOfTheSetUpAreMarked(t *testing.T) {
	t.Parallel()
	rule, full := report.Cause{Kind: "rule", Certain: true}, report.Cause{Kind: "table full", Certain: true}
	for name, c := range map[string]struct {
		causes []report.Cause
		room   bool
		want   string // of Loss.SetUp
	}{
		"table of limited room": {[]report.Cause{full}, true, "room for 7 entries"},
		"the host's table":      {[]report.Cause{full}, false, ""},
		"rule":                  {[]report.Cause{rule}, false, "a rule of the experiment"},
		"both":                  {[]report.Cause{full, rule}, true, "room for 7 entries, a rule of the experiment"},
		"rule, perhaps":         {[]report.Cause{{Kind: "rule"}}, true, ""},
		"rule, and a route":     {[]report.Cause{rule, {Kind: "no route", Certain: true}}, true, ""},
		"not known":             {nil, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := fullTable()
			d.Room.Limited = c.room
			d.Path.Losses[0].Causes = c.causes
			for i := range d.Frames {
				d.Frames[i].Causes = c.causes
			}
			dir := t.TempDir()
			if _, err := report.WriteFiles(dir, d); err != nil {
				t.Fatal(err)
			}
			page, err := os.ReadFile(filepath.Join(dir, d.Test+".report.html"))
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(filepath.Join(dir, d.Test+".result.json"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got, err := report.ReadJSON(f)
			if err != nil {
				t.Fatal(err)
			}
			if got.Path.Losses[0].SetUp != c.want || got.Frames[9].SetUp != (c.want != "") || got.Frames[0].SetUp {
				t.Errorf("the loss is said to be as set up: %q, its frame: %t; want %q", got.Path.Losses[0].SetUp, got.Frames[9].SetUp, c.want)
			}
			for _, red := range []string{`class="hero losses`, `class="lost`, ` worst"`, `class="right lost"`, `<ol class="time">`} {
				if bytes.Contains(page, []byte(red)) != (c.want == "") {
					t.Errorf("as set up: %q; the page has %s: %t", c.want, red, c.want != "")
				}
			}
			if c.want != "" && !bytes.Contains(page, []byte(`<span class="chip">as set up</span> `+c.want)) {
				t.Error("the page does not say that the loss is as set up")
			}
		})
	}
}

// The page lists the files beside it, without itself.
func TestPageListsTheOtherFiles(t *testing.T) {
	t.Parallel()
	dir, d := t.TempDir(), fullTable()
	files, err := report.WriteFiles(dir, d)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, files[0]))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range files {
		if linked := bytes.Contains(page, []byte(`href="./`+name+`"`)); linked != (i > 0) {
			t.Errorf("the page has a link to %s: %t", name, linked)
		}
	}
}

func BenchmarkReport(b *testing.B) {
	d := router()
	for b.Loop() {
		if err := d.WriteHTML(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
