package observe_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// example opens a silent host with rules and an Observer on it. In most programs ctexp.Open does this.
func example(rules string) (*netnsenv.Env, *observe.Observer) {
	ctx := context.Background()
	env, err := netnsenv.Open(ctx, netnsenv.Config{Silent: true, Trace: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(rules)}, Probes: []nf.Probe{nf.FilterInput}})
	if err != nil {
		panic(err)
	}
	o, err := observe.Open(ctx, env, observe.Config{Probes: env.Config().Probes, Path: env.PathProbes(), Silent: true})
	if err != nil {
		panic(err)
	}
	inject.New(env.Links()[0]).Send(ctx, packet.SYNs(2, packet.Flow{
		Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80"),
	}))
	return env, o
}

// What happened since Open, in several views.
func ExampleObserver() {
	env, o := example(`table inet t { chain c { type filter hook input priority filter; tcp sport 10001 counter drop; }; }`)
	defer env.Close()
	defer o.Close()
	ctx := context.Background()

	tally, err := o.Tally(ctx)
	fmt.Println(tally, err)
	for e, err := range o.Flows(ctx, nf.Filter{}) {
		fmt.Println(e, err)
	}
	for r := range o.Frames(ctx) {
		fmt.Println(r.Dir, r.Packet)
	}
	// Output:
	// filter/input 2, entries 1 <nil>
	// tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000 <nil>
	// In IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
	// In IP 198.18.0.2.10001 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
}

// The path has the place of each loss and why.
func ExamplePath() {
	env, o := example(`table inet t { chain c { type filter hook input priority filter; tcp sport 10001 counter drop; }; }`)
	defer env.Close()
	defer o.Close()

	path, err := o.Path(context.Background())
	fmt.Println(path, err)
	for _, loss := range path.Losses() {
		fmt.Println(loss.Hook, loss.Lost, loss.Causes[0].Kind, loss.Causes[0].Rule.Text)
	}
	// Output:
	// ipv4 prerouting   defrag 2 → raw 2 → conntrack 2 → mangle 2 → nat 2 → filter 2 → end 2
	//      input        mangle 2 → filter 2 → security 1 → nat 1 → confirm 1 → confirmed 1
	//                   1 of 2 lost between filter and security: dropped by nft inet t c: tcp sport 10001 counter drop [packets 1 bytes 40]
	// silenced output   1 of the host's own packets, before conntrack saw them
	//  <nil>
	// input 1 rule tcp sport 10001 counter drop
}

// The rules that each packet met.
func ExampleStep() {
	env, o := example(`table inet t { chain c { type filter hook input priority filter; tcp sport 10001 drop; }; }`)
	defer env.Close()
	defer o.Close()

	for s, err := range o.Trace(context.Background()) {
		fmt.Println(s.Packet, s.Chain, s.Kind, s.Rule, s.Verdict, err)
	}
	// Output:
	// 0 c policy  accept <nil>
	// 1 c rule tcp sport 10001 drop drop <nil>
}

// The events of an entry, in the kernel's order.
func ExampleLife() {
	env, o := example(`table inet t { chain c { type filter hook input priority filter; }; }`)
	defer env.Close()
	defer o.Close()

	var events []observe.Event
	for e := range o.Events(context.Background()) {
		events = append(events, e)
	}
	flow := packet.MustParse("tcp 198.18.0.2:10001 > 192.0.2.1:80 S").Tuple()
	fmt.Println(observe.Life(events, flow))
	// Output:
	// [NEW SYN_SENT]
}

// A Tally is a plain value: it is compared with what is wanted, up to what the kernel throws dice about.
func ExampleTally_Diff() {
	got := observe.Tally{Packets: map[string]uint64{"raw/prerouting": 10, "mangle/prerouting": 7}, Entries: 7, Dropped: 3}
	want := got
	fmt.Println(got.Diff(want) == "", got)
	// Output:
	// true raw/prerouting 10, mangle/prerouting 7, entries 7, dropped 3
}

// Rules and their counters.
func ExampleRule() {
	env, o := example(`table inet t { chain c { type filter hook input priority filter; tcp sport 10001 counter drop; }; }`)
	defer env.Close()
	defer o.Close()

	rules, err := o.Rules(context.Background())
	fmt.Println(rules, err)
	// Output:
	// [nft inet t c: tcp sport 10001 counter drop [packets 1 bytes 40]] <nil>
}

// A namespace that is there already, such as that of a container, is observed by its path; nothing in it is changed.
func ExampleAt() {
	env, err := netnsenv.Open(context.Background(), netnsenv.Config{Silent: true})
	if err != nil {
		panic(err)
	}
	defer env.Close()
	place, err := observe.At(env.Path())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer place.Close()
	o, err := observe.Open(context.Background(), place, observe.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer o.Close()
	inject.New(env.Links()[0]).Send(context.Background(), packet.Packets(packet.MustParse("udp 198.18.0.2:1 > 192.0.2.1:53")))

	for e, err := range o.Flows(context.Background(), nf.Filter{}) {
		fmt.Println(e, err)
	}
	// Output:
	// udp src=198.18.0.2 dst=192.0.2.1 sport=1 dport=53 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=53 dport=1 <nil>
}

// The capture becomes a file that Wireshark reads, with a comment for each packet.
func ExampleWritePcapng() {
	file, err := os.CreateTemp("", "capture")
	if err != nil {
		panic(err)
	}
	defer os.Remove(file.Name())
	frames := []packet.Record{{Link: "tun0", Dir: packet.In, EtherType: packet.EtherTypeIPv4, Packet: packet.MustParse("udp 198.18.0.2:1 > 192.0.2.1:53")}}
	err = observe.WritePcapng(file, frames, func(packet.Record) string { return "dropped" })
	if err == nil {
		_, err = file.Seek(0, 0)
	}
	for r, err := range packet.ReadRecording(file) {
		fmt.Println(r.Number, r.Link, r.Dir, r.Packet, err)
	}
	fmt.Println(err)
	// Output:
	// 1 tun0 In IP 198.18.0.2.1 > 192.0.2.1.53: UDP, length 0 <nil>
	// <nil>
}
