package netnsenv_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func TestRunIsPrivate(t *testing.T) {
	t.Parallel()
	needs.Check(t, checkOpen(t))
	if _, err := os.Stat("/run"); err != nil {
		t.Fatal(err)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs("/run", &st); err != nil {
		t.Fatal(err)
	}
	const tmpfs = 0x01021994
	if st.Type != tmpfs {
		t.Errorf("/run is of type %#x, want a tmpfs", st.Type)
	}
	f, err := os.CreateTemp("/run", "x")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := os.Remove(f.Name()); err != nil {
		t.Error(err)
	}
}

func checkOpen(t testing.TB) error {
	e, err := netnsenv.Open(t.Context(), netnsenv.Config{})
	if err != nil {
		return err
	}
	return e.Close()
}
