package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The README and the guides show what the command prints: their console blocks are run in the folder of the guides' files.
func TestDocsShowWhatIsPrinted(t *testing.T) {
	able(t)
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var texts [][2]string
	for _, name := range append(docs, "../../README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, [2]string{filepath.Base(name), string(text)})
	}
	t.Chdir("../../examples/guides")

	ran := 0
	for _, doc := range texts {
		for _, block := range regexp.MustCompile("(?s)\n```console\n(.*?)```").FindAllStringSubmatch(doc[1], -1) {
			for _, c := range strings.Split("\n"+block[1], "\n$ ")[1:] {
				line, want, _ := strings.Cut(c+"\n", "\n")
				args, isOurs := strings.CutPrefix(line, "ctexp ")
				if !isOurs {
					continue
				}
				ran++
				words, err := shellWords(args)
				if err != nil {
					t.Fatalf("%s: %s: %v", doc[0], line, err)
				}
				var out bytes.Buffer
				command{args: words, stdin: strings.NewReader(""), stdout: &out, stderr: &out, tty: true}.run(t.Context())
				got := strings.TrimSpace(patient.ReplaceAllString(out.String(), ""))
				if got != strings.TrimSpace(want) {
					t.Errorf("%s: $ %s\n got\n%s\nwant\n%s", doc[0], line, got, want)
				}
			}
		}
	}
	if ran < 4 {
		t.Errorf("only %d commands were found", ran)
	}
}

// patient is what the command tells on a machine that is so busy that it takes more than two seconds.
var patient = regexp.MustCompile(`(?m)^ctexp: (?:still trying|waiting for the turn) .*\n`)

// shellWords splits a line at blanks that are not within single quotes.
func shellWords(line string) (words []string, err error) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	if strings.Count(line, "'")%2 == 1 {
		return nil, errors.New("a quote is open")
	}
	return words, nil
}
