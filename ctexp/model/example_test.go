package model_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/model"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Whatever the two sides do, nothing from outside reaches the inside before the inside has sent something out.
func ExampleForAll() {
	policy := `table ip filter {
		chain forward {
			type filter hook forward priority filter; policy drop;
			ct state established,related accept
			iifname "tun0" ct state new accept
		}
	}`
	firewall := netnsenv.Config{
		Links: []netnsenv.LinkConfig{
			{Name: "tun0", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}},
			{Name: "tun1", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
		Rules:   []netnsenv.Ruleset{netnsenv.NFT(policy), model.Classes()},
	}
	ends := [2]model.Place{
		{Link: "tun0", Addr: netip.MustParseAddrPort("10.0.0.2:22")},  // A is inside,
		{Link: "tun1", Addr: netip.MustParseAddrPort("192.0.2.2:53")}, // B is outside
	}
	unlessAsked := func(h model.History) error {
		asked := false
		for i, got := range h.Happened {
			switch {
			case got.Delivered == nil:
			case h.Steps[i].From == model.A:
				asked = true
			case !asked:
				return errors.New("it has reached the inside unasked")
			}
		}
		return nil
	}

	var _ = func(t *testing.T) {
		x := ctexp.New(t, firewall)
		model.ForAll(t, x.Lab, model.Config{Ends: ends}, unlessAsked)
	}
}

// The smallest conversation in which an answer comes too late, found without a kernel: a function says which fail.
func ExampleShrink() {
	c := model.Conversation{Proto: nf.UDP, Steps: []model.Step{
		{Len: 20},
		{From: model.B, Len: 40},
		{Pass: 31 * time.Second},
		{Len: 20},
		{From: model.B},
	}}
	late := func(c model.Conversation) bool {
		passed := time.Duration(0)
		for _, s := range c.Steps {
			if passed += s.Pass; s.Pass == 0 && s.From == model.B && passed > 30*time.Second {
				return true
			}
		}
		return false
	}

	fmt.Print(model.Shrink(c, late))
	// Output:
	//  1 31s pass
	//  2 B < udp
}

// A conversation as Go source, as a failure prints it.
func ExampleConversation_GoString() {
	c := model.Conversation{Proto: nf.TCP, Steps: []model.Step{
		{Flags: packet.FlagSYN, Seq: 1, Window: 65535},
		{Pass: 121 * time.Second},
		{From: model.B, Flags: packet.FlagRST | packet.FlagACK, Ack: 2},
	}}

	fmt.Printf("%#v\n", c)
	// Output:
	// model.Conversation{Proto: nf.TCP, Steps: []model.Step{
	// 	{Flags: packet.FlagSYN, Seq: 1, Window: 65535},
	// 	{Pass: 121 * time.Second},
	// 	{From: model.B, Flags: packet.FlagRST | packet.FlagACK, Ack: 2},
	// }}
}
