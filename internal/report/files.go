package report

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// File is a file beside the report that Data alone does not make, such as capture.pcapng, or that is better than what
// Data makes of it, such as ruleset.nft as nft lists it.
type File struct {
	Name  string // without a folder, and without the name of the test
	Write func(io.Writer) error
}

// The names of the files, behind the name of the test.
const (
	NameReport   = "report.html"
	NameResult   = "result.json"
	NameCapture  = "capture.pcapng"
	NameTimeline = "timeline.txt"
	NameFlows    = "flows.txt"
	NameStats    = "stats.txt"
	NameSysctls  = "sysctl-diff.txt"
	NameNFT      = "ruleset.nft"
	NameIPTables = "ruleset.iptables"
)

// WriteFiles writes the report and everything beside it into the folder dir, which it makes if it is not there, and
// returns the names of the files, report.html first. The name of the test precedes each name, as Stem shapes it: the
// folder that go test keeps artifacts in does not tell. Files of the same names are overwritten.
//
// Files take the place of those of the same name that Data makes. A file that cannot be written is left out, the report
// says why, and so does the error, which joins all of these; the others are written all the same.
func WriteFiles(dir string, d Data, files ...File) ([]string, error) {
	for _, f := range files {
		if f.Name == "" || f.Name != filepath.Base(f.Name) {
			panic(fmt.Sprintf("report: %q is no name of a file", f.Name))
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the artifacts: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder of the artifacts: %w", err)
	}
	defer root.Close()

	stem := Stem(d.Test) + "."
	d = d.tidy()
	d.Artifacts = nil
	var errs []error
	for _, f := range append(d.ownFiles(files), files...) {
		if err := writeFile(root, stem+f.Name, f.Write); err != nil {
			errs = append(errs, err)
			d.Missing = append(d.Missing, Missing{Part: f.Name, Why: err.Error()})
			continue
		}
		d.Artifacts = append(d.Artifacts, stem+f.Name)
	}
	slices.Sort(d.Artifacts)
	d.Artifacts = append([]string{stem + NameReport, stem + NameResult}, d.Artifacts...)
	written := slices.Clone(d.Artifacts[2:])
	for _, f := range []File{{NameResult, d.WriteJSON}, {NameReport, d.WriteHTML}} {
		if err := writeFile(root, stem+f.Name, f.Write); err != nil {
			errs = append(errs, err)
			continue
		}
		written = append([]string{stem + f.Name}, written...)
	}
	return written, errors.Join(errs...)
}

// ownFiles returns the text files that d makes itself, without those that others make.
func (d Data) ownFiles(others []File) []File {
	own := []File{
		{NameTimeline, lines(d.timelineText())}, {NameFlows, lines(d.flowsText())},
		{NameStats, lines(d.statsText())}, {NameSysctls, lines(d.sysctlText())},
	}
	if text := d.rulesText(true); len(text) > 0 {
		own = append(own, File{NameNFT, lines(text)})
	}
	if text := d.rulesText(false); len(text) > 0 {
		own = append(own, File{NameIPTables, lines(text)})
	}
	return slices.DeleteFunc(own, func(f File) bool {
		return slices.ContainsFunc(others, func(o File) bool { return o.Name == f.Name })
	})
}

// writeFile writes one file, and leaves nothing behind of one that fails.
func writeFile(root *os.Root, name string, write func(io.Writer) error) error {
	f, err := root.Create(name)
	if err != nil {
		return fmt.Errorf("write an artifact: %w", err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write the artifact %s: %w", name, err), root.Remove(name))
	}
	return nil
}

// lines returns a function that writes lines of text.
func lines(text []string) func(io.Writer) error {
	return func(w io.Writer) error {
		for _, s := range text {
			if _, err := io.WriteString(w, s+"\n"); err != nil {
				return err
			}
		}
		return nil
	}
}
