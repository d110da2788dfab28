package report_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/ctexp/go-ctexp/internal/golden"
	"github.com/ctexp/go-ctexp/internal/report"
)

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
			golden.Check(t, name+".html", string(html(t, d)))
		})
	}
}

func TestClaimsAreDrawnAsBefore(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := claims().WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "claims.html", b.String())
}

func BenchmarkReport(b *testing.B) {
	d := router()
	for b.Loop() {
		if err := d.WriteHTML(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
