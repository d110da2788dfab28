package report_test

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/internal/golden"
	"github.com/ctexp/go-ctexp/internal/report"
)

func json(t testing.TB, d report.Data) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := d.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestResultIsWrittenAsBefore(t *testing.T) {
	t.Parallel()
	for name, d := range samples() {
		golden.Check(t, name+".json", string(json(t, d)))
	}
}

func TestResultIsReadBack(t *testing.T) {
	t.Parallel()
	for name, d := range samples() {
		if name == "hostile" { // it is not UTF-8
			continue
		}
		got, err := report.ReadJSON(bytes.NewReader(json(t, d)))
		if err != nil {
			t.Fatal(err)
		}
		d.Version = report.Version
		if diff := cmp.Diff(d, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Errorf("%s, written and read (-want +got):\n%s", name, diff)
		}
	}
}

func TestOnlyAKnownVersionIsRead(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for _, text := range []string{`{"version":3,"new":"field"}`, `{"version":4}`, `{}`, `[]`, ``} {
		_, err := report.ReadJSON(strings.NewReader(text))
		got[text] = "read"
		if err != nil {
			got[text] = err.Error()
		}
	}
	want := map[string]string{
		`{"version":3,"new":"field"}`: "read",
		`{"version":4}`:               "read result.json: it is of version 4, and version 3 is known here",
		`{}`:                          "read result.json: it is of version 0, and version 3 is known here",
		`[]`:                          "read result.json: json: cannot unmarshal array into Go value of type report.Data",
		``:                            "read result.json: EOF",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// broken is a Writer that always fails.
type broken struct{}

var errFull = errors.New("no space left")

func (broken) Write([]byte) (int, error) { return 0, errFull }

func TestAFailingWriterIsAnError(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"result": fullTable().WriteJSON(broken{}), "report": fullTable().WriteHTML(broken{}), "claims": claims().WriteHTML(broken{}),
	} {
		if !errors.Is(err, errFull) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReadJSON checks that whatever is read as a result can be drawn, and is unchanged when written again. The seeds
// are small, because the fuzzer would spend its time minimizing large ones.
func FuzzReadJSON(f *testing.F) {
	f.Add([]byte(`{"version":3}`))
	f.Add([]byte(`{"version":3,"path":{"points":[]}}`)) // is like none
	f.Add([]byte(`{"version":3,"test":"T/a","failed":true,"failures":[{"text":"x\n- a\n+ b"}],"sent":9,"room":{"limited":true,"free":7}}`))
	f.Add([]byte(`{"version":3,"path":{"points":[{"name":"raw/input","family":"ipv4","hook":"input","packets":9},{"name":"b/input","family":"ipv4","hook":"input","packets":6}],` +
		`"losses":[{"family":"ipv4","from":"raw/input","to":"b/input","lost":3,"of":9,"why":"x"}]}}`))
	f.Add([]byte(`{"version":3,"frames":[{"at_ns":5,"link":"tun0","dir":"in","line":"IP 1.1.1.1.1 > 2.2.2.2.2: Flags [S], seq 1","verdict":"dropped"}]}`))
	f.Add([]byte(`{"version":3,"flows":[{"orig":"src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2","timeout_s":3}],"rules":[{"counted":true,"packets":1}]}`))
	f.Add([]byte(`{"version":3,"timeline":[{"at_ns":5,"kind":"frame","line":"x","loss":true}],"stats":[{"name":"drop","n":-3}],"missing":[{"part":"path","why":"x"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := report.ReadJSON(bytes.NewReader(b))
		if err != nil {
			return
		}
		if strange := strangeMarkup(html(t, d)); strange != "" {
			t.Errorf("the page has %s", strange)
		}
		again, err := report.ReadJSON(bytes.NewReader(json(t, d)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(json(t, d), json(t, again)); diff != "" {
			t.Errorf("written again (-first +second):\n%s", diff)
		}
	})
}
