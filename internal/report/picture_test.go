package report_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/internal/golden"
)

// The README's picture is the path of the page about its first test, as a file of its own.
func TestPictureOfTheREADME(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("testdata", "full-table.html"))
	if err != nil {
		t.Fatal(err)
	}
	drawing := regexp.MustCompile(`(?s)<svg class="path wide" viewBox="0 0 (\d+) (\d+)"(.*?)</svg>`).FindStringSubmatch(string(page))
	if drawing == nil {
		t.Fatal("the page has no wide path")
	}
	var style strings.Builder
	for _, l := range strings.Split(string(page), "\n") {
		if strings.HasPrefix(l, ":root") || strings.HasPrefix(l, "@media (prefers-color-scheme:dark)") || strings.HasPrefix(l, "svg") {
			style.WriteString(l + "\n")
		}
	}

	got := fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"path wide\" width=\"%s\" height=\"%s\" viewBox=\"0 0 %[1]s %[2]s\"%[3]s</svg>\n", drawing[1], drawing[2],
		strings.Replace(drawing[3], ">", ">\n<style>\n"+style.String()+"</style>\n<rect width=\"100%\" height=\"100%\" style=\"fill:var(--bg);stroke:none\"/>", 1))

	golden.CheckFile(t, filepath.Join("..", "..", "docs", "path.svg"), got)
}
