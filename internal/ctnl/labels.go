package ctnl

import (
	"encoding/hex"
	"fmt"
)

// labelBytes is the size of a set of labels (include/net/netfilter/nf_conntrack_labels.h, NF_CT_LABELS_MAX_SIZE).
const labelBytes = 16

// labels returns the bytes of a set of labels, and panics if s is none.
func labels(s string) []byte {
	if s == "" {
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) > labelBytes {
		panic(fmt.Sprintf("ctnl: labels %q: want at most %d bytes in hexadecimal", s, labelBytes))
	}
	return append(b, make([]byte, labelBytes-len(b))...)
}
