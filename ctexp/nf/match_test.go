package nf_test

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func flow(src, dst string) packet.Flow {
	return packet.Flow{Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst)}
}

var (
	web4 = flow("198.18.0.2:10000", "192.0.2.1:80")
	web6 = flow("[2001:db8:1::2]:10000", "[2001:db8::1]:80")
)

func TestMatchPrintsItselfLikeNft(t *testing.T) {
	t.Parallel()
	m := nf.Match{In: "tun0", Src: netip.MustParsePrefix("198.18.0.0/15"), Proto: nf.TCP, DstPort: 80}
	if got, want := m.String(), "iifname tun0 ip saddr 198.18.0.0/15 tcp dport 80"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for want, m := range map[string]nf.Match{
		"tcp flags & (syn) == syn":             {Proto: nf.TCP, Flags: packet.FlagSYN},
		"tcp flags & (syn | rst | ack) == syn": {Proto: nf.TCP, Flags: packet.FlagSYN, FlagsMask: packet.FlagSYN | packet.FlagACK | packet.FlagRST},
		"tcp flags & (fin) == 0x0":             {Proto: nf.TCP, FlagsMask: packet.FlagFIN},
	} {
		if got := m.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
