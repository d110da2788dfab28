package dropreason_test

import (
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe/dropreason"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func TestMain(m *testing.M) {
	netnsenv.EnterWith(netnsenv.Entry{RealRoot: os.Geteuid() == 0})
	os.Exit(m.Run())
}

// web is a flow from outside to the default host.
var web = packet.Flow{
	Src: netip.MustParseAddrPort("198.18.0.2:10000"),
	Dst: netip.MustParseAddrPort("192.0.2.1:80"),
}

// lab is an Env with a Watcher.
type lab struct {
	testing.TB
	env *netnsenv.Env
	w   *dropreason.Watcher
}

func open(t testing.TB, cfg netnsenv.Config) lab {
	t.Helper()
	env, err := netnsenv.Open(t.Context(), cfg)
	needs.Check(t, err)
	t.Cleanup(func() { env.Close() })
	w, err := dropreason.Open(env)
	needs.Check(t, err)
	if slices.Contains(needs.Listed(), "BPF") {
		t.Error("CTEXP_LACKS lists BPF, which is there")
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("close the Watcher: %v", err)
		}
	})
	return lab{t, env, w}
}

func (l lab) send(link string, packets ...packet.Packet) {
	l.Helper()
	if _, err := inject.New(l.env.Link(link)).Send(l.Context(), packet.Packets(packets...)); err != nil {
		l.Fatal(err)
	}
}

func (l lab) drops() []nf.Dropped {
	l.Helper()
	var all []nf.Dropped
	for d, err := range l.w.Drops(l.Context()) {
		if err != nil {
			l.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}
