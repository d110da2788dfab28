//go:build !linux

package netnsenv

import "net"

// WriteFrame says that this is no Linux.
func (l *Link) WriteFrame([]byte) (int, error) { return 0, errLinux }

// ReadFrame says that this is no Linux.
func (l *Link) ReadFrame([]byte) (int, error) { return 0, errLinux }

// HardwareAddr returns nil.
func (l *Link) HardwareAddr() net.HardwareAddr { return nil }

// PeerHardwareAddr returns nil.
func (l *Link) PeerHardwareAddr() net.HardwareAddr { return nil }

// WriteBy says that this is no Linux.
func (l *Link) WriteBy(func(ifindex, most int) (int, error)) (int, error) { return 0, errLinux }
