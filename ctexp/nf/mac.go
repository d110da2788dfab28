package nf

import "net"

// MAC is an address of Ethernet: nf.MAC{2, 0, 0, 0, 0, 1}, nf.MAC(iface.HardwareAddr). The zero MAC is none.
type MAC [6]byte

// String returns "02:00:00:00:00:01".
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }
