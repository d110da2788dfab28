package firsttest

import (
	"os"
	"strings"
	"testing"
)

// The README's first test is the one that is compiled and run here, and it is short.
func TestREADMEShowsTheFirstTest(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("first_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, test, _ := strings.Cut(string(source), "\n)\n\n") // behind the imports
	if !strings.Contains(string(readme), "```go\n"+test+"```") {
		t.Error("README.md does not show first_test.go as it is")
	}
	lines := 0
	for _, l := range strings.Split(test, "\n") {
		if strings.TrimSpace(l) != "" {
			lines++
		}
	}
	if lines > 30 {
		t.Errorf("the first test has %d lines, want at most 30", lines)
	}
}
