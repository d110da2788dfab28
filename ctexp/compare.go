package ctexp

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// Policy is one rendering of a policy: iptables-save text of before and the nft text that is to replace it, say.
type Policy struct {
	Name  string // as the Comparison calls it
	Rules []netnsenv.Ruleset
}

// Comparison is what became of the same packets under several policies.
type Comparison struct {
	Policies []string
	Packets  []Compared
}

// Compared is what became of one packet.
type Compared struct {
	Packet   inject.Packet
	Link     string    // by which it came
	Outcomes []Outcome // in the order of the Comparison's Policies
}

// Compare puts the same packets, one after the other, to each of the policies, each in a fresh Lab of the same Config, and
// returns what became of each of them under each policy. A policy's Rules are loaded behind those of the Config. Each packet
// comes by the link that its source is behind, as in Lab.States.
//
// A policy that cannot be loaded is an error that names it; where this machine cannot do what it needs, it answers to
// errors.ErrUnsupported (see Require).
//
//	c, err := ctexp.Compare(t.Context(), cfg, policies, packets)
//	if diff := c.Diff(); diff != "" { … }
func Compare(ctx context.Context, cfg netnsenv.Config, policies []Policy, packets iter.Seq[inject.Packet]) (Comparison, error) {
	c, err := compare(ctx, cfg, policies, packets)
	if err != nil {
		return Comparison{}, fmt.Errorf("ctexp: compare: %w", err)
	}
	return c, nil
}

func compare(ctx context.Context, cfg netnsenv.Config, policies []Policy, packets iter.Seq[inject.Packet]) (Comparison, error) {
	switch {
	case len(policies) < 2:
		return Comparison{}, fmt.Errorf("%d policies: want two or more", len(policies))
	case packets == nil:
		return Comparison{}, errors.New("the sequence of packets is nil")
	}
	var c Comparison
	for i, p := range policies {
		if p.Name == "" {
			p.Name = fmt.Sprintf("policy %d", i+1)
		}
		if slices.Contains(c.Policies, p.Name) {
			return Comparison{}, fmt.Errorf("policy %q: the name is taken", p.Name)
		}
		c.Policies = append(c.Policies, p.Name)
	}
	cfg.NoPath, cfg.Trace = false, true // they say where a packet is lost, and by which rule
	all := slices.Collect(packets)
	tried := make([][]Compared, len(policies))
	errs := make([]error, len(policies))
	var wg sync.WaitGroup
	for i, p := range policies {
		wg.Go(func() {
			if tried[i], errs[i] = try(ctx, cfg, p.Rules, all); errs[i] != nil {
				errs[i] = fmt.Errorf("policy %q: %w", c.Policies[i], errs[i])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return Comparison{}, err
	}
	c.Packets = make([]Compared, len(all))
	for i := range all {
		c.Packets[i] = tried[0][i]
		for _, other := range tried[1:] {
			c.Packets[i].Outcomes = append(c.Packets[i].Outcomes, other[i].Outcomes...)
		}
	}
	return c, nil
}

// try puts the packets to one policy.
func try(ctx context.Context, cfg netnsenv.Config, rules []netnsenv.Ruleset, packets []inject.Packet) (tried []Compared, err error) {
	cfg.Rules = slices.Concat(cfg.Rules, rules)
	lab, err := Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	before := lab.look(ctx)
	for i, p := range packets {
		link := lab.linkOf(p)
		if _, err := lab.InjectBy(ctx, link, inject.Packets(p)); err != nil {
			return nil, numbered(err, i+1)
		}
		after := lab.look(ctx)
		outcome, err := lab.outcome(ctx, p, after.since(before))
		if err != nil {
			return nil, fmt.Errorf("packet %d: %w", i+1, err)
		}
		tried = append(tried, Compared{Packet: p, Link: link, Outcomes: []Outcome{outcome}})
		before = after
	}
	return tried, nil
}
