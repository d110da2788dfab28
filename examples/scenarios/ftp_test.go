package scenarios

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
)

// A conversation of FTP through a router that masquerades the client and hides the server, active and passive, IPv4 and
// IPv6: what is said about the data connection is translated, expected, and fulfilled by a connection that is RELATED.
func TestFTPThroughNAT(t *testing.T) {
	t.Parallel()
	known4, known6 := addr("203.0.113.21"), addr("2001:db8:3::21") // by which the client knows the server
	for name, tt := range map[string]struct {
		client, known, server, outer netip.Addr
		active                       bool
		said, heard                  string // of port 20001
	}{
		"active, ipv4":  {client4, known4, server4, outer4, true, "PORT 10,0,1,99,78,33\r\n", "PORT 198,51,100,1,78,33\r\n"},
		"active, ipv6":  {client6, known6, server6, outer6, true, "EPRT |2|2001:db8:1::99|20001|\r\n", "EPRT |2|2001:0db8:0002:0000:0000:0000:0000:0001|20001|\r\n"},
		"passive, ipv4": {client4, known4, server4, outer4, false, "227 Passive (198,51,100,99,78,33)\r\n", "227 Passive (203,0,113,21,78,33)\r\n"},
		// Here nothing is said that a translation would change.
		"passive, ipv6": {client6, known6, server6, outer6, false, "229 Passive (|||20001|)\r\n", "229 Passive (|||20001|)\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := router(
				table(
					natAt(nf.Prerouting, when(daddr(tt.known), dnat(tt.server, 0))),
					natAt(nf.Postrouting, when(oif("server"), masquerade())),
				),
				netnsenv.Helper{Name: "ftp", Proto: nf.TCP, Match: nf.Match{DstPort: 21}},
			)
			cfg.Probes = []nf.Probe{{Name: "related", Hook: nf.Forward, State: nf.StateRelated}}
			x := ctexp.New(t, cfg)
			port := func(a netip.Addr, p uint16) netip.AddrPort { return netip.AddrPortFrom(a, p) }
			client := x.TCP("client", packet.Flow{Src: port(tt.client, 1000), Dst: port(tt.known, 21)})
			server := x.TCP("server", packet.Flow{Src: port(tt.server, 21)})
			x.Handshake(client, server)
			greet(client, server)

			data := flow(tt.client, 1001, tt.known, 20001) // who calls for the data, and whom, as it arrives there
			translated := flow(tt.outer, 1001, tt.server, 20001)
			from, to, speaker, listener := "client", "server", server, client
			if tt.active {
				data, translated = flow(tt.server, 20, tt.outer, 20001), flow(tt.known, 20, tt.client, 20001)
				from, to, speaker, listener = to, from, listener, speaker
			}
			speaker.Write([]byte(tt.said))
			listener.Expect(peer.Segment{Payload: []byte(tt.heard)})
			listener.Ack()
			speaker.ExpectAck()
			expected := x.Expectations()
			caller, called := x.TCP(from, data), x.TCP(to, packet.Flow{Src: translated.Dst})
			x.Handshake(caller, called)
			caller.Write([]byte("data"))
			called.Read(4)

			type result struct {
				Expected, Left []nf.Tuple
				Orig, Reply    nf.Tuple
				Status         nf.Status
				Related        uint64
			}
			tuples := func(list []nf.Expectation) (tuples []nf.Tuple) {
				for _, e := range list {
					tuples = append(tuples, e.Tuple)
				}
				return tuples
			}
			e := x.Flow(data.Tuple(nf.TCP))
			want := result{
				Expected: []nf.Tuple{{Proto: nf.TCP, Src: netip.AddrPortFrom(data.Src.Addr(), 0), Dst: data.Dst}},
				Orig:     data.Tuple(nf.TCP), Reply: translated.Reverse().Tuple(nf.TCP),
				Status:  nf.Expected | nf.SeenReply | nf.Assured | nf.Confirmed | nf.SrcNAT | nf.DstNAT | nf.SrcNATDone | nf.DstNATDone,
				Related: 1,
			}
			got := result{tuples(expected), tuples(x.Expectations()), e.Orig, e.Reply, e.Status, x.Tally().Packets["related"]}
			if diff := ctexp.Diff(want, got); diff != "" {
				t.Errorf("the data connection (-want +got):\n%s", diff)
			}
		})
	}
}

// greet says what comes first on a control connection of FTP. The helper reads no line before it has seen the end of one
// (net/netfilter/nf_conntrack_ftp.c, find_nl_seq).
func greet(client, server *ctexp.TCP) {
	server.Write([]byte("220 ready\r\n"))
	client.Read(11)
	client.Write([]byte("USER anonymous\r\n"))
	server.Read(16)
	server.Write([]byte("230 welcome\r\n"))
	client.Read(13)
}
