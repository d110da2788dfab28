// Package cases tests rules with lines of text: a packet, and behind it what should become of it.
//
//	# The office may not send mail by itself.
//	tcp 10.0.0.20:40000 > 198.51.100.9:25 S => reject
//
//	tcp 198.18.0.2:10000 > 192.0.2.1:443 S => out dmz tcp 198.18.0.2:10000 > 10.0.1.80:443 S
//	tcp 10.0.1.80:443 > 198.18.0.2:10000 SA => out wan tcp 192.0.2.1:443 > 198.18.0.2:10000 SA
//	in lan tcp 198.18.0.2:10000 > 192.0.2.1:443 . => drop
//
// Packets are written as packet.Parse reads them, which is also how captures, reports and tcpdump print them. "in LINK" before a
// packet says on which link it comes in; else it is the one that its source is behind, and a packet from an address of the
// host is sent by the host itself. Behind "=>" stands what is expected:
//
//	accept             it is delivered to the host, or leaves it
//	drop               a rule, a policy, conntrack or NAT drops it
//	reject             a rule drops it, and the host answers
//	lost               it is lost for another reason: no route, a wrong checksum, the hop limit
//	held               it waits in a queue (NFQUEUE), or for the other fragments
//	host               it is delivered to the host
//	out LINK           it leaves on this link
//	out LINK PACKET    it leaves on this link as this packet
//
// Of the PACKET the protocol, addresses, ports, flags, type and code are compared, and the fields that the line names, such as
// ttl 63. Lines that follow each other are a block, in which the state of the firewall is kept. An empty line ends it, and
// the next block begins with a new namespace. What follows a "#" is a comment; a line with nothing else ends no block.
//
// Before the first packet a file may say what it needs: "rules FILE", and "link" with what ParseLinks reads.
//
//	rules firewall.nft
//	link wan 192.0.2.1/24 default
//	link lan 10.0.0.1/24
//
// In a go test, all failures are reported with their lines and with the way of each packet through the rules:
//
//	func TestFirewall(t *testing.T) {
//		t.Parallel()
//		cases.Test(t, "firewall.cases")
//	}
//
// The program cmd/ctexp does the same without Go: ctexp try -cases firewall.cases.
package cases
