package ruleset

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/netfilter"
	"golang.org/x/sys/unix"
)

// Generation returns the number of the ruleset of nftables, which each transaction of anybody in the namespace increments
// (net/netfilter/nf_tables_api.c, nf_tables_commit). As long as it is the same, rules and their texts are the same; counters are not.
func Generation(conn Conn) (uint32, error) {
	req, err := netfilter.MarshalNetlink(netfilter.Header{
		SubsystemID: netfilter.NFSubsysNFTables, MessageType: unix.NFT_MSG_GETGEN, Flags: netlink.Acknowledge,
	}, nil)
	if err != nil {
		return 0, err
	}
	answers, err := conn.Query(req)
	if err != nil {
		return 0, fmt.Errorf("read the generation of nftables: %w", err)
	}
	for _, m := range answers {
		if _, a, err := decodeMessage(m.Data); err == nil {
			return a.u32(unix.NFTA_GEN_ID), nil
		}
	}
	return 0, errors.New("read the generation of nftables: there is no answer")
}
