package guides

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// guides are the files in docs whose code is in this folder.
func guides(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../../docs/guide-*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("there are no guides: %v", err)
	}
	all := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = string(text)
	}
	return all
}

// The code that a guide shows stands in a test of the examples, as it is: Go code anywhere in a file, other texts as the whole
// file, whose name is in the line before.
func TestGuidesShowWhatIsRun(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	files, err := filepath.Glob("../*/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(text)
	}
	for name, guide := range guides(t) {
		if n := strings.Count(guide, "\n"); n >= 150 {
			t.Errorf("%s has %d lines, want fewer than 150", name, n)
		}
		parts := strings.Split(guide, "\n```")
		for i := 1; i < len(parts); i += 2 {
			kind, block, _ := strings.Cut(parts[i], "\n")
			block += "\n"
			switch kind {
			case "go":
				if !strings.Contains(code.String(), block) {
					t.Errorf("%s: no file has this code:\n%s", name, block)
				}
			case "nft", "cases":
				before := strings.TrimSpace(parts[i-1])
				file := strings.Trim(before[strings.LastIndexAny(before, " \n")+1:], "`:")
				if text, err := os.ReadFile(file); err != nil || string(text) != block {
					t.Errorf("%s: the text of %s is another (%v):\n%s", name, file, err, block)
				}
			}
		}
	}
}
