// Package xtables finds the iptables binaries and opens go-iptables handles on them.
package xtables

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Variant is one of the two iptables: both speak the same language, to different parts of the kernel.
type Variant string

// The variants by the names of their binaries.
const (
	Legacy Variant = "iptables-legacy"
	NFT    Variant = "iptables-nft"
)

// Binary returns the name of the variant's program for a family, with a suffix such as "" or "-restore":
// iptables-legacy-restore, ip6tables-nft.
func (v Variant) Binary(f nf.Family, suffix string) (string, error) {
	var kind string
	switch v {
	case Legacy:
		kind = "legacy"
	case NFT:
		kind = "nft"
	default:
		return "", fmt.Errorf("iptables variant %q: want %q or %q", v, Legacy, NFT)
	}
	if f == nf.IPv6 {
		return "ip6tables-" + kind + suffix, nil
	}
	return "iptables-" + kind + suffix, nil
}
