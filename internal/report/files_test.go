package report_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/internal/golden"
	"github.com/ctexp/go-ctexp/internal/report"
)

// inFolder returns the content of a folder by name.
func inFolder(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

func says(text string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
}

func TestEverythingIsWrittenUnderTheNameOfTheTest(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "folder")
	d := fullTable()
	d.Rules = append(d.Rules, report.Rule{Backend: "iptables-nft", Family: "ip", Table: "mangle", Chain: "PREROUTING", Kind: "rule", Text: "-p tcp", Counted: true, Packets: 7})

	names, err := report.WriteFiles(dir, d, report.File{Name: report.NameCapture, Write: says("pcapng")}, report.File{Name: report.NameNFT, Write: says("table ip filter {}\n")})
	if err != nil {
		t.Fatal(err)
	}

	const p = "TestFullTableDropsNewFlows."
	want := []string{p + "report.html", p + "result.json", p + "capture.pcapng", p + "flows.txt", p + "ruleset.iptables", p + "ruleset.nft", p + "stats.txt", p + "sysctl-diff.txt", p + "timeline.txt"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	files := inFolder(t, dir)
	var texts strings.Builder
	for _, name := range names[2:] {
		fmt.Fprintf(&texts, "=== %s\n%s", name, files[name])
	}
	golden.Check(t, "files.txt", string([]byte(texts.String())))
	d.Artifacts = want
	if diff := cmp.Diff(string(html(t, d)), files[p+"report.html"]); diff != "" {
		t.Errorf("report.html (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(string(json(t, d)), files[p+"result.json"]); diff != "" {
		t.Errorf("result.json (-want +got):\n%s", diff)
	}
}

// A file that cannot be written is named in the report, which is written anyway, and leaves nothing behind.
func TestAFailingFileIsNamedInTheReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lost := errors.New("3 frames were lost")

	names, err := report.WriteFiles(dir, report.Data{Test: "T"}, report.File{Name: report.NameCapture, Write: func(w io.Writer) error {
		return errors.Join(says("half")(w), lost)
	}})

	if !errors.Is(err, lost) {
		t.Errorf("the error does not say why: %v", err)
	}
	want := []string{"T.report.html", "T.result.json", "T.flows.txt", "T.stats.txt", "T.sysctl-diff.txt", "T.timeline.txt"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	files := inFolder(t, dir)
	if len(files) != len(want) || !strings.Contains(files["T.report.html"], "capture.pcapng: write the artifact T.capture.pcapng: 3 frames were lost") {
		t.Errorf("in the folder: %d files; the report:\n%s", len(files), files["T.report.html"])
	}
}

// A report that consists of hostile text stays within its folder, and each item of its files within its line.
func TestHostileNamesStayInTheFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := hostile()
	d.Test = "../../" + d.Test
	d.Timeline[0].Line = "one\ntwo"

	names, err := report.WriteFiles(dir, d)
	if err != nil {
		t.Fatal(err)
	}

	files := inFolder(t, dir)
	for _, name := range names {
		if _, ok := files[name]; !ok || filepath.Base(name) != name {
			t.Errorf("%q is not in the folder", name)
		}
	}
	if text := files[report.Stem(d.Test)+".timeline.txt"]; strings.Count(text, "\n") != 3 {
		t.Errorf("two moments and what is missing in more than three lines:\n%s", text)
	}
}

func TestAFolderThatCannotBeCreatedIsAnError(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := report.WriteFiles(filepath.Join(file, "folder"), report.Data{}); err == nil {
		t.Error("a folder was made in a file")
	}
}

func TestNamesOfTestsBecomeNamesOfFiles(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for _, s := range []string{"TestA", "TestA/a_b.c", "../../etc/passwd", "", "-", "Test/日本 x\x00", strings.Repeat("x", 300)} {
		got[s] = report.Stem(s)
	}
	want := map[string]string{
		"TestA": "TestA", "TestA/a_b.c": "TestA-a_b.c", "../../etc/passwd": "etc-passwd", "": "experiment", "-": "experiment", "Test/日本 x\x00": "Test-日本-x",
		strings.Repeat("x", 300): strings.Repeat("x", 151) + "-970138f5",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestCommentHasVerdictStateAndReason(t *testing.T) {
	t.Parallel()
	got := []string{report.Frame{}.Comment(), report.Frame{State: "NEW"}.Comment(), report.Frame{State: "INVALID", Verdict: report.Dropped, Reason: "invalid rst"}.Comment()}
	if diff := cmp.Diff([]string{"", "NEW", "dropped; INVALID; invalid rst"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
