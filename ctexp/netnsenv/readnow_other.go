//go:build !linux

package netnsenv

// ReadNow says that this is no Linux.
func (l *Link) ReadNow([]byte) (int, error) { return 0, errLinux }
