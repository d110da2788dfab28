package cases_test

import (
	"slices"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/cases"
)

// The links of another machine are those that its /proc/net has.
func TestLinksLikeThoseOfAMachine(t *testing.T) {
	t.Parallel()

	links, leftOut, err := cases.LinksLike("testdata/net")

	want := "eth0 192.0.2.7/24 2001:db8::7/64 default\nwg0 10.8.0.1/24 route 10.9.0.0/16\n"
	if got := cases.LinksText(links); err != nil || got != want || !slices.Equal(leftOut, []string{"br-0123456789ab"}) {
		t.Errorf("%v, left out %v, got\n%swant\n%s", err, leftOut, got, want)
	}
	if _, _, err := cases.LinksLike("testdata"); err == nil {
		t.Error("a folder without these files is no error")
	}
}
