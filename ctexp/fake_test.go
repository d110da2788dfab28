package ctexp_test

import (
	"net/netip"
	"os"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

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
