package observe

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// The numbers of include/uapi/linux/netfilter/nf_tables.h that the names of a rule's expressions are found by.
const (
	nftaRuleTable       = 1
	nftaRuleChain       = 2
	nftaRuleHandle      = 3
	nftaRuleExpressions = 4
	nftaExprName        = 1
)

// decodeNames decodes the payload of an NFT_MSG_NEWRULE message, which begins with struct nfgenmsg, to the rule's
// handle and the names of its expressions.
func decodeNames(payload []byte) (handle uint64, names []string, err error) {
	if len(payload) < nfnl.GenSize {
		return 0, nil, fmt.Errorf("nftables rule of %d bytes: shorter than its header", len(payload))
	}
	err = nfnl.Attributes(payload[nfnl.GenSize:], nfnl.GenSize, func(typ uint16, at int, v []byte) error {
		switch {
		case typ == nftaRuleHandle && len(v) == 8:
			handle = binary.BigEndian.Uint64(v)
		case typ == nftaRuleExpressions:
			return nfnl.Attributes(v, at, func(_ uint16, at int, v []byte) error {
				return nfnl.Attributes(v, at, func(typ uint16, _ int, v []byte) error {
					if typ == nftaExprName {
						names = append(names, strings.TrimRight(string(v), "\x00"))
					}
					return nil
				})
			})
		}
		return nil
	})
	return handle, names, err
}
