package ctexp

import (
	"context"
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
	"github.com/ctexp/go-ctexp/internal/report"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// Report says in a screenful of text what happened in the Lab: the path of the packets with the losses, the counts,
// the flows, what conntrack says of packets, the rules with their counters and the frames. The path is whole, of long lists
// it has the beginning, of many rules those that have counted; reasons and frames that differ in a number are one line. A
// part that cannot be had says why in its place.
func (l *Lab) Report(ctx context.Context) string {
	k := l.lookAtAll(ctx)
	return l.reportText(k, l.reportData(k, ""), "")
}

// reportText is the report, of which d is the same for the page; which is said of a Lab that is one of several.
func (l *Lab) reportText(k look, d report.Data, which string) string {
	t := &text{}
	if which != "" {
		which += ": "
	}
	fmt.Fprintf(t, "what happened in %s%v\n", which, l.Env)

	t.title("path", -1, k.pathErr)
	if k.pathErr == nil || k.path.Points != nil {
		t.WriteString(k.path.String())
	}
	t.failed(k.pathErr)

	t.title("counts", -1, k.tallyErr)
	if k.tallyErr == nil {
		fmt.Fprintln(t, k.tally)
	}
	t.failed(k.tallyErr)

	t.title("flows", len(k.flows), k.flowsErr)
	t.list(lines(k.flows), mostFlowLines)
	t.failed(k.flowsErr)

	if n := len(k.record.Reasons); n > 0 {
		t.title("what conntrack says of packets", n, nil)
		t.list(reasonLines(k.record.Reasons), mostReasonLines)
		t.failed(k.lacks(observe.PartReasons))
	}

	t.title("rules", len(k.rules), k.rulesErr)
	shown, rest := ruleLines(k.rules)
	t.list(shown, len(shown))
	t.more(rest)
	t.failed(k.rulesErr)

	t.title("frames", len(k.record.Frames), k.lacks(observe.PartFrames))
	shown, rest = frameLines(d)
	t.list(shown, len(shown))
	t.more(rest)
	t.failed(k.lacks(observe.PartFrames))
	return strings.TrimRight(t.String(), "\n")
}

// How many lines of each list a report shows, so that the whole of it fits on a screen: about 40 lines. What does not is
// not read, and is on the page.
const (
	mostFlowLines   = 6
	mostReasonLines = 5
	mostRuleLines   = 8
	maxFrameLines   = 8
)

// text is a report that is being written.
type text struct{ strings.Builder }

// title begins a part that has n things, or is no list if that is negative. Of what could not be had there is no number.
func (t *text) title(what string, n int, err error) {
	if n < 0 || n == 0 && err != nil {
		fmt.Fprintf(t, "--- %s\n", what)
		return
	}
	fmt.Fprintf(t, "--- %s (%d)\n", what, n)
}

// list writes the first lines, as many as most, and one more if that is the last: to say so takes as much room.
func (t *text) list(lines []string, most int) {
	left := len(lines) - most
	if left > 1 {
		lines = lines[:most]
	}
	for _, s := range lines {
		fmt.Fprintln(t, s)
	}
	if left > 1 {
		t.more(fmt.Sprintf("%d more", left))
	}
}

// more says what is left out; nothing if that is "".
func (t *text) more(what string) {
	if what != "" {
		fmt.Fprintf(t, "… %s\n", what)
	}
}

func (t *text) failed(err error) {
	if err != nil {
		fmt.Fprintf(t, "(%v)\n", err)
	}
}

func lines[T fmt.Stringer](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.String()
	}
	return out
}

// ruleLines returns the rules to show, all of a few, of many those that have counted, and what is to be said of the others.
func ruleLines(rules []observe.Rule) (shown []string, rest string) {
	if len(rules) <= mostRuleLines+1 {
		return lines(rules), ""
	}
	left, counted, blind := 0, 0, 0
	for _, r := range rules {
		switch hit := r.Counted && r.Packets > 0; {
		case hit && len(shown) < mostRuleLines:
			shown = append(shown, r.String())
			continue
		case hit:
			counted++
		case !r.Counted:
			blind++
		}
		left++
	}
	rest = fmt.Sprintf("%d more, none counted", left)
	if counted > 0 {
		rest = fmt.Sprintf("%d more, %d of them counted", left, counted)
	}
	if blind > 0 {
		rest += fmt.Sprintf(", %d have no counter", blind)
	}
	return shown, rest
}

// reasonLines says each reason once, in the order of the first packets, with how many had it. Reasons that differ in their
// numbers are one.
func reasonLines(reasons []observe.Reason) []string {
	type of struct {
		proto nf.Proto
		text  string
	}
	var firsts []observe.Reason
	times, at := []int{}, map[of]int{}
	for _, r := range reasons {
		key := of{r.Proto, number.ReplaceAllString(r.Text, "N")}
		i, known := at[key]
		if !known {
			i = len(firsts)
			at[key], firsts, times = i, append(firsts, r), append(times, 0)
		}
		times[i]++
	}
	out := lines(firsts)
	for i, n := range times {
		if n > 1 {
			out[i] += fmt.Sprintf(" ×%d", n)
		}
	}
	return out
}

var number = regexp.MustCompile(`[0-9]+`)

// frameLines returns the frames to show, and what is to be said of the others: neighbours that differ in a port of one side
// and in nothing else are one line, as on the page. What became of them stands behind.
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
		last := folds[maxFrameLines] // there was room for it as long as it was the last
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
	files, err := report.WriteFiles(dir, d, append(listingFiles(k.listings), report.File{
		Name: report.NameCapture,
		Write: func(w io.Writer) error {
			next := 0 // the comments are asked for in the order of the frames
			return observe.WritePcapng(w, k.record.Frames, func(packet.Record) string {
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

// listingFiles makes a file of the listings of nft, and one of those of iptables.
func listingFiles(listings []ruleset.Listing) []report.File {
	var files []report.File
	for _, name := range []string{report.NameNFT, report.NameIPTables} {
		var all strings.Builder
		for _, l := range listings {
			if (l.Program == "nft") == (name == report.NameNFT) {
				all.WriteString(l.Text)
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
