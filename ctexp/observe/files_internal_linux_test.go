package observe

import (
	"os"
	"path/filepath"
	"testing"
)

// fileWith returns a file with this text, as in /proc.
func fileWith(t *testing.T, text string) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// The collector works on a table from 95 % of its limit on. Without a limit, or if one of the two cannot be read, it is not
// known to have.
func TestTableWasFullFrom95PercentOn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit, entries string
		ended          int
		want           bool
	}{
		{"1000", "950", 0, true},
		{"1000", "949", 0, false},
		{"1000", "900", 50, true},
		{"0", "950", 0, false},
		{"", "950", 0, false},
		{"1000", "", 2000, false},
	} {
		o := &Observer{limit: sysctl{fileWith(t, c.limit)}, entries: sysctl{fileWith(t, c.entries)}}
		if got := o.wasFull(c.ended); got != c.want {
			t.Errorf("limit %q, entries %q, and %d ended: %v, want %v", c.limit, c.entries, c.ended, got, c.want)
		}
	}
}

// A file of counters that is longer than expected is an error, not a part of the counters.
func TestLongFileOfCountersIsAnError(t *testing.T) {
	t.Parallel()
	f := mibFile{File: fileWith(t, "TcpExt: 1")}
	for size, want := range map[int]string{20: "TcpExt: 1", 10: "TcpExt: 1", 9: "", 1: ""} {
		got, err := f.read(make([]byte, size))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("into %d bytes: %q, %v; want %q", size, got, err, want)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := f.read(make([]byte, 20)); err == nil {
		t.Errorf("of a closed file: %q", got)
	}
}
