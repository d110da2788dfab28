package ctexp_test

import (
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { ctexp.Main(tidy{m}) }

// tidy runs the tests with a folder for temporary files that it removes afterwards, with the artifacts of the tests in
// it that fail on purpose.
type tidy struct{ m *testing.M }

func (t tidy) Run() int {
	dir, err := os.MkdirTemp("", "ctexp-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Setenv("TMPDIR", dir); err != nil {
		panic(err)
	}
	return t.m.Run()
}

var web = packet.Flow{
	Src: netip.MustParseAddrPort("198.18.0.2:10000"),
	Dst: netip.MustParseAddrPort("192.0.2.1:80"),
}

// veth is the link that every machine has.
var veth = []netnsenv.LinkConfig{{Kind: netnsenv.Veth}}

// golden compares got with a file of testdata, which -update writes.
func golden(t *testing.T, file, got string) {
	t.Helper()
	file = "testdata/" + file
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := ctexp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", file, diff)
	}
}
