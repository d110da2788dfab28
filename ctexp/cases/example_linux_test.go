package cases_test

import (
	"context"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/cases"
)

// Packets, what is expected of them, and how a failure looks.
func ExampleSuite_Run() {
	rules, err := cases.Rules("my.nft", `table inet t {
		chain input { type filter hook input priority filter; policy drop; tcp dport 80 accept; }
	}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := cases.Parse("my.cases", `
link eth0 192.0.2.1/24 default

tcp 198.18.0.2:10000 > 192.0.2.1:80 S => accept
tcp 198.18.0.2:10000 > 192.0.2.1:22 S => accept
`)
	if err != nil {
		fmt.Println(err)
		return
	}

	r, err := s.Run(context.Background(), cases.Config(s.Links, rules))
	fmt.Println(r, err)
	// Output:
	// my.cases:5: want accept, got drop
	//     tcp 198.18.0.2:10000 > 192.0.2.1:22 S => accept
	//       comes in on eth0: prerouting, input; NEW
	//       inet t input: policy drop
	//       drop: dropped by nft inet t input: policy drop
	//       no entry
	// my.cases: 2 cases in 1 block, 1 failed <nil>
}

// Errors have the place in the file.
func ExampleParse() {
	_, err := cases.Parse("my.cases", "tcp 198.18.0.2:10000 > 192.0.2.1:80 S => block\n")
	fmt.Println(err)
	// Output:
	// my.cases:1:42: "block" is no expectation: want accept, drop, reject, lost, held, host or out LINK
}

// Links as they are typed, and as ip -brief address and ip route print them.
func ExampleParseLinks() {
	links, err := cases.ParseLinks("eth0@if7  UP  192.0.2.1/24\ndefault via 192.0.2.254 dev eth0\nlan 10.0.0.1/24 route 10.1.0.0/16")
	fmt.Print(cases.LinksText(links), err)
	// Output:
	// eth0 192.0.2.1/24 default
	// lan 10.0.0.1/24 route 10.1.0.0/16
	// <nil>
}

// An expectation is compared with an Outcome.
func ExampleWant() {
	want, err := cases.ParseWant("drop")
	fmt.Println(want, want.Differs(ctexp.Outcome{}), err)
	// Output:
	// drop want drop, got accept <nil>
}
