package report_test

import (
	"bytes"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/internal/report"
)

var (
	tags = regexp.MustCompile(`<(/?[a-zA-Z!][a-zA-Z0-9]*)([^>]*)>`)
	attr = regexp.MustCompile(`^\s+([a-zA-Z0-9:-]+)(?:="([^"]*)")?`)
	here = regexp.MustCompile(`^#[a-z0-9-]+$`)
)

// ours are the elements that the templates use; none of them loads or executes anything.
var ours = strings.Fields(`!doctype html head meta title style body main h1 h2 h3 div span section p small pre svg g line
	polygon path rect text ol ul li b i details summary table thead tbody tr th td caption nav dl dt dd br a code wbr header blockquote`)

// strangeMarkup returns markup in a page that is not from the templates; "" if there is none.
func strangeMarkup(page []byte) string {
	for _, m := range tags.FindAllSubmatch(page, -1) {
		if name := strings.TrimPrefix(string(m[1]), "/"); !slices.Contains(ours, name) {
			return "the element " + string(m[0])
		}
		rest := strings.TrimSuffix(string(m[2]), "/")
		for rest != "" {
			a := attr.FindStringSubmatch(rest)
			if a == nil || !harmless(a[1], a[2]) {
				return "the attributes " + rest + " of " + string(m[0])
			}
			rest = rest[len(a[0]):]
		}
	}
	if n := bytes.Count(page, []byte("</style>")); n != 1 {
		return "more or less than one style"
	}
	return ""
}

// harmless reports whether an attribute neither executes nor loads anything, and does not link out of the folder.
func harmless(name, value string) bool {
	switch {
	case name == "href":
		return strings.HasPrefix(value, "./") || here.MatchString(value)
	case name == "style":
		return strings.HasPrefix(value, "flex-grow:")
	}
	return name != "src" && name != "srcset" && !strings.HasPrefix(name, "on") && !strings.Contains(name, "href")
}

// Text that looks like markup is shown as text, wherever it is.
func TestMarkupIsShownAsText(t *testing.T) {
	t.Parallel()
	d := hostile()
	d.Flows, d.Rules, d.Timeline = slices.Repeat(d.Flows, 150), slices.Repeat(d.Rules, 150), slices.Repeat(d.Timeline, 150)
	page := html(t, d)
	if strange := strangeMarkup(page); strange != "" {
		t.Errorf("the page has %s", strange)
	}

	var b bytes.Buffer
	p := claims()
	for i := range p.Rows {
		r := &p.Rows[i]
		r.ID, r.Claim, r.Verdict, r.Quote, r.Why, r.Error = d.Test, d.Test, d.Test, d.Test, d.Test, d.Test
		r.Got, r.Said = []report.Field{{Name: d.Test, Value: d.Test}}, r.Got
	}
	p.Rows[1].Reports = []report.Data{hostile()}
	p.Title, p.Intro, p.Said = d.Test, d.Test, d.Test
	if err := p.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if strange := strangeMarkup(b.Bytes()); strange != "" {
		t.Errorf("the page of claims has %s", strange)
	}
}

func TestInvisibleCharactersAreMadeVisible(t *testing.T) {
	t.Parallel()
	for name, page := range map[string][]byte{"hostile": html(t, hostile()), "full table": html(t, fullTable())} {
		if !utf8.Valid(page) {
			t.Errorf("the page of %s is no UTF-8", name)
		}
		for i, r := range string(page) {
			if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u00a0') {
				t.Errorf("the page of %s has %U at %d", name, r, i)
			}
		}
	}
}

// Drawing does not modify the Data.
func TestDataIsNotChanged(t *testing.T) {
	t.Parallel()
	d := hostile()
	html(t, d)
	if diff := cmp.Diff(hostile(), d, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("after it was drawn (-want +got):\n%s", diff)
	}
}
