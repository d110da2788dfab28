package netnsenv_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Without Links the host is 192.0.2.1 and has one. Silent, it resets nothing. main has called netnsenv.Enter before.
func ExampleOpen() {
	env, err := netnsenv.Open(context.Background(), netnsenv.Config{Silent: true})
	if err != nil {
		fmt.Println(err) // errors.Is(err, errors.ErrUnsupported): this machine cannot
		return
	}
	defer env.Close()

	link := env.Links()[0]
	inject.New(link).Send(context.Background(), packet.SYNs(3, packet.Flow{
		Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80"),
	}))
	n, err := env.Table().Count()
	fmt.Println(link.Name(), link.Prefixes(), n, err)
	// Output:
	// tun0 [192.0.2.1/24] 3 <nil>
}

// A router between two links, with rules of nft.
func ExampleConfig() {
	env, err := netnsenv.Open(context.Background(), netnsenv.Config{
		Links: []netnsenv.LinkConfig{
			{Name: "wan", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, Routes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}},
			{Name: "lan", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
		Rules: []netnsenv.Ruleset{netnsenv.NFT(`table ip nat {
			chain postrouting { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
		}`)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer env.Close()

	inject.New(env.Link("lan")).Send(context.Background(), packet.Packets(packet.MustParse("udp 10.0.0.2:4000 > 198.51.100.7:53")))
	n, err := env.Table().Flush(context.Background(), nf.Filter{Addr: netip.MustParsePrefix("192.0.2.1/32"), Port: 53})
	fmt.Println(n, err) // the entry of the flow, whose answers go to the outer address
	// Output:
	// 1 <nil>
}

// A text that names what is not there has one error with all of it.
func ExampleNFT() {
	_, err := netnsenv.Open(context.Background(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.NFT(`
table inet t {
	chain input {
		type filter hook input priority filter;
		iifname "docker0" accept
		jump blocked
	}
}`)}})
	var rules *netnsenv.RulesError
	if errors.As(err, &rules) {
		for _, p := range rules.Problems {
			fmt.Printf("line %d: %s\n", p.Line, p.Why)
		}
	}
	// Output:
	// line 5: there is no link "docker0", only lo, tun0 (MissingLinks allows it)
	// line 6: there is no chain "blocked"
}

// Rules that name links of another machine are loaded if the links may be missing.
func ExampleMissingLinks() {
	rules := netnsenv.NFT(`table inet t { chain c { iifname { "docker0", "eth7" } accept; }; }`)
	fmt.Println(netnsenv.LinksOf(rules))
	env, err := netnsenv.Open(context.Background(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.MissingLinks(rules, "docker*", "eth7")}})
	if err == nil {
		err = env.Close()
	}
	fmt.Println(err)
	// Output:
	// [docker0 eth7]
	// <nil>
}

// An experiment begins with the state of another machine.
func ExampleListing() {
	env, err := netnsenv.Open(context.Background(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.Listing(
		"udp 17 29 src=198.18.0.2 dst=192.0.2.1 sport=1 dport=53 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=53 dport=1 mark=7")}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer env.Close()
	n, err := env.Table().Flush(context.Background(), nf.Filter{Mark: 7, MarkMask: 7})
	fmt.Println(n, err)
	// Output:
	// 1 <nil>
}

// Entries are made, made older, and counted, without any packet.
func ExampleTable() {
	ctx := context.Background()
	env, err := netnsenv.Open(ctx, netnsenv.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer env.Close()

	flow := packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:1"), Dst: netip.MustParseAddrPort("192.0.2.1:53")}.Tuple(nf.UDP)
	err = env.Table().Create(nf.Entry{Orig: flow, Reply: flow.Reverse(), Timeout: 30 * time.Second, Status: nf.Confirmed})
	n, _ := env.Table().Count()
	fmt.Println(n, err)
	expired, err := env.Age(ctx, time.Minute)
	n, _ = env.Table().Count()
	fmt.Println(n, expired, err)
	// Output:
	// 1 <nil>
	// 0 1 <nil>
}

// Programs run inside, with the network of the Env.
func ExampleEnv_Command() {
	ctx := context.Background()
	env, err := netnsenv.Open(ctx, netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.NFT("table inet t { }")}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer env.Close()
	out, err := env.Command(ctx, "cat", "/proc/net/if_inet6").Output()
	fmt.Println(len(out), err) // there is no IPv6 unless a link has an address of it
	// Output:
	// 0 <nil>
}

// Sysctls have the names of conntrack's states.
func ExampleTimeoutSysctl() {
	fmt.Println(netnsenv.TimeoutSysctl(nf.TCP, "time_wait"))
	fmt.Println(netnsenv.TimeoutStates(nf.UDP))
	// Output:
	// net.netfilter.nf_conntrack_tcp_timeout_time_wait
	// [unreplied replied]
}
