//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// corner is a question to the kernel.
type corner struct {
	ID   string
	Asks string // the question, in words
	// Source is where the kernel decides: file and symbol, with the commit that changed it where that is known. Files are
	// below net/netfilter if no folder is given.
	Source string
	ask    func(context.Context) (string, error)
}

// corners returns all questions in the order in which they are asked.
func corners() []corner {
	return slices.Concat(tcpCorners, protocolCorners, tableCorners, observationCorners, modelCorners)
}

// experiment is a question that is asked in a Lab of its own.
type experiment func(context.Context, *ctexp.Lab) (string, error)

// between asks in a router between the links "client" and "server".
func (e experiment) between(rules ...netnsenv.Ruleset) func(context.Context) (string, error) {
	return e.in(netnsenv.Config{
		Links: []netnsenv.LinkConfig{
			{Name: "client", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.1.1/24")}},
			{Name: "server", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
		Silent:  true,
		Rules:   rules,
	})
}

func (e experiment) in(cfg netnsenv.Config) func(context.Context) (string, error) {
	return func(ctx context.Context) (value string, err error) {
		lab, err := ctexp.Open(ctx, cfg)
		if err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, lab.Close()) }()
		return e(ctx, lab)
	}
}

// question is the direction in which the client asks the server.
var question = packet.Flow{Src: netip.MustParseAddrPort("10.0.1.99:10000"), Dst: netip.MustParseAddrPort("198.51.100.99:80")}

// classOf asks for the class of the last of some packets.
func classOf(packets ...packet.Packet) experiment {
	return func(ctx context.Context, lab *ctexp.Lab) (string, error) {
		classes, err := lab.Classes(ctx, packet.Packets(packets...))
		if err != nil {
			return "", err
		}
		class := classes[len(classes)-1]
		reasons, err := collect(lab.Observer.Reasons(ctx))
		if err != nil {
			return "", err
		}
		// An INVALID packet's reason is part of its class.
		if said := saidOfLast(reasons, packets[len(packets)-1]); said != "" && !strings.Contains(class, said) {
			class += ", logged: " + said
		}
		return class, nil
	}
}

// saidOfLast is what the kernel logged of a packet that was sent last.
func saidOfLast(reasons []observe.Reason, p packet.Packet) string {
	if len(reasons) == 0 {
		return ""
	}
	if last := reasons[len(reasons)-1]; bytes.Equal(last.Packet, p) {
		return last.Text
	}
	return ""
}

// entryAfter asks for the entry of the question and the timeout that it was given by the last of some packets.
func entryAfter(packets ...packet.Packet) experiment {
	return func(ctx context.Context, lab *ctexp.Lab) (string, error) {
		flow := packets[0].Tuple()
		timeouts, err := lab.Timeouts(ctx, flow, packet.Packets(packets...))
		if err != nil {
			return "", err
		}
		entry, err := lab.Observer.Get(ctx, flow, 0)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s, %v", entry.Brief(), timeouts[len(timeouts)-1]), nil
	}
}

// collect returns the elements of a sequence up to its first error.
func collect[T any](seq iter.Seq2[T, error]) (all []T, err error) {
	for v, err := range seq {
		if err != nil {
			return all, err
		}
		all = append(all, v)
	}
	return all, nil
}
