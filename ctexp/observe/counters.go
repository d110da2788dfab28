package observe

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// counter is a named counter of an nftables table.
type counter struct {
	name           string
	packets, bytes uint64
}

// The numbers of include/uapi/linux/netfilter/nf_tables.h that a named counter is told by.
const (
	nftaObjTable = 1
	nftaObjName  = 2
	nftaObjType  = 3
	nftaObjData  = 4

	nftaCounterBytes   = 1
	nftaCounterPackets = 2

	nftObjectCounter = 1
)

// decodeCounter decodes the payload of an NFT_MSG_NEWOBJ message, which begins with struct nfgenmsg. ok is false for
// an object that is no counter.
func decodeCounter(payload []byte) (c counter, ok bool, err error) {
	if len(payload) < nfnl.GenSize {
		return c, false, fmt.Errorf("nftables object of %d bytes: shorter than its header", len(payload))
	}
	var data []byte
	at := 0
	err = nfnl.Attributes(payload[nfnl.GenSize:], nfnl.GenSize, func(typ uint16, begin int, v []byte) error {
		switch {
		case typ == nftaObjName:
			c.name = strings.TrimRight(string(v), "\x00")
		case typ == nftaObjType && len(v) == 4:
			ok = binary.BigEndian.Uint32(v) == nftObjectCounter
		case typ == nftaObjData:
			data, at = v, begin
		}
		return nil
	})
	if err != nil || !ok {
		return counter{}, false, err
	}
	err = nfnl.Attributes(data, at, func(typ uint16, _ int, v []byte) error {
		switch {
		case typ == nftaCounterBytes && len(v) == 8:
			c.bytes = binary.BigEndian.Uint64(v)
		case typ == nftaCounterPackets && len(v) == 8:
			c.packets = binary.BigEndian.Uint64(v)
		}
		return nil
	})
	return c, err == nil, err
}
