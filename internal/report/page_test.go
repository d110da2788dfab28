package report_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/internal/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with the file of that name in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// samples are the experiments drawn in testdata, which the browser test reads as well.
func samples() map[string]report.Data {
	return map[string]report.Data{"full-table": fullTable(), "router": router(), "passed": passed(), "hostile": hostile(), "ingress": beforeHooks(), "nothing": {}}
}

func html(t *testing.T, d report.Data) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := d.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReportIsDrawnAsBefore(t *testing.T) {
	t.Parallel()
	for name, d := range samples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, name+".html", html(t, d))
		})
	}
}

func TestClaimsAreDrawnAsBefore(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := claims().WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "claims.html", b.Bytes())
}

func BenchmarkReport(b *testing.B) {
	d := router()
	for b.Loop() {
		if err := d.WriteHTML(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
