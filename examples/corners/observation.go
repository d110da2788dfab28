//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/model"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

var observationCorners = []corner{
	{
		ID: "reason-link", Asks: "incoming link that the log of an INVALID packet tells", Source: "nf_log.c; nfnetlink_log.c, __build_packet_message",
		ask: experiment(reasonLink).between(),
	},
	{
		ID: "trace-steps", Asks: "steps in the trace of a packet that meets two rules and a policy", Source: "nf_tables_core.c, nft_do_chain; nf_tables_trace.c",
		ask: experiment(trace(func(steps []observe.Step) string {
			var all []string
			for _, s := range steps {
				all = append(all, fmt.Sprintf("%v %s", s.Kind, s.Verdict))
			}
			return strings.Join(all, ", ")
		})).between(traced),
	},
	{
		ID: "trace-class", Asks: "class that the trace of a packet behind conntrack tells", Source: "nf_tables_trace.c, nf_trace_fill_ct_info",
		ask: experiment(trace(func(steps []observe.Step) string {
			for _, s := range steps {
				if s.State != 0 {
					return s.State.String()
				}
			}
			return "none"
		})).between(traced),
	},
	{
		ID: "owned-tables", Asks: "tables of a process that owns them, after another one's flush of the ruleset", Source: "nf_tables_api.c, nf_tables_deltable, NFT_TABLE_F_OWNER (6001a930ce03)",
		ask: experiment(ownedTables).between(),
	},
}

func reasonLink(ctx context.Context, lab *ctexp.Lab) (string, error) {
	if _, err := lab.InjectOn(ctx, "client", packet.Packets(client(packet.FlagSYN|packet.FlagFIN, 1000, 0))); err != nil {
		return "", err
	}
	reasons, err := collect(lab.Observer.Reasons(ctx))
	switch {
	case err != nil:
		return "", err
	case len(reasons) == 0:
		return "", errors.New("nothing was logged")
	case reasons[0].Link == "":
		return "none", nil
	}
	return reasons[0].Link, nil
}

// traced is a chain with two rules and a policy, behind conntrack.
var traced = netnsenv.NFT(`table ip t {
	chain c {
		type filter hook forward priority 0; policy accept;
		meta nftrace set 1
		tcp dport 80 counter
	}
}`)

func trace(value func([]observe.Step) string) experiment {
	return func(ctx context.Context, lab *ctexp.Lab) (string, error) {
		if _, err := lab.InjectOn(ctx, "client", packet.Packets(client(packet.FlagSYN, 1000, 0))); err != nil {
			return "", err
		}
		steps, err := collect(lab.Observer.Trace(ctx))
		return value(steps), err
	}
}

func ownedTables(ctx context.Context, lab *ctexp.Lab) (string, error) {
	if err := netnsenv.NFT("flush ruleset").Load(ctx, lab.Env); err != nil {
		return "", err
	}
	if _, err := lab.Observer.Tally(ctx); err != nil {
		return "gone", nil // the probes' counters were in one
	}
	return "kept", nil
}

// conversations is how many random ones are compared with the model.
const conversations = 300

var modelCorners = []corner{{
	ID: "model", Asks: fmt.Sprintf("%d random conversations, compared with the model of Linux 6.18", conversations), Source: "ctexp/model",
	ask: experiment(likeTheModel).in(model.Kernel{}.Router()),
}}

func likeTheModel(ctx context.Context, lab *ctexp.Lab) (string, error) {
	k, err := model.KernelOf(ctx, lab)
	if err != nil {
		return "", err
	}
	found, err := model.Config{Ends: model.RouterEnds(), N: conversations, Seed: 1}.Find(ctx, lab, k.Check)
	switch {
	case err != nil:
		return "", err
	case found != nil:
		return fmt.Sprintf("not alike: %v: %v", found.Steps, found.Err), nil
	}
	return "alike", nil
}
