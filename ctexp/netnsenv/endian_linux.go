package netnsenv

import "encoding/binary"

// networkOrder is the order of the numbers in nfnetlink's attributes.
var networkOrder = binary.BigEndian
