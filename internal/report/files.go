package report

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/ctexp/go-ctexp/internal/plain"
)

// File is a file beside the report that Data does not contain, such as capture.pcapng, or that replaces one made from
// Data, such as ruleset.nft as nft lists it.
type File struct {
	Name  string                // without a folder, and without the name of the test
	Write func(io.Writer) error // writes the content
}

// The names of the files, without the name of the test that precedes them.
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

// WriteFiles writes the report and all other files into the folder dir, creates it if necessary, and returns the
// names of the files, report.html first. Each name begins with the Stem of the test's name, because the artifact
// folder of go test does not tell tests apart. Existing files are overwritten. What was captured may be nobody else's
// business: folder and files are for their owner alone, whatever they were before.
//
// A File replaces the file of the same name that is made from Data. A file that cannot be written is left out; the
// report says why and so does the returned error, which joins all of these. The others are written anyway.
func WriteFiles(dir string, d Data, files ...File) ([]string, error) {
	for _, f := range files {
		if f.Name == "" || f.Name != filepath.Base(f.Name) {
			panic(fmt.Sprintf("report: %q is no name of a file", f.Name))
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the artifacts: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder of the artifacts: %w", err)
	}
	defer root.Close()

	stem := Stem(d.Test) + "."
	d = d.normalize()
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

// ownFiles returns the text files made from d, except those that others replace.
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

// writeFile writes one file, and removes it if that fails.
func writeFile(root *os.Root, name string, write func(io.Writer) error) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write an artifact: %w", err)
	}
	if err := errors.Join(f.Chmod(0o600), write(f), f.Close()); err != nil { // a file that is overwritten keeps its mode
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

// Stem returns the name of a test as it begins file names. Letters and digits of any script, "_" and "." are kept,
// and anything else becomes "-". A name that is too long is truncated and ends with a hash of the whole name.
func Stem(test string) string {
	s := strings.Trim(strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, test), ".-")
	if s == "" {
		return "experiment"
	}
	if len(s) > maxStem {
		h := fnv.New32a()
		h.Write([]byte(test))
		s = fmt.Sprintf("%s-%08x", strings.ToValidUTF8(s[:maxStem-9], ""), h.Sum32())
	}
	return s
}

// maxStem is the length of the longest stem in bytes. With the rest of the name it fits into the 255 bytes of most
// file systems.
const maxStem = 160

// timelineText returns the timeline, one moment per line, in the format of observe.Timeline.String: what is missing
// is in parentheses at the end.
func (d Data) timelineText() []string {
	var out []string
	for _, m := range d.Timeline {
		out = append(out, fmt.Sprintf("%s %-6s %s", d.Time.Add(m.At).Format("15:04:05.000000"), plain.Line(m.Kind), plain.Line(m.Text())))
	}
	out = d.appendMissing(out, d.Omitted.Timeline, PartTimeline)
	for _, part := range []string{PartFrames, "reasons", "trace", "events", "drops", "counts"} {
		if why := d.missing(part); why != "" {
			out = append(out, fmt.Sprintf("(%s: %s)", part, plain.Line(why)))
		}
	}
	return out
}

// flowsText returns the canonical lines of the flows, sorted so that two such files can be compared.
func (d Data) flowsText() []string {
	var out []string
	for _, f := range d.Flows {
		out = append(out, plain.Line(f.Line))
	}
	slices.Sort(out)
	return d.appendMissing(out, d.Omitted.Flows, PartFlows)
}

// statsText returns the tally with its laws, and the statistics of the kernel.
func (d Data) statsText() []string {
	out := []string{"# tally"}
	for _, c := range d.Tally {
		out = append(out, fmt.Sprintf("%-24s %d", plain.Line(c.Name), c.N))
	}
	for _, l := range d.Laws {
		s := fmt.Sprintf("%s: %s", plain.Line(l.Law), plain.Line(l.Verdict))
		if l.Why != "" {
			s += ": " + plain.Line(l.Why)
		}
		out = append(out, s)
	}
	out = append(d.appendMissing(out, 0, PartTally), "# kernel statistics since the start")
	for _, c := range d.Stats {
		out = append(out, fmt.Sprintf("%-24s %+d", plain.Line(c.Name), c.N))
	}
	return d.appendMissing(out, 0, PartStats)
}

// sysctlText returns the sysctls as a difference.
func (d Data) sysctlText() []string {
	var out []string
	for _, s := range d.Sysctls {
		if s.Before != "" {
			out = append(out, fmt.Sprintf("-%s = %s", plain.Line(s.Name), plain.Line(s.Before)))
		}
		if s.After != "" {
			line := fmt.Sprintf("+%s = %s", plain.Line(s.Name), plain.Line(s.After))
			if s.By != "" {
				line += " # by " + plain.Line(s.By)
			}
			out = append(out, line)
		}
	}
	return d.appendMissing(out, 0, PartSysctls)
}

// rulesText returns the rules of nft, or those of iptables, with their counters; nil if there are none.
func (d Data) rulesText(nft bool) []string {
	var out []string
	for _, r := range d.Rules {
		if (r.Backend == "nft") != nft {
			continue
		}
		s := strings.TrimRight(fmt.Sprintf("%s %s %s %s", r.Backend, r.Family, r.Table, r.Chain), " ") + ": "
		if r.Kind != "rule" {
			s += r.Kind + " "
		}
		s += r.Text
		if r.Counted {
			s += fmt.Sprintf(" [packets %d bytes %d]", r.Packets, r.Bytes)
		}
		out = append(out, plain.Line(s))
	}
	if out == nil {
		return nil
	}
	return d.appendMissing(out, d.Omitted.Rules, PartRules)
}

// appendMissing appends to the lines of a list how many items and which parts are missing.
func (d Data) appendMissing(out []string, more int, part string) []string {
	if more > 0 {
		out = append(out, fmt.Sprintf("# … and %d more", more))
	}
	if why := d.missing(part); why != "" {
		out = append(out, "# "+plain.Line(why))
	}
	return out
}
