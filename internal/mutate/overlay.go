package mutate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	switchPackage = "github.com/ctexp/go-ctexp/internal/mutate/mutant"
	alias         = "mutant_." // no name in the tree ends so
)

// edit is a change of source text. An @ in its text stands for the mutant's number.
type edit struct {
	at, cut int // bytes: where, and how many are replaced
	text    string
	closes  bool // what an earlier edit of the same mutant opens
}

// apply returns the source with all mutants in it, and lines as before. Mutants are sorted as a Sample is: of those that
// begin at the same place the outer ones come first.
func apply(src []byte, ms []Mutant) []byte {
	type numbered struct {
		edit
		id int
	}
	var all []numbered
	for _, m := range ms {
		for _, e := range m.edits {
			all = append(all, numbered{e, m.ID})
		}
	}
	slices.SortStableFunc(all, func(a, b numbered) int {
		switch {
		case a.at != b.at:
			return cmp.Compare(a.at, b.at)
		case a.closes && b.closes:
			return cmp.Compare(b.id, a.id) // inner ones first
		case a.closes:
			return -1
		case b.closes:
			return 1
		}
		return cmp.Compare(a.id, b.id)
	})
	var out strings.Builder
	from := 0
	for _, e := range all {
		out.Write(src[from:e.at])
		out.WriteString(strings.ReplaceAll(e.text, "@", strconv.Itoa(e.id)))
		from = e.at + e.cut
	}
	out.Write(src[from:])
	return []byte(out.String())
}

// writeOverlay writes the changed files into a folder, with the file that go test's flag -overlay wants, whose name it
// returns.
func writeOverlay(dir string, sample []Mutant) (string, error) {
	byFile := map[*file][]Mutant{}
	for _, m := range sample {
		byFile[m.file] = append(byFile[m.file], m)
	}
	var overlay struct{ Replace map[string]string }
	overlay.Replace = map[string]string{}
	for f, ms := range byFile {
		ms = append(ms, Mutant{edits: []edit{{at: f.nameEnd, text: fmt.Sprintf("; import %s %q", strings.TrimSuffix(alias, "."), switchPackage)}}})
		changed := filepath.Join(dir, fmt.Sprintf("%d.go", len(overlay.Replace)))
		if err := os.WriteFile(changed, apply(f.src, ms), 0o600); err != nil {
			return "", err
		}
		overlay.Replace[f.path] = changed
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, b, 0o600)
}
