package observe_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// entry returns what Table.Create takes for a flow.
func entry(f inject.Flow, change func(*nf.Entry)) nf.Entry {
	t := f.Tuple(nf.TCP)
	e := nf.Entry{Orig: t, Reply: t.Reverse(), Status: nf.Confirmed, State: nf.Established, Timeout: 100 * time.Second}
	change(&e)
	return e
}

func TestFlowsAreFiltered(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	for _, e := range []nf.Entry{
		entry(web.Nth(3), func(e *nf.Entry) { e.Mark = 0x12 }),
		entry(web.Nth(2), func(e *nf.Entry) { e.Zone = 7 }),
		entry(web.Nth(1), func(e *nf.Entry) { e.Status |= nf.SeenReply | nf.Assured }),
		entry(web6, func(*nf.Entry) {}),
	} {
		if err := x.env.Table().Create(e); err != nil {
			t.Fatal(err)
		}
	}
	x.send(web.UDP(nil), inject.Echo(web.Src.Addr(), web.Dst.Addr(), 7, 1, nil))

	const (
		icmp   = "icmp src=198.18.0.2 dst=192.0.2.1 type=8 code=0 id=7 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 type=0 code=0 id=7"
		marked = "tcp ESTABLISHED src=198.18.0.2 dst=192.0.2.1 sport=10003 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10003 mark=18"
		zoned  = "tcp ESTABLISHED src=198.18.0.2 dst=192.0.2.1 sport=10002 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10002 zone=7"
		asured = "tcp ESTABLISHED src=198.18.0.2 dst=192.0.2.1 sport=10001 dport=80 src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10001 [ASSURED]"
		v6     = "tcp ESTABLISHED src=2001:db8:f::2 dst=2001:db8::1 sport=10000 dport=80 [UNREPLIED] src=2001:db8::1 dst=2001:db8:f::2 sport=80 dport=10000"
		udp    = "udp src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000"
	)
	for _, c := range []struct {
		name   string
		filter nf.Filter
		want   []string
	}{
		{"all", nf.Filter{}, []string{icmp, asured, zoned, marked, v6, udp}},
		{"IPv4", nf.Filter{Family: nf.IPv4}, []string{icmp, asured, zoned, marked, udp}},
		{"IPv6", nf.Filter{Family: nf.IPv6}, []string{v6}},
		{"mark", nf.Filter{Mark: 0x10, MarkMask: 0xf0}, []string{marked}},
		{"no mark", nf.Filter{MarkMask: 0xff}, []string{icmp, asured, zoned, v6, udp}},
		{"zone 7", nf.Filter{Zone: nf.InZone(7)}, []string{zoned}},
		{"zone 0", nf.Filter{Zone: nf.InZone(0)}, []string{icmp, asured, marked, v6, udp}},
		{"status", nf.Filter{Status: nf.Assured, StatusMask: nf.Assured}, []string{asured}},
		{"not assured", nf.Filter{StatusMask: nf.Assured, Proto: nf.TCP}, []string{zoned, marked, v6}},
		{"protocol", nf.Filter{Proto: nf.UDP}, []string{udp}},
		{"tuple", nf.Filter{Tuple: inject.SYN(web.Nth(3)).Tuple().Reverse()}, []string{marked}},
		{"none", nf.Filter{Mark: 1, MarkMask: 1}, nil},
	} {
		if diff := cmp.Diff(c.want, x.flows(c.filter)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// The filler never appears, whatever is asked for. The entries are assured: others the collector may take.
func TestFlowsHideTheFiller(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Room: netnsenv.Free(5)})
	for _, e := range []nf.Entry{
		entry(web, func(e *nf.Entry) { e.Status |= nf.SeenReply | nf.Assured | nf.FixedTimeout }),
		entry(web.Nth(1), func(e *nf.Entry) { e.Status |= nf.SeenReply | nf.Assured }),
	} {
		if err := x.env.Table().Create(e); err != nil {
			t.Fatal(err)
		}
	}
	const (
		fixed = "tcp ESTABLISHED src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000 [ASSURED]"
		plain = "tcp ESTABLISHED src=198.18.0.2 dst=192.0.2.1 sport=10001 dport=80 src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10001 [ASSURED]"
	)
	for _, c := range []struct {
		name   string
		filter nf.Filter
		want   []string
	}{
		{"all", nf.Filter{}, []string{plain}},
		{"zone 0", nf.Filter{Zone: nf.InZone(0)}, []string{fixed, plain}},
		{"confirmed", nf.Filter{Status: nf.Confirmed, StatusMask: nf.Confirmed}, []string{plain}},
		{"the filler's zone", nf.Filter{Zone: nf.InZone(65535)}, nil},
	} {
		if diff := cmp.Diff(c.want, x.flows(c.filter)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if got := x.tally().Entries; got != 2 {
		t.Errorf("entries: got %d, want 2", got)
	}
}

// Breaking out is no error, and a context that ends meanwhile ends the iteration.
func TestFlowsEndEarly(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.sendSYNs(10, web)
	for range x.o.Flows(t.Context(), nf.Filter{}) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for _, err := range x.o.Flows(ctx, nf.Filter{}) {
		n++
		last = err
		cancel()
	}
	if n != 2 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d steps, then %v", n, last)
	}
}

func BenchmarkFlows(b *testing.B) {
	x := open(b, netnsenv.Config{Silent: true})
	x.sendSYNs(10, web)
	for b.Loop() {
		if err := lastError(x.o.Flows(b.Context(), nf.Filter{})); err != nil {
			b.Fatal(err)
		}
	}
}
