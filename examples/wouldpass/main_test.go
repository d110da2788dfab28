package main

import (
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func TestMain(m *testing.M) { ctexp.Main(m) }

func TestArgumentsBecomeAPacket(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, want string }{
		{"tcp 198.18.0.2:4000 192.0.2.1:22", "IP 198.18.0.2.4000 > 192.0.2.1.22: Flags [S]"},
		{"udp [2001:db8::2]:4000 [2001:db8::1]:53", "IP6 2001:db8::2.4000 > 2001:db8::1.53: UDP"},
		{"tcp 198.18.0.2:4000 [2001:db8::1]:53", "different families"},
		{"icmp 198.18.0.2:4000 192.0.2.1:22", `protocol "icmp"`},
		{"tcp 198.18.0.2 192.0.2.1:22", "not an ip:port"},
		{"tcp", "three arguments"},
	} {
		p, _, err := parse(strings.Fields(tt.args))
		if got := said(p, err); !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q in it", tt.args, got, tt.want)
		}
	}
}

func said(p packet.Packet, err error) string {
	if err != nil {
		return err.Error()
	}
	return p.String()
}

func TestItRuns(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"tcp 198.18.0.2:4000 192.0.2.1:22", "udp [2001:db8:1::2]:4000 [2001:db8::1]:53"} {
		ctexp.Require(t, "run", run(t.Context(), "", strings.Fields(args)))
	}
}
