package ctexp_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// A program, whose main has called netnsenv.Enter, opens a Lab and asks what has happened in it.
func ExampleLab() {
	ctx := context.Background()
	lab, err := ctexp.Open(ctx, netnsenv.Config{Silent: true})
	if err != nil {
		fmt.Println(err) // errors.Is(err, errors.ErrUnsupported): this machine cannot
		return
	}
	defer lab.Close()

	lab.Inject(ctx, packet.SYNs(3, packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}))

	tally, err := lab.Observer.Tally(ctx)
	fmt.Println(tally, err)
	// Output:
	// entries 3 <nil>
}

// A test has an Experiment, whose methods have no error results. Here print stands for the test's *testing.T.
func ExampleExperiment() {
	t := &print{}
	defer t.end()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.FilterInput}})

	x.Inject(packet.SYNs(3, packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}))

	want := observe.Tally{Packets: map[string]uint64{"filter/input": 3}, Entries: 3}
	fmt.Println(x.Tally().Diff(want) == "")
	// Output:
	// true
}

// print is a ctexp.TB that prints.
type print struct{ cleanups []func() }

func (*print) Helper()                           {}
func (*print) Name() string                      { return "Example" }
func (*print) Failed() bool                      { return false }
func (*print) Logf(format string, args ...any)   { fmt.Printf(format+"\n", args...) }
func (*print) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (*print) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (*print) Skipf(format string, args ...any)  { panic(fmt.Sprintf(format, args...)) }
func (p *print) Cleanup(f func())                { p.cleanups = append(p.cleanups, f) }

func (p *print) end() {
	for _, f := range p.cleanups {
		f()
	}
}

// What a host does with single packets, one of which it sends itself.
func ExampleLab_Try() {
	ctx := context.Background()
	lab, err := ctexp.Open(ctx, netnsenv.Config{Silent: true, Trace: true, Classes: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(`table inet t {
		chain input { type filter hook input priority filter; tcp dport 22 reject; tcp dport 23 drop; }
	}`)}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lab.Close()

	trials := []ctexp.Trial{
		{Packet: packet.MustParse("tcp 198.18.0.2:10000 > 192.0.2.1:80 S")},
		{Packet: packet.MustParse("tcp 198.18.0.2:10000 > 192.0.2.1:22 S")},
		{Packet: packet.MustParse("tcp 198.18.0.2:10000 > 192.0.2.1:23 S")},
		{Packet: packet.MustParse("udp 192.0.2.1:10000 > 198.18.0.2:53")},
	}
	outcomes, err := lab.Try(ctx, trials...)
	for i, o := range outcomes {
		fmt.Println(trials[i].Packet.Tuple().Dst, o.Verdict(), o.Hooks, o.Fate.Frame.Class)
	}
	fmt.Println(err)
	// Output:
	// 192.0.2.1:80 accept [prerouting input] NEW
	// 192.0.2.1:22 reject [prerouting input] NEW
	// 192.0.2.1:23 drop [prerouting input] NEW
	// 198.18.0.2:53 accept [output postrouting] NEW
	// <nil>
}

// The same packets under two versions of a policy.
func ExampleCompare() {
	policy := func(ports string) []netnsenv.Ruleset {
		return []netnsenv.Ruleset{netnsenv.NFT(`table inet t {
			chain input { type filter hook input priority filter; policy drop; tcp dport ` + ports + ` accept; }
		}`)}
	}
	c, err := ctexp.Compare(context.Background(), netnsenv.Config{Silent: true}, []ctexp.Policy{
		{Name: "old", Rules: policy("{ 22, 80 }")},
		{Name: "new", Rules: policy("80")},
	}, packet.Packets(packet.MustParse("tcp 198.18.0.2:1 > 192.0.2.1:80 S"), packet.MustParse("tcp 198.18.0.2:2 > 192.0.2.1:22 S")))
	fmt.Println(err)
	fmt.Print(c.Diff())
	// Output:
	// <nil>
	// packet 2 on tun0: IP 198.18.0.2.2 > 192.0.2.1.22: Flags [S], seq 1, win 65535, length 0
	//   old: accepted by the host, which sends nothing
	//     entry tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=2 dport=22 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=22 dport=2
	//   new: lost in input, dropped by nft inet t input: policy drop
	//     no entry
}

// The state of an entry after each packet, what conntrack calls the packets, and the timeouts that they give.
func ExampleLab_States() {
	ctx := context.Background()
	lab, err := ctexp.Open(ctx, netnsenv.Config{
		Links: []netnsenv.LinkConfig{
			{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, Routes: []netip.Prefix{netip.MustParsePrefix("198.18.0.0/16")}},
			{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lab.Close()
	web := packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("10.0.0.2:80")}

	states, err := lab.States(ctx, web.Tuple(nf.TCP), packet.Packets(packet.SYN(web), packet.SYNACK(web.Reverse()), packet.ACK(web), packet.FIN(web)))
	for _, s := range states {
		fmt.Println(s)
	}
	expired, err2 := lab.Age(ctx, 200*time.Second)
	fmt.Println(err, expired, err2)
	// Output:
	// SYN_SENT [UNREPLIED]
	// SYN_RECV
	// ESTABLISHED [ASSURED]
	// FIN_WAIT [ASSURED]
	// <nil> 1 <nil>
}

// What became of a packet, and why.
func ExampleFate() {
	ctx := context.Background()
	lab, err := ctexp.Open(ctx, netnsenv.Config{Silent: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lab.Close()
	lab.Inject(ctx, packet.Packets(packet.MustParse("tcp 198.18.0.2:1 > 203.0.113.9:80 S")))

	fates, err := lab.Fates(ctx)
	for _, f := range fates {
		fmt.Println(f.Lost, f.Causes[0].Kind)
	}
	fmt.Println(err)
	// Output:
	// true not forwarding
	// <nil>
}

// Values of packets and addresses are compared by what they are.
func ExampleDiff() {
	a, b := packet.MustParse("udp 198.18.0.2:1 > 192.0.2.1:53"), packet.MustParse("udp 198.18.0.2:1 > 192.0.2.1:53")
	fmt.Printf("%q\n", ctexp.Diff(a, b))
	// Output:
	// ""
}
