package packet_test

import (
	"os"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// Some tests put packets to a real kernel.
func TestMain(m *testing.M) {
	netnsenv.Enter()
	os.Exit(m.Run())
}
