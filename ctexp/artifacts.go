package ctexp

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/report"
)

// WriteReport writes into the folder dir, which it makes if it is not there, everything that the Lab knows, for people and
// for programs: report.html (one page, self-contained), result.json, capture.pcapng with a comment for each packet,
// timeline.txt, flows.txt, stats.txt, the rules with their counters and the sysctls that differ from a new namespace's.
// The name precedes every file's; what does not belong into the name of a file is "-" there. It returns the names of the
// files; what could not be had is named in the report. Of a Lab that is closed nothing is written, and the error is an
// os.ErrClosed.
func (l *Lab) WriteReport(ctx context.Context, dir, name string) ([]string, error) {
	k := l.lookAtAll(ctx)
	if err := k.closed(); err != nil {
		return nil, fmt.Errorf("ctexp: write the report: %w", err)
	}
	return writeReport(dir, l.reportData(k, name), k)
}

func writeReport(dir string, d report.Data, k look) ([]string, error) {
	files, err := report.WriteFiles(dir, d, append(rulesetFiles(k.texts), report.File{
		Name: report.NameCapture,
		Write: func(w io.Writer) error {
			next := 0 // the comments are asked for in the order of the frames
			return observe.WritePcapng(w, k.record.Frames, func(observe.Frame) string {
				next++
				if next > len(d.Frames) {
					return ""
				}
				return d.Frames[next-1].Comment()
			})
		},
	})...)
	if err != nil {
		return files, fmt.Errorf("ctexp: write the report: %w", err)
	}
	return files, nil
}

// keepArtifacts writes the report of a failed test where it is found again: into the test's artifact folder if it has one
// that is kept (go test -artifacts), else into a fresh one. It returns a line for the log.
func (x *Experiment) keepArtifacts(k look, d report.Data) string {
	dir, err := artifactFolder(x.t, d.Test)
	if err != nil {
		return fmt.Sprintf("no artifacts: %v", err)
	}
	d.Failed, d.Diff = true, x.failures.String()
	if which := x.which(); which != "" {
		if d.Diff == "" {
			d.Diff = "It has been told of no failure: another one of the test may have been, or the test's own t."
		}
		d.Diff = which + "\n\n" + d.Diff
	}
	files, err := writeReport(dir, d, k)
	if len(files) == 0 {
		return fmt.Sprintf("no artifacts: %v", err)
	}
	line := "artifacts: " + filepath.Join(dir, files[0])
	if err != nil {
		line += fmt.Sprintf(" (%v)", err)
	}
	return line
}

// artifactFolder returns the folder of testing's ArtifactDir under -artifacts; without that flag it would vanish with the
// test, so that a failed one gets a folder of its own, which has the name.
func artifactFolder(t TB, name string) (string, error) {
	a, ok := t.(interface{ ArtifactDir() string })
	if ok && slices.ContainsFunc(os.Args, func(s string) bool {
		return s == "-test.artifacts" || s == "-test.artifacts=true" || s == "--test.artifacts"
	}) {
		return a.ArtifactDir(), nil
	}
	return os.MkdirTemp("", "ctexp-"+report.Stem(name)+"-")
}
