package ctexp_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/redtest"
)

// reject refuses all that is to be forwarded, by a reset (1) or by an ICMP error (0).
func reject(typ uint32, code uint8) netnsenv.Ruleset {
	return netnsenv.NFTables(func(c *nftables.Conn) error {
		table := c.AddTable(&nftables.Table{Name: "refuse", Family: nftables.TableFamilyIPv4})
		chain := c.AddChain(&nftables.Chain{
			Table: table, Name: "forward", Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
		})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Reject{Type: typ, Code: code}}})
		return c.Flush()
	})
}

// When the router rejects a packet, neither its sender nor its receiver waits any longer.
func TestRefusedConversationsFailAtOnce(t *testing.T) {
	t.Parallel()
	icmp := []netnsenv.Ruleset{reject(0, 13)}
	client := func(x *ctexp.Experiment) *ctexp.TCP { return x.TCP("tun0", packet.Flow{Src: inside, Dst: outside}) }
	handshake := func(x *ctexp.Experiment) { x.Handshake(client(x), x.TCP("tun1", packet.Flow{Src: outside})) }
	for name, c := range map[string]struct {
		rules []netnsenv.Ruleset
		speak func(x *ctexp.Experiment)
		want  []string
	}{
		"connect":   {icmp, func(x *ctexp.Experiment) { client(x).Connect() }, []string{"TCP at 198.18.0.2:10000: Connect: no such segment", "ICMP"}},
		"handshake": {icmp, handshake, []string{"Handshake: step 2 of 6, the server expects [S]", "ICMP"}},
		"handshake, reset": {
			[]netnsenv.Ruleset{reject(1, 0)}, handshake, []string{"Handshake: step 2 of 6, the server expects [S]", "Flags [R.]"},
		},
		"datagram": {icmp, func(x *ctexp.Experiment) {
			u := x.UDP("tun0", packet.Flow{Src: inside, Dst: outside})
			u.Send([]byte("x"))
			u.Expect(nil)
		}, []string{"no such datagram to 198.18.0.2:10000", "ICMP"}},
		"echo": {icmp, func(x *ctexp.Experiment) {
			e := x.Echo("tun0", inside.Addr(), outside.Addr())
			e.Ping(nil)
			e.ExpectReply(nil)
		}, []string{"no such echo reply to 198.18.0.2", "ICMP"}},
		"dial": {nil, func(x *ctexp.Experiment) {
			x.TCP("tun1", packet.Flow{Src: netip.MustParseAddrPort("100.64.0.1:80")}).AcceptDial()
		}, []string{"AcceptDial: no such segment to 100.64.0.1:80: netnsenv: dial tcp 100.64.0.1:80", "network is unreachable"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := natRouter()
			cfg.Rules = append(cfg.Rules, c.rules...)
			ctexp.New(t, cfg)
			fake := &redtest.TB{}
			log := fake.Run(func(f *redtest.TB) { c.speak(ctexp.New(f, cfg)) })
			for _, want := range c.want {
				if !strings.Contains(log, want) {
					t.Errorf("want %q, got %s", want, log)
				}
			}
			if strings.Contains(log, "Inbox.Patience") {
				t.Errorf("it waited in vain: %s", log)
			}
		})
	}
}

func TestNilArgumentsPanicAtOnce(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, natRouter())
	client := x.TCP("tun0", packet.Flow{Src: inside, Dst: outside})
	for name, f := range map[string]func(){
		"handshake": func() { x.Handshake(client, nil) },
		"teardown":  func() { x.Teardown(nil, client) },
		"rules":     func() { x.Load(nil) },
		"dial":      func() { _, _ = x.Lab.AcceptDial(t.Context(), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r, ok := recover().(string); !ok || !strings.HasPrefix(r, "ctexp: ") {
					t.Errorf("got %v", r)
				}
			}()
			f()
		})
	}
}
