package observe

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"github.com/ti-mo/netfilter"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// readCounters reads the named counters of a table in the order of their making. It asks for nothing but counters:
// google/nftables reads all objects of a table, and panics at a kind that it does not know.
func readCounters(conn *nfnl.Conn, family nftables.TableFamily, table string) ([]counter, error) {
	req, err := netfilter.MarshalNetlink(netfilter.Header{
		SubsystemID: netfilter.NFSubsysNFTables,
		MessageType: unix.NFT_MSG_GETOBJ,
		Family:      netfilter.ProtoFamily(family),
		Flags:       netlink.Dump,
	}, []netfilter.Attribute{
		{Type: nftaObjTable, Data: append([]byte(table), 0)},
		{Type: nftaObjType, Data: netfilter.Uint32Bytes(nftObjectCounter)},
	})
	if err != nil {
		return nil, err
	}
	objects, err := conn.Query(req)
	if err != nil {
		return nil, fmt.Errorf("read named counters of table %s: %w", table, err)
	}
	var counters []counter
	for _, o := range objects {
		c, ok, err := decodeCounter(o.Data)
		if err != nil {
			return nil, fmt.Errorf("read named counters of table %s: %w", table, err)
		}
		if ok {
			counters = append(counters, c)
		}
	}
	return counters, nil
}

// readProbes reads the packets at each probe and at the silencer, by name. A name that is not there is no error here:
// the Observer knows which it has been promised.
func readProbes(conn *nfnl.Conn) (map[string]uint64, error) {
	counters, err := readCounters(conn, nftables.TableFamilyINet, ours.Table)
	if err != nil {
		return nil, err
	}
	packets := make(map[string]uint64, len(counters))
	for _, c := range counters {
		packets[c.name] = c.packets
	}
	return packets, nil
}
