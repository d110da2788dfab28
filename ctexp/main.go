package ctexp

import (
	"os"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// Main runs the tests of a package, as root of namespaces of its own (netnsenv.Enter). Call it from TestMain with the
// *testing.M; it does not return. Flags, input, output, signals and the exit status are what they are without it, and
// where no namespaces can be had the tests that need them skip.
func Main(m interface{ Run() int }) {
	netnsenv.Enter()
	os.Exit(m.Run())
}
