package terminal

import (
	"os"

	"golang.org/x/sys/unix"
)

// The widths of which terminals are believed to be: in a narrower one lines are wrapped by it, in a wider one they would be
// too long to read.
const (
	minWidth = 60
	maxWidth = 160
)

// Width returns the columns of a terminal, between 60 and 160, and 0 if f is no terminal.
func Width(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	switch {
	case err != nil:
		return 0
	case size.Col == 0: // a serial line does not know
		return 80
	}
	return min(max(int(size.Col), minWidth), maxWidth)
}
