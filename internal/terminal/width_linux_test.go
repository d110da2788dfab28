package terminal

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func TestWidthIsThatOfTheTerminalWithinLimits(t *testing.T) {
	t.Parallel()
	pty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		needs.Check(t, &nf.UnsupportedError{Need: "/dev/ptmx", Hint: "mount devpts", Err: err})
	}
	defer pty.Close()
	for columns, want := range map[uint16]int{0: 80, 20: 60, 60: 60, 100: 100, 160: 160, 500: 160} {
		if err := unix.IoctlSetWinsize(int(pty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: columns}); err != nil {
			t.Fatal(err)
		}
		if got := Width(pty); got != want {
			t.Errorf("%d columns: width %d, want %d", columns, got, want)
		}
		if _, wraps := Output(pty).(*writer); !wraps {
			t.Errorf("%d columns: the terminal is not wrapped", columns)
		}
		if Data(Output(pty)) != pty || Data(pty) != pty {
			t.Errorf("%d columns: data does not go to the terminal as it is", columns)
		}
	}
}
