package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	needOf     = regexp.MustCompile(`UnsupportedError\{\s*Need:\s*"([^"]+)"`)
	exportedOf = regexp.MustCompile(`(?m)^(?:var |\t)(Err[A-Z]\w+)\s+=`)
)

// Each need and each exported error of the library stands in docs/errors.md with what to do.
func TestErrorsAreInTheIndex(t *testing.T) {
	t.Parallel()
	index, err := os.ReadFile(filepath.Join("..", "..", "docs", "errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range all {
		if f.isTest() || !strings.HasPrefix(f.path, "ctexp/") {
			continue
		}
		for _, m := range needOf.FindAllStringSubmatch(string(f.src), -1) {
			found++
			if need := strings.TrimSpace(m[1]); !strings.Contains(string(index), "\n| "+need) && !strings.Contains(string(index), "\n| a "+need+" ") {
				t.Errorf("%s: docs/errors.md has no row for the need %q", f.path, need)
			}
		}
		for _, m := range exportedOf.FindAllStringSubmatch(string(f.src), -1) {
			found++
			if !strings.Contains(string(index), "`"+m[1]+"`") {
				t.Errorf("%s: docs/errors.md has no row for %s", f.path, m[1])
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d needs and errors were found", found)
	}
}
