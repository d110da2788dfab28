package ctexp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/plain"
	"github.com/ctexp/go-ctexp/internal/report"
	"github.com/ctexp/go-ctexp/internal/ruleset"
	"github.com/ctexp/go-ctexp/internal/terminal"
)

// Report describes in a screenful of text what happened in the Lab: the path of the packets with the losses, the counts, the
// flows, the log messages of conntrack, the rules with their counters, the frames, and the last 40 lines of output of programs. The path is complete; of a long list
// the beginning is shown, of many rules those that have counted. Messages and frames that differ only in a number share a
// line. A part that cannot be read is replaced by the error.
func (l *Lab) Report(ctx context.Context) string {
	snap := l.reportSnapshot(ctx)
	return l.reportText(snap, l.reportData(snap, ""), "")
}

// reportText returns the report as text; d is the data of the page, and which identifies one of several Labs.
func (l *Lab) reportText(snap snapshot, d report.Data, which string) string {
	t := &text{}
	if which != "" {
		which += ": "
	}
	fmt.Fprintf(t, "what happened in %s%v: %s\n", which, l.Env, d.FirstLine())

	t.title("path", -1, snap.pathErr)
	if snap.pathErr == nil || snap.path.Points != nil {
		t.prose(snap.path.String())
	}
	t.failed(snap.pathErr)

	t.title(fmt.Sprintf("counts (table: %v)", d.Room), -1, snap.tallyErr)
	if snap.tallyErr == nil {
		t.prose(fmt.Sprintln(snap.tally))
	}
	t.failed(snap.tallyErr)

	t.title("flows", max(len(snap.flows), snap.entries), snap.flowsErr)
	shown, rest := firstLines(snap.flows, max(len(snap.flows), snap.entries), maxFlowLines)
	t.list(shown, len(shown))
	t.more(rest)
	t.failed(why(snap.flowsMissing()))

	if n := len(snap.record.Reasons); n > 0 {
		t.title("what conntrack says of packets", n, nil)
		t.list(reasonLines(snap.record.Reasons), maxReasonLines)
		t.failed(why(snap.lacks(observe.PartReasons)))
	}

	t.title("rules", len(snap.rules), snap.rulesErr)
	shown, rest = ruleLines(snap.rules)
	t.list(shown, len(shown))
	t.more(rest)
	t.failed(snap.rulesErr)

	captured, lacks := len(snap.record.Frames), snap.lacks(observe.PartFrames)
	if cut := snap.record.Cut(observe.PartFrames); cut != nil {
		captured = cut.Of
	}
	t.title("frames", captured, lacks)
	shown, rest = frameLines(d)
	t.list(shown, len(shown))
	t.more(rest)
	t.failed(why(lacks))

	if said := snap.record.Output; len(said) > 0 {
		t.title("output of programs", len(said), nil)
		if earlier := len(said) - maxOutputLines; earlier > 0 {
			t.more(fmt.Sprintf("%d earlier", earlier))
			said = said[earlier:]
		}
		for _, line := range lines(said) {
			fmt.Fprintln(t, plain.Line(line))
		}
	}
	return plain.Text(strings.TrimRight(t.String(), "\n"))
}

// The numbers of lines of each list in a report, so that all of it fits on a screen of about 40 lines, but for the output of
// programs. The page has the rest.
const (
	maxOutputLines = 40
	maxFlowLines   = 6
	maxReasonLines = 5
	maxRuleLines   = 8
	maxFrameLines  = 8
)

// text is a report that is being written.
type text struct{ strings.Builder }

// title begins a part with n items; a negative n is for a part that is not a list. If the part could not be read, n is not
// shown.
func (t *text) title(what string, n int, err error) {
	if n < 0 || n == 0 && err != nil {
		fmt.Fprintf(t, "--- %s\n", what)
		return
	}
	fmt.Fprintf(t, "--- %s (%d)\n", what, n)
}

// list writes the first maxLines lines, and one more if it is the last, since "1 more" would take a line, too.
func (t *text) list(lines []string, maxLines int) {
	left := len(lines) - maxLines
	if left > 1 {
		lines = lines[:maxLines]
	}
	for _, s := range lines {
		fmt.Fprintln(t, s)
	}
	if left > 1 {
		t.more(fmt.Sprintf("%d more", left))
	}
}

// more writes what was left out, unless that is "".
func (t *text) more(what string) {
	if what != "" {
		fmt.Fprintf(t, "… %s\n", what)
	}
}

func (t *text) failed(err error) {
	if err != nil {
		t.prose(fmt.Sprintf("(%v)\n", err))
	}
}

// logWidth is how wide sentences are in a log, which is indented by eight columns: together 120. A log knows no terminal. The first
// line, to find a report by, and all that one may copy, packets, entries, rules, commands and output, are in one piece.
const logWidth = 112

// prose writes sentences.
func (t *text) prose(s string) { t.WriteString(terminal.Wrap(s, logWidth)) }

// why returns an error that also says why something was cut.
func why(err error) error {
	cut := (*observe.CutError)(nil)
	switch {
	case !errors.As(err, &cut):
		return err
	case cut.Part == observe.PartFrames && errors.Is(err, observe.ErrFramesLost):
		return fmt.Errorf("%w; a report is about no more, whatever the traffic; %s has those that were kept", err, report.NameCapture)
	case cut.Part == observe.PartFrames:
		return fmt.Errorf("%w; a report is about no more, whatever the traffic; %s has all", err, report.NameCapture)
	}
	return fmt.Errorf("%w; a report is about no more, whatever the traffic", err)
}

// firstLines returns the lines of the first values to show of so many that there are, and a summary of the others.
func firstLines[T fmt.Stringer](values []T, of, maxLines int) (shown []string, rest string) {
	if of > maxLines+1 { // else "1 more" would take a line, too
		values = values[:min(maxLines, len(values))]
		rest = fmt.Sprintf("%d more", of-len(values))
	}
	return lines(values), rest
}

func lines[T fmt.Stringer](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.String()
	}
	return out
}

// ruleLines returns the rules to show, all if they are few, else those that have counted, and a summary of the others.
func ruleLines(rules []observe.Rule) (shown []string, rest string) {
	if len(rules) <= maxRuleLines+1 {
		return lines(rules), ""
	}
	left, counted, uncounted := 0, 0, 0
	for _, r := range rules {
		switch hit := r.Counted && r.Packets > 0; {
		case hit && len(shown) < maxRuleLines:
			shown = append(shown, r.String())
			continue
		case hit:
			counted++
		case !r.Counted:
			uncounted++
		}
		left++
	}
	rest = fmt.Sprintf("%d more, none counted", left)
	if counted > 0 {
		rest = fmt.Sprintf("%d more, %d of them counted", left, counted)
	}
	if uncounted > 0 {
		rest += fmt.Sprintf(", %d have no counter", uncounted)
	}
	return shown, rest
}

// reasonLines returns each reason once, in the order of first occurrence, with the number of packets. Reasons that differ
// only in numbers count as the same.
func reasonLines(reasons []observe.Reason) []string {
	type key struct {
		proto nf.Proto
		text  string
	}
	var firsts []observe.Reason
	counts, indexOf := []int{}, map[key]int{}
	for _, r := range reasons {
		k := key{r.Proto, number.ReplaceAllString(r.Text, "N")}
		i, known := indexOf[k]
		if !known {
			i = len(firsts)
			indexOf[k], firsts, counts = i, append(firsts, r), append(counts, 0)
		}
		counts[i]++
	}
	out := lines(firsts)
	for i, n := range counts {
		if n > 1 {
			out[i] += fmt.Sprintf(" ×%d", n)
		}
	}
	return out
}

var number = regexp.MustCompile(`[0-9]+`)

// frameLines returns the lines of the first frames, each with the fate of its packet, and a summary of the others.
// Neighbouring frames that differ only in the port of one side share a line, as on the page.
func frameLines(d report.Data) (shown []string, rest string) {
	var folds []report.Fold
	left, dropped := d.Omitted.Frames, d.Omitted.Dropped
	for i, f := range d.Frames {
		if n := len(folds); n > 0 && folds[n-1].Add(f) {
			continue
		}
		if len(folds) <= maxFrameLines {
			folds = append(folds, report.NewFold(f))
			continue
		}
		last := folds[maxFrameLines] // one line more is shown only if it is the last
		folds = folds[:maxFrameLines]
		others := append(slices.Repeat([]report.Frame{last.Frame}, last.Times), d.Frames[i:]...)
		for _, f := range others {
			left++
			if f.Verdict == report.Dropped {
				dropped++
			}
		}
		break
	}
	for _, f := range folds {
		shown = append(shown, fmt.Sprintf("%s %s %-3s %v", d.Time.Add(f.At).Format("15:04:05.000000"), f.Link, f.Direction(), f))
	}
	if left > 0 {
		rest = fmt.Sprintf("%d more", left)
	}
	if dropped > 0 {
		rest += fmt.Sprintf(", %d of them dropped", dropped)
	}
	return shown, rest
}

// WriteReport writes everything that the Lab knows into the directory dir, which is created if needed: report.html (one
// self-contained page), result.json, capture.pcapng with a comment for each packet, timeline.txt, flows.txt, stats.txt, the
// rules with their counters, and the sysctls that differ from those of a new namespace. Every file name begins with name,
// in which "-" replaces characters that do not belong in a file name. WriteReport returns the file names. The report lists
// the parts that could not be read, and those of which it has only the beginning: it is about 5,000 frames, events and
// flows, while the capture has all frames that were kept. If the Lab is closed nothing is written, and the error is an os.ErrClosed.
func (l *Lab) WriteReport(ctx context.Context, dir, name string) ([]string, error) {
	snap := l.reportSnapshot(ctx)
	if err := snap.closed(); err != nil {
		return nil, fmt.Errorf("ctexp: write the report: %w", err)
	}
	return writeReport(dir, l.reportData(snap, name), snap)
}

// Failure is what is not as it should be, at the head of a page.
type Failure struct {
	Place string // file and line: "router.cases:10"; "" if there is none
	// Text is what was wanted and what was got. The first line is the title. Of the others, those that begin with "-" or "+" are shown
	// as a difference.
	Text string
}

// WritePage writes the page of WriteReport alone. It begins with the failures; without any the page does not say whether something
// has failed. If the Lab is closed nothing is written, and the error is an os.ErrClosed.
func (l *Lab) WritePage(ctx context.Context, w io.Writer, name string, failures ...Failure) error {
	snap := l.reportSnapshot(ctx)
	if err := snap.closed(); err != nil {
		return fmt.Errorf("ctexp: write the page: %w", err)
	}
	d := l.reportData(snap, name)
	d.Failed = len(failures) > 0
	for _, f := range failures {
		d.Failures = append(d.Failures, report.Failure(f))
	}
	if err := d.WriteHTML(w); err != nil {
		return fmt.Errorf("ctexp: write the page: %w", err)
	}
	return nil
}

func writeReport(dir string, d report.Data, snap snapshot) ([]string, error) {
	files, err := report.WriteFiles(dir, d, append(listingFiles(snap.listings), report.File{
		Name: report.NameCapture,
		Write: func(w io.Writer) error {
			next := 0 // WritePcapng asks for the comments in the order of the frames
			return snap.record.WritePcapng(w, func(packet.Record) string {
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

// listingFiles returns a file with the listings of nft, and one with those of iptables.
func listingFiles(listings []ruleset.Listing) []report.File {
	var files []report.File
	for _, name := range []string{report.NameNFT, report.NameIPTables} {
		var all strings.Builder
		for _, l := range listings {
			if (l.Program == "nft") == (name == report.NameNFT) {
				all.WriteString(plain.Text(l.Text))
			}
		}
		if all.Len() > 0 {
			files = append(files, report.File{Name: name, Write: func(w io.Writer) error {
				_, err := io.WriteString(w, all.String())
				return err
			}})
		}
	}
	return files
}

// keepArtifacts writes the report of a failed test into the test's artifact directory if that is kept (go test -artifacts),
// else into a new temporary directory. It returns a line for the log.
func (x *Experiment) keepArtifacts(snap snapshot, d report.Data) string {
	dir, err := artifactDir(x.t, d.Test)
	if err != nil {
		return fmt.Sprintf("no artifacts: %v", err)
	}
	d.Failed, d.Failures, d.Commands = true, x.failures.all(), commands(x.t.Name())
	if which := x.which(); which != "" {
		if len(d.Failures) == 0 {
			d.Failures = []report.Failure{{Text: "no failure was reported through this Experiment: see the others of the test, and its log"}}
		}
		d.Failures[0].Text = which + ": " + d.Failures[0].Text
	}
	files, err := writeReport(dir, d, snap)
	if len(files) == 0 {
		return fmt.Sprintf("no artifacts: %v", err)
	}
	line := "artifacts: " + filepath.Join(dir, files[0])
	if err != nil {
		line += fmt.Sprintf(" (%v)", err)
	}
	return line
}

// artifactDir returns testing's ArtifactDir under -artifacts. Without that flag it is removed with the test, so the report
// goes to a temporary directory that has the name.
func artifactDir(t TB, name string) (string, error) {
	a, ok := t.(interface{ ArtifactDir() string })
	if ok && slices.ContainsFunc(os.Args, func(s string) bool {
		return s == "-test.artifacts" || s == "-test.artifacts=true" || s == "--test.artifacts"
	}) {
		return a.ArtifactDir(), nil
	}
	return os.MkdirTemp("", "ctexp-"+report.Stem(name)+"-")
}
