package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each line of SECURITY.md that says what an experiment can or cannot do names the test that shows it.
func TestSecurityIsTested(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	promises, problems := untested(string(text), func(file string) string {
		src, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(file)))
		if err != nil {
			t.Error(err)
		}
		return string(src)
	})
	for _, p := range problems {
		t.Error(p)
	}
	if promises < 10 {
		t.Errorf("SECURITY.md has only %d lines that are tested", promises)
	}
}

func TestUntestedPromisesAreFound(t *testing.T) {
	t.Parallel()
	const text = "- It is tested. [TestA](a_test.go)\n- It is not.\n- Nor is\n  this. [TestB](a_test.go)\n\n- This is,\n  too. [TestA](a_test.go)\n"
	n, problems := untested(text, func(string) string { return "func TestA(t *testing.T) {}" })
	if want := "It is not. names no test; a_test.go has no TestB"; n != 4 || strings.Join(problems, "; ") != want {
		t.Errorf("of %d: %q, want of 4: %q", n, problems, want)
	}
}

var testLink = regexp.MustCompile(`\[(Test\w+)\]\(([\w/]+_test\.go)\)`)

// untested returns the number of items of all lists in a text, and what is wrong with their tests.
func untested(text string, source func(file string) string) (items int, problems []string) {
	for _, item := range strings.Split("\n"+text, "\n- ")[1:] {
		items++
		item, _, _ = strings.Cut(item, "\n\n")
		links := testLink.FindAllStringSubmatch(item, -1)
		if len(links) == 0 {
			problems = append(problems, strings.TrimSpace(item)+" names no test")
		}
		for _, l := range links {
			if !strings.Contains(source(l[2]), "func "+l[1]+"(") {
				problems = append(problems, l[2]+" has no "+l[1])
			}
		}
	}
	return items, problems
}
