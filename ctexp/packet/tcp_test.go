package packet_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func ExampleFlow_TCP() {
	fmt.Println(web.TCP(packet.TCP{
		Flags:   packet.FlagPSH | packet.FlagACK,
		Seq:     2,
		Ack:     2,
		Payload: []byte("hello"),
	}))
	// Output: IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [P.], seq 2:7, ack 2, win 65535, length 5
}

func TestTheSegmentsFollowEachOther(t *testing.T) {
	t.Parallel()
	got := []string{}
	for p := range packet.Packets(packet.SYN(web), packet.SYNACK(web.Reverse()), packet.ACK(web), packet.FIN(web), packet.RST(web)) {
		got = append(got, p.String())
	}
	want := []string{
		"IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0",
		"IP 192.0.2.1.80 > 198.18.0.2.10000: Flags [S.], seq 1, ack 2, win 65535, length 0",
		"IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [.], seq 2, ack 2, win 65535, length 0",
		"IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [F.], seq 2, ack 2, win 65535, length 0",
		"IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [R], seq 2, win 65535, length 0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("segments (-want +got):\n%s", diff)
	}
}

func ExampleTCPFlags() {
	f := packet.FlagSYN | packet.FlagACK
	fmt.Println(f, f.Contains(packet.FlagACK), f.Contains(packet.FlagACK|packet.FlagFIN))
	// Output: S. true false
}

func TestFlagsAreTheBitsOfTheHeader(t *testing.T) {
	t.Parallel()
	for bits := range 256 {
		p := web.TCP(packet.TCP{Flags: packet.TCPFlags(bits)})
		if got := p[33]; int(got) != bits {
			t.Errorf("flags %v are %#x in the header", packet.TCPFlags(bits), got)
		}
	}
}

// A segment is read as it was built; a truncated or malformed one as far as possible.
func TestASegmentIsReadAsItWasBuilt(t *testing.T) {
	t.Parallel()
	built := packet.TCP{
		Flags: packet.FlagPSH | packet.FlagACK | packet.FlagURG, Seq: 10, Ack: 20, Window: 30, Urgent: 1, Payload: []byte("data"),
		Options: []packet.TCPOption{packet.MSS(1460), packet.SACKPermitted(), packet.NOP(), packet.SACK([2]uint32{1, 2}), {Kind: 254, Data: []byte("x")}},
	}
	for name, f := range map[string]packet.Flow{"ipv4": web, "ipv6": web6} {
		p := f.TCP(built)
		got, ok := p.TCP()
		if diff := cmp.Diff(built, got, cmpopts.EquateEmpty()); diff != "" || !ok {
			t.Errorf("%s: %v (-built +read):\n%s", name, ok, diff)
		}
		if got, ok = p.With(packet.DataOffset(15)).TCP(); !ok || got.Payload != nil || got.Options != nil || got.Seq != 10 {
			t.Errorf("%s: with a header that is longer than the packet: %+v, %v", name, got, ok)
		}
		if _, ok := p[:len(p)-len(built.Payload)-40].TCP(); ok {
			t.Errorf("%s: a header that is cut is whole", name)
		}
	}
	options := []packet.TCPOption{packet.MSS(1460)}
	if got, _ := web.TCP(packet.TCP{Flags: packet.FlagSYN, Options: options}).TCP(); !cmp.Equal(got.Options, options) {
		t.Errorf("without data: options %v, want %v", got.Options, options)
	}
	if _, ok := web.UDP(nil).TCP(); ok {
		t.Error("a datagram is a segment")
	}
}
