package browser

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var pattern = flag.String("pages", "../testdata/*.html", "the `pages` to look at; beside x.html or x.report.html stands x.json or x.result.json")

//go:embed look.html
var look string

// widths of a large screen, of a window just wide enough for the wide picture, and of a phone.
var widths = []int{1280, 860, 390}

// seen is the output of look.html about a page.
type seen struct {
	Page     string
	Width    int
	Problems []string
	Probes   map[string]string
	Losses   [][2]string
	Texts    int
}

// Nothing overlaps or is clipped, losses come first, and the numbers are those of the result: at all widths, in light
// and dark mode.
func TestPagesAreWhole(t *testing.T) {
	t.Parallel()
	chromium := chromium(t)
	pages, err := filepath.Glob(*pattern)
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages at %s: %v", *pattern, err)
	}
	server := httptest.NewServer(serve(pages))
	t.Cleanup(server.Close)
	for _, dark := range []bool{false, true} {
		t.Run(map[bool]string{false: "light", true: "dark"}[dark], func(t *testing.T) {
			t.Parallel()
			var got struct {
				Dark bool
				Seen []seen
			}
			dom := dump(t, chromium, dark, server.URL+"/")
			if err := json.Unmarshal([]byte(between(t, dom, `<pre id="seen">`, `</pre>`)), &got); err != nil {
				t.Fatal(err)
			}
			if got.Dark != dark || len(got.Seen) != len(pages)*len(widths) {
				t.Fatalf("dark %v, and %d pages seen", got.Dark, len(got.Seen))
			}
			for i, s := range got.Seen {
				judge(t, pages[i/len(widths)], s)
			}
		})
	}
}

// judge compares a page with its result, if there is one.
func judge(t *testing.T, page string, s seen) {
	t.Helper()
	name := fmt.Sprintf("%s at %d", filepath.Base(page), s.Width)
	for _, p := range s.Problems {
		t.Errorf("%s: %s", name, p)
	}
	if s.Texts == 0 {
		t.Errorf("%s: there is no text", name)
	}
	b, err := os.ReadFile(resultOf(page))
	if os.IsNotExist(err) {
		return // many claims
	}
	if err != nil {
		t.Fatal(err)
	}
	var want result
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if want := want.probes(); !reflect.DeepEqual(want, s.Probes) {
		t.Errorf("%s: probes\nresult:  %v\npicture: %v", name, want, s.Probes)
	}
	if n := min(len(want.Path.Losses), 3); len(s.Losses) != n {
		t.Errorf("%s: %d losses at the top, of %d", name, len(s.Losses), len(want.Path.Losses))
	}
	for _, l := range s.Losses {
		if !want.lost(l) {
			t.Errorf("%s: %s of %s lost, says the page", name, l[0], l[1])
		}
	}
}

// The page is self-contained: it opens from a file, without a server.
func TestAPageOpensFromAFile(t *testing.T) {
	t.Parallel()
	chromium := chromium(t)
	page, err := filepath.Abs("../testdata/full-table.html")
	if err != nil {
		t.Fatal(err)
	}
	var want result
	b, err := os.ReadFile(resultOf(page))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}

	dom := dump(t, chromium, false, "file://"+page)

	got := map[string]string{}
	for _, m := range regexp.MustCompile(`(?s)data-probe="([^"]*)".*?class="count"[^>]*>([0-9,]*)<`).FindAllStringSubmatch(dom, -1) {
		got[m[1]] = strings.ReplaceAll(m[2], ",", "")
	}
	if want := want.probes(); !reflect.DeepEqual(want, got) {
		t.Errorf("probes\nresult:  %v\npicture: %v", want, got)
	}
}

// result is the part of result.json that this test reads.
type result struct {
	Path struct {
		Points []struct {
			Name, Family, Hook string
			Packets            uint64
		}
		Losses []struct {
			Family, Hook string
			From         []string
			Lost, Of     uint64
		}
		Silenced uint64
	}
}

// probes returns the counts that a picture should have: of all probes of a hook that any packet met.
func (r result) probes() map[string]string {
	busy := map[[2]string]bool{}
	for _, p := range r.Path.Points {
		lost := false
		for _, l := range r.Path.Losses {
			lost = lost || l.Family == p.Family && slices.Contains(l.From, p.Name)
		}
		busy[[2]string{p.Family, p.Hook}] = busy[[2]string{p.Family, p.Hook}] || lost || p.Packets > 0
	}
	out := map[string]string{}
	for _, p := range r.Path.Points {
		if busy[[2]string{p.Family, p.Hook}] {
			out[p.Name] = strconv.FormatUint(p.Packets, 10)
		}
	}
	for _, l := range r.Path.Losses {
		if l.Hook == "ingress" { // packets that arrived on the links
			out[l.From[0]] = strconv.FormatUint(l.Of, 10)
		}
	}
	if n := r.Path.Silenced; n > 0 {
		out["silenced/output"] = strconv.FormatUint(n, 10)
	}
	return out
}

func (r result) lost(l [2]string) bool {
	for _, x := range r.Path.Losses {
		if l == [2]string{strconv.FormatUint(x.Lost, 10), strconv.FormatUint(x.Of, 10)} {
			return true
		}
	}
	return false
}

func resultOf(page string) string {
	if stem, ok := strings.CutSuffix(page, ".report.html"); ok {
		return stem + ".result.json"
	}
	return strings.TrimSuffix(page, ".html") + ".json"
}

// serve serves the pages by number, and at / a page that contains all of them at all widths.
func serve(pages []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/")); err == nil && n < len(pages) {
			http.ServeFile(w, r, pages[n])
			return
		}
		var frames strings.Builder
		for n, page := range pages {
			for _, width := range widths {
				fmt.Fprintf(&frames, "<iframe src=\"/%d\" data-page=\"%s\" style=\"width:%dpx\"></iframe>\n", n, html.EscapeString(filepath.Base(page)), width)
			}
		}
		fmt.Fprint(w, look, frames.String())
	})
}

// dump returns the DOM of a page after the browser has loaded it.
func dump(t *testing.T, chromium string, dark bool, url string) string {
	t.Helper()
	scheme := 1
	if dark {
		scheme = 0
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir="+t.TempDir(), "--window-size=1400,1000", fmt.Sprintf("--blink-settings=preferredColorScheme=%d", scheme), "--dump-dom", url)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.Bytes())
	}
	return string(out)
}

// between returns the content of a text element.
func between(t *testing.T, dom, open, end string) string {
	t.Helper()
	_, rest, ok := strings.Cut(dom, open)
	text, _, closed := strings.Cut(rest, end)
	if !ok || !closed || text == "" {
		t.Fatalf("nothing was seen:\n%s", dom)
	}
	return html.UnescapeString(text)
}
