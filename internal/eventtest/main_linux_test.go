// Package eventtest holds the recording of events to its rates, as the host's root where it can be: root may have a
// receive buffer of any size.
package eventtest

import (
	"os"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

func TestMain(m *testing.M) {
	netnsenv.EnterWith(netnsenv.Entry{RealRoot: os.Geteuid() == 0})
	os.Exit(m.Run())
}
