package scenarios

import (
	"net/netip"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// kubeProxy is what kube-proxy in its nftables mode makes of one service with two endpoints, shortened to what matters: the
// service's address is looked up in a map of verdicts, an endpoint is chosen in turn, who calls from outside the cluster is
// marked and masqueraded, and packets that conntrack calls INVALID are not forwarded. (kube-proxy throws dice for the
// endpoint and for the port of a masqueraded caller.)
type kubeProxy struct {
	Proto       string // "tcp" or "udp"
	Endpoints   [2]netip.AddrPort
	LetsInvalid bool // without the rule of kubernetes #74839
}

// service is the address that clients know.
var service = netip.AddrPortFrom(addr("172.30.0.41"), 80)

// renderings are the two ways to load it, both of which replace what is there.
func (k kubeProxy) renderings() map[string]netnsenv.Ruleset {
	return map[string]netnsenv.Ruleset{"text": k.text(), "nftables.Conn": k.conn()}
}

// text is the ruleset as nft has it.
func (k kubeProxy) text() netnsenv.Ruleset {
	forward := "ct state invalid drop"
	if k.LetsInvalid {
		forward = ""
	}
	return netnsenv.NFT(strings.NewReplacer("PROTO", k.Proto, "FORWARD", forward,
		"ENDPOINT1", k.Endpoints[0].Addr().String(), "TARGET1", k.Endpoints[0].String(),
		"ENDPOINT2", k.Endpoints[1].Addr().String(), "TARGET2", k.Endpoints[1].String()).Replace(`
add table ip kube-proxy
delete table ip kube-proxy
table ip kube-proxy {
	map service-ips {
		type ipv4_addr . inet_proto . inet_service : verdict
		elements = { 172.30.0.41 . PROTO . 80 : goto service }
	}
	chain filter-forward {
		type filter hook forward priority filter;
		FORWARD
	}
	chain nat-prerouting {
		type nat hook prerouting priority dstnat;
		jump services
	}
	chain nat-postrouting {
		type nat hook postrouting priority srcnat;
		jump masquerading
	}
	chain services {
		ip daddr . meta l4proto . th dport vmap @service-ips
	}
	chain masquerading {
		meta mark & 0x4000 == 0 return
		meta mark set meta mark ^ 0x4000
		masquerade
	}
	chain mark-for-masquerade {
		meta mark set meta mark | 0x4000
	}
	chain service {
		ip saddr != 10.0.0.0/16 jump mark-for-masquerade
		numgen inc mod 2 vmap { 0 : goto endpoint-1, 1 : goto endpoint-2 }
	}
	chain endpoint-1 {
		ip saddr ENDPOINT1 jump mark-for-masquerade
		meta l4proto PROTO dnat to TARGET1
	}
	chain endpoint-2 {
		ip saddr ENDPOINT2 jump mark-for-masquerade
		meta l4proto PROTO dnat to TARGET2
	}
}
`))
}
