package observe

import (
	"encoding/binary"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// More numbers of include/uapi/linux/netfilter/nf_tables.h.
const (
	nftaExprData    = 2
	nftaCtDirection = 3
)

// withDirection marks the direction of a ct expression that has one: zero is a direction, too.
const withDirection = 1 << 8

// mendRule makes a number of four bytes, as google/nftables reads it, of the one byte that the kernel has for the direction of
// a ct expression ("ct original zone"), with withDirection set. The payload of an NFT_MSG_NEWRULE message is changed in place,
// where the padding has room for it.
func mendRule(payload []byte) error {
	if len(payload) < nfnl.GenSize {
		return nil // decodeNames says so
	}
	return nfnl.Attributes(payload[nfnl.GenSize:], nfnl.GenSize, func(typ uint16, at int, v []byte) error {
		if typ != nftaRuleExpressions {
			return nil
		}
		return nfnl.Attributes(v, at, func(_ uint16, at int, v []byte) error {
			isCt := false
			return nfnl.Attributes(v, at, func(typ uint16, at int, v []byte) error {
				switch {
				case typ == nftaExprName:
					isCt = string(v) == "ct\x00"
				case typ == nftaExprData && isCt:
					return nfnl.Attributes(v, at, func(typ uint16, at int, v []byte) error {
						if typ == nftaCtDirection && len(v) == 1 && at+4 <= len(payload) {
							binary.BigEndian.PutUint32(payload[at:], withDirection|uint32(v[0]))
							binary.NativeEndian.PutUint16(payload[at-nfnl.AttributeSize:], nfnl.AttributeSize+4)
						}
						return nil
					})
				}
				return nil
			})
		})
	})
}
