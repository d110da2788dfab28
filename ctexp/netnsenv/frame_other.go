//go:build !linux

package netnsenv

import "github.com/ctexp/go-ctexp/ctexp/nf"

// WriteFrame says that this is no Linux.
func (l *Link) WriteFrame([]byte) (int, error) { return 0, errLinux }

// ReadFrame says that this is no Linux.
func (l *Link) ReadFrame([]byte) (int, error) { return 0, errLinux }

// HardwareAddr returns the zero MAC.
func (l *Link) HardwareAddr() nf.MAC { return nf.MAC{} }

// PeerHardwareAddr returns the zero MAC.
func (l *Link) PeerHardwareAddr() nf.MAC { return nf.MAC{} }

// WriteBy says that this is no Linux.
func (l *Link) WriteBy(func(ifindex, most int) (int, error)) (int, error) { return 0, errLinux }
