//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// line is a line of a file with answers: those of this program, or the results of examples/tales.
type line struct {
	answer
	Claim   string         `json:"claim"`
	Got     map[string]any `json:"got"`
	Verdict string         `json:"verdict"`
}

// isTale reports whether the line is a result of examples/tales.
func (l line) isTale() bool { return l.Claim != "" }

// chance has the fields of tales that chance decides, which the table leaves out.
var chance = []string{"evicted", "collected"}

// cell is what the table has of a line.
func (l line) cell() string {
	switch {
	case l.Error != "":
		return "no answer: " + l.Error
	case !l.isTale():
		return l.Value
	}
	var got []string
	for name, value := range l.Got {
		if slices.Contains(chance, name) {
			continue
		}
		got = append(got, fmt.Sprintf("%s %v", name, value))
	}
	slices.Sort(got)
	return strings.Join(append([]string{l.Verdict}, got...), ", ")
}

// column is the column of a kernel.
type column struct {
	version [3]int
	name    string
	lines   []line
}

// readKernels reads files of JSON lines, in any order, each of one kernel or of several, and returns the kernels by version.
func readKernels(files []string) ([]*column, error) {
	of := map[string]*column{}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		d := json.NewDecoder(f)
		for {
			var l line
			if err = d.Decode(&l); err != nil {
				break
			}
			version := exactly(l.Kernel)
			if of[version] == nil {
				of[version] = &column{name: version, version: versionOf(version)}
			}
			of[version].lines = append(of[version].lines, l)
		}
		f.Close()
		if !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	var all []*column
	for _, k := range of {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b *column) int {
		return cmp.Or(slices.Compare(a.version[:], b.version[:]), strings.Compare(a.name, b.name))
	})
	return all, nil
}

// exactly returns the version of a kernel's name that has the patch level: Debian's if it is one of Debian's (see kernel.Name).
func exactly(name string) string {
	if _, debian, ok := strings.Cut(name, "(Debian "); ok {
		return strings.TrimSuffix(debian, ")")
	}
	return name
}

// versionOf returns the numbers of "6.1.192-3" or "6.18.44".
func versionOf(release string) (v [3]int) {
	release, _, _ = strings.Cut(release, "-")
	for i, part := range strings.SplitN(release, ".", len(v)) {
		v[i], _ = strconv.Atoi(part) // what is no number is zero
	}
	return v
}

// find returns the kernel's line of a question or claim. One that had no answer at first may have been asked again.
func (k *column) find(id string, tale bool) (found line, ok bool) {
	for _, l := range k.lines {
		if l.ID == id && l.isTale() == tale && (!ok || found.Verdict == "unsupported") {
			found, ok = l, true
		}
	}
	return found, ok
}

// writeTable writes docs/kernels.md.
func writeTable(w io.Writer, files []string) error {
	kernels, err := readKernels(files)
	if err != nil {
		return err
	}
	if len(kernels) == 0 {
		return errors.New("-table: no answers in the files")
	}
	var b strings.Builder
	b.WriteString(`# What differs between kernels

Made by ` + "`.ci/kernels`" + ` from what ` + "`go run ./examples/corners`" + ` and ` + "`go run ./examples/tales`" + ` measured under each kernel. "=" is the value of the
column before; rows whose values differ come first, and their column "since" names each kernel of the table with another value than the one before.
Stable series get changes of later versions, too, so that a value holds for exactly the version that is named.

## Edges of connection tracking

Files are below net/netfilter.

`)
	writeRows(&b, kernels, false)
	b.WriteString("\n## The claims of the article\n\nThe verdict of each claim, and what was measured.\n\n")
	writeRows(&b, kernels, true)
	_, err = io.WriteString(w, b.String())
	return err
}

// writeRows writes the rows of the questions, or of the claims.
func writeRows(b *strings.Builder, kernels []*column, tales bool) {
	names := []string{"what", "since"}
	for _, k := range kernels {
		names = append(names, k.name)
	}
	if !tales {
		names = append(names, "source")
	}
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	var differ, same []string
	for _, l := range questions(kernels, tales) {
		text, since := row(kernels, l)
		if since != "" {
			differ = append(differ, text)
		} else {
			same = append(same, text)
		}
	}
	for _, text := range append(differ, same...) {
		b.WriteString(text)
	}
}

// questions returns a line of each question, or of each claim, in the order of the files.
func questions(kernels []*column, tales bool) (all []line) {
	for _, k := range kernels {
		for _, l := range k.lines {
			known := slices.ContainsFunc(all, func(o line) bool { return o.ID == l.ID })
			if l.isTale() == tales && !known {
				all = append(all, l)
			}
		}
	}
	return all
}

// row returns the row of a question, and which kernels have another value than the one before.
func row(kernels []*column, of line) (text, since string) {
	what := of.Asks
	if of.isTale() {
		what = of.Claim
	}
	before, cells := "", []string{}
	var changed []string
	for i, k := range kernels {
		value := "not asked"
		if l, ok := k.find(of.ID, of.isTale()); ok {
			value = l.cell()
		}
		switch {
		case i == 0:
			cells = append(cells, value)
		case value == before:
			cells = append(cells, "=")
		default:
			cells = append(cells, "**"+value+"**")
			changed = append(changed, k.name)
		}
		before = value
	}
	since = strings.Join(changed, ", ")
	all := append([]string{fmt.Sprintf("`%s` %s", of.ID, what), since}, cells...)
	if !of.isTale() {
		all = append(all, of.Source)
	}
	for i := range all {
		all[i] = strings.ReplaceAll(all[i], "|", `\|`)
	}
	return "| " + strings.Join(all, " | ") + " |\n", since
}
