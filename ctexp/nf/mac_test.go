package nf_test

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestAMACPrintsItselfAsUsual(t *testing.T) {
	t.Parallel()
	if got, want := (nf.MAC{2, 0, 0, 0, 0, 0xab}).String(), "02:00:00:00:00:ab"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
