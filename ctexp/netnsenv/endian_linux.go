package netnsenv

import "encoding/binary"

// networkOrder is the order of the numbers in nfnetlink's attributes.
var networkOrder = binary.BigEndian

func nativeUint16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }
