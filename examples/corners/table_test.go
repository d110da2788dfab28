//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/internal/golden"
)

func TestMain(m *testing.M) { ctexp.Main(m) }

// Rows that differ come first, each value is marked where it differs from the one of the kernel before, and kernels are in the
// order of their versions, whatever the order of the files. What chance decided is no difference, and an answer counts more than
// that there was none.
func TestTableMarksWhatDiffers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var files []string
	for name, text := range map[string]string{
		"new.json": `{"id":"same","asks":"what stays","source":"a.c","kernel":"6.12.118-1","value":"1"}
{"id":"limit","claim":"a limit","got":{"dropped":3},"verdict":"unsupported","kernel":"6.12.118-1"}
{"id":"limit","claim":"a limit","got":{"dropped":3,"answers":"a|b","evicted":1},"verdict":"confirmed","kernel":"6.12.118-1"}
{"id":"later","asks":"what only the later one was asked","source":"b.c","kernel":"6.12.118-1","value":"x"}
{"id":"changes","asks":"what changes","source":"c.c","kernel":"6.12.118-1","value":"on"}
`,
		"old.json": `{"id":"same","asks":"what stays","source":"a.c","kernel":"5.10.262-1","value":"1"}
{"id":"changes","asks":"what changes","source":"c.c","kernel":"5.10.262-1","error":"out of order"}
{"id":"limit","claim":"a limit","got":{"dropped":3,"answers":"a|b"},"verdict":"confirmed","kernel":"5.10.262-1"}
{"id":"same","asks":"what stays","source":"a.c","kernel":"6.1.0-50-cloud-amd64 (Debian 6.1.192-3)","value":"1"}
{"id":"changes","asks":"what changes","source":"c.c","kernel":"6.1.0-50-cloud-amd64 (Debian 6.1.192-3)","value":"on"}
{"id":"limit","claim":"a limit","got":{"dropped":4,"answers":"a|b"},"verdict":"refuted","kernel":"6.1.0-50-cloud-amd64 (Debian 6.1.192-3)"}
`,
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}

	var got bytes.Buffer
	err := run(append([]string{"-table"}, files...), &got)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "kernels.golden", got.String())
}

// A file that is not of JSON lines, that is missing, or that has nothing is an error that names it.
func TestTableOfWrongFiles(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(broken, []byte("no answers"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"broken.json: invalid character": {broken},
		"nowhere.json: no such file":     {"nowhere.json"},
		"no answers in the files":        {os.DevNull},
	} {
		err := run(append([]string{"-table"}, args...), &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
}

// Every question has an answer on the running kernel, or says what is missing; what all kernels do alike is as it should be.
func TestEveryCornerIsAnswered(t *testing.T) {
	t.Parallel()
	alike := map[string]string{
		"rst-exact": "CLOSE [ASSURED], 10s",
		"syn-again": "ESTABLISHED [ASSURED], 120h0m0s",
		"sctp":      "CLOSED [UNREPLIED], 10s",
	}
	for _, c := range corners() {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			got := c.answer(t.Context())
			if got.Error != "" || got.Value == "" {
				t.Errorf("got %+v", got)
			}
			if want := alike[c.ID]; want != "" && got.Value != want {
				t.Errorf("got %q, want %q", got.Value, want)
			}
			if c.Asks == "" || c.Source == "" {
				t.Errorf("it has no question or no source: %+v", c)
			}
		})
	}
}
