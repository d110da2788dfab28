package packet_test

import (
	"os"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// Some tests send packets to a real kernel.
func TestMain(m *testing.M) {
	netnsenv.Enter()
	os.Exit(m.Run())
}
