package scenarios

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Open vSwitch, tests/system-traffic.at, "conntrack - ICMP related": a port unreachable about a datagram that a socket of the
// host has sent is RELATED and carries the mark of the datagram's entry. The socket is told.
func TestICMPErrorCarriesTheMarkOfItsFlow(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		remote netip.Addr
		code   uint8
	}{
		"ipv4": {remote4, layers.ICMPv4CodePort},
		"ipv6": {remote6, layers.ICMPv6CodePortUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := host(table(filterAt(nf.Output, nf.PriorityFilter, when(proto(nf.UDP), setCTMark(1)))))
			cfg.Probes = []nf.Probe{{Name: "related", Hook: nf.Input, State: nf.StateRelated, Mark: 1, MarkMask: ^uint32(0)}}
			x := ctexp.New(t, cfg)
			socket, err := x.Env.Dial(t.Context(), "udp", netip.AddrPortFrom(tt.remote, 10000).String())
			ctexp.Require(t, "dial", err)

			_, err = socket.Write([]byte("a"))
			ctexp.Require(t, "send", err)
			sent := x.Expect(packet.Match{Proto: nf.UDP, Payload: []byte("a")})
			x.Inject(packet.Packets(packet.Unreachable(tt.remote, tt.code, sent)))
			_, err = socket.Read(make([]byte, 1))

			want := map[string]uint64{"related": 1}
			if diff := ctexp.Diff(want, x.Tally().Packets); diff != "" {
				t.Errorf("packets with the mark (-want +got):\n%s", diff)
			}
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("the socket says %v, want ECONNREFUSED", err)
			}
		})
	}
}
