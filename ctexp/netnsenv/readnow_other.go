//go:build !linux

package netnsenv

// ReadNow says that this is no Linux.
func (l *Link) ReadNow([]byte) (int, error) { return 0, errLinux }

// Lost says that this is no Linux.
func (l *Link) Lost() (uint64, error) { return 0, errLinux }
