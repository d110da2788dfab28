package scenarios

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
)

// Open vSwitch, tests/system-traffic.at, "conntrack - IPv4 FTP Passive with DNAT", "… DNAT 2" and "… with reverse skew": the
// address in the server's answer to PASV is rewritten to a longer or to a shorter one, and from then on sequence numbers of
// the one direction and acknowledgements of the other are shifted by the difference.
func TestFTPThatGrowsOrShrinksKeepsItsNumbers(t *testing.T) {
	t.Parallel()
	const said = "227 Entering Passive Mode (198,51,100,99,78,32)\r\n"
	for name, tt := range map[string]struct {
		known string // by which the client knows the server
		heard string
		shift int32
	}{
		"longer":  {"100.100.100.100", "227 Entering Passive Mode (100,100,100,100,78,32)\r\n", 2},
		"shorter": {"192.0.2.1", "227 Entering Passive Mode (192,0,2,1,78,32)\r\n", -4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, router(
				table(natAt(nf.Prerouting, when(daddr(addr(tt.known)), dnat(server4, 0)))),
				netnsenv.Helper{Name: "ftp", Proto: nf.TCP, Match: nf.Match{DstPort: 21}},
			))
			client := x.TCP("client", flow(client4, 1000, addr(tt.known), 21))
			server := x.TCP("server", packet.Flow{Src: flow(server4, 21, server4, 0).Src})
			x.Handshake(client, server)
			greet(client, server)

			server.Write([]byte(said))
			client.Expect(peer.Segment{Payload: []byte(tt.heard)})
			client.Ack()
			server.ExpectAck() // of all that it has said, in its own numbers
			client.Write([]byte("LIST\r\n"))
			server.Expect(peer.Segment{Payload: []byte("LIST\r\n")})
			server.Write([]byte("150 here\r\n"))
			client.Expect(peer.Segment{Seq: new(uint32(1 + 11 + 13 + len(tt.heard))), Payload: []byte("150 here\r\n")})

			want := nf.DirSeqShift{Reply: nf.SeqShift{After: tt.shift}}
			got := x.Flow(client.Flow().Tuple(nf.TCP)).SeqAdjust
			got.Reply.Position = 0
			if diff := ctexp.Diff(want, got); diff != "" {
				t.Errorf("shifts of the sequence numbers (-want +got):\n%s", diff)
			}
		})
	}
}
