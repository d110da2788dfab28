// Package scenarios has tests of connection tracking that other people have written, each written anew with ctexp: one file
// and one function for each, named as the claim. Their sources:
//
// Linux, tools/testing/selftests/net/netfilter:
//
//	packetdrill/conntrack_ack_loss_stall.pkt  ack_loss_stall       a retransmission of the first segment is not INVALID
//	packetdrill/conntrack_rst_invalid.pkt     rst_invalid          only the exact RST closes an established connection
//	packetdrill/conntrack_synack_old.pkt      synack_old           an old SYN+ACK leaves the entry as it was
//	conntrack_icmp_related.sh                 icmp_related         fragmentation-needed crosses a masquerading router
//	conntrack_icmp_related.sh                 icmp_redirect        a redirect is RELATED
//	conntrack_clash.sh                        udp_clash            a second insert of one UDP flow is resolved
//	conntrack_reverse_clash.sh                reverse_clash        two sockets that speak at once keep their ports
//	conntrack_resize.sh                       resize_sysctl        the limits of the host are out of a namespace's reach
//	conntrack_resize.sh                       dump_all             count, dumps and procfs agree under a flood
//	conntrack_resize.sh                       disable              without a rule that needs it nothing is tracked
//	conntrack_dump_flush.c                    dump_by_zone         dump and flush by zone hit exactly theirs
//	nft_conntrack_helper.sh                   helper_attach        a helper attaches where a rule says so, nowhere else
//	nft_nat.sh                                local_dnat           DNAT of what the host itself sends
//	nft_nat.sh                                masquerade           masquerading hides the client, whatever its flags
//	nft_nat.sh                                port_shadow          a flow from inside can shadow a port of the router
//	nft_nat_zones.sh                          zones_same_tuple     a hundred equal clients, told apart by zones
//	nft_synproxy.sh                           synproxy             the proxy answers first and then calls the server
//	rpath.sh                                  rpath                reverse-path filters of nft and xtables count alike
//
// Open vSwitch, tests/system-traffic.at:
//
//	new connections                           udp_never_established  one direction alone is never ESTABLISHED
//	generic IP protocol                       generic_protocol       a protocol without a tracker has an entry
//	ICMP related                              icmp_related_mark      an error carries the mark of its flow
//	ICMP related 2                            icmp_midpoint          an error from the middle of the path
//	fragments out of order                    fragments_order        one entry in either order
//	zone-based timeout policy                 zone_timeout_policy    timeouts by zone
//	FTP SNAT, FTP DNAT                        ftp_passive_skew       a payload that grows and shrinks
//
// Kubernetes, test/e2e/network/conntrack.go:
//
//	#74839                                    invalid_through_nat    nothing reaches the client untranslated
//	#105657, #125467                          stale_udp              a stale entry is a black hole until it is deleted
//
// ti-mo/conntrack:
//
//	event_integration_test.go                 listen_protocols       NEW, UPDATE, DESTROY for three protocols
//	expect_integration_test.go                expectations           made, dumped, fulfilled, expired
//
// gVisor, pkg/tcpip/stack/conntrack_test.go:
//
//	window scaling                            window_scaling         a scaled window is respected
//
// Two are nobody's in particular: ftp has a whole conversation of FTP through NAT, active and passive, IPv4 and IPv6;
// kubeproxy_masquerade shows that a ruleset in the manner of kube-proxy, which those of Kubernetes use as well, acts alike
// whether it is loaded as text or by calls of nftables.Conn.
package scenarios
