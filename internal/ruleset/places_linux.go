package ruleset

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Places returns all rules and the policies that drop, without counts, once for each base chain from which they are reached. Rules that
// nothing leads to are left out. What the rules name is read from the namespace of the Ruleset.
func (s Ruleset) Places(ctx context.Context, ns Namespace, conn Conn) (all []Place, err error) {
	sets := ipsets{ctx: ctx, ns: ns}
	add := func(d Drop, noIP bool, contents string) {
		d.Rule.Handle, d.Rule.Packets, d.Rule.Bytes = 0, 0, 0
		all = append(all, Place{d.Rule, d.Hook, d.Priority, noIP, contents})
	}
	accepts := func(r nf.Rule, target string) bool { return r.Kind == nf.KindPolicy && target == "ACCEPT" }
	for _, d := range iptablesPlaced(s.legacy, func(r nf.Rule, target string) bool { return !accepts(r, target) }) {
		text, err := sets.of(d.Rule.Text, false)
		if err != nil {
			return nil, err
		}
		add(d, false, text)
	}
	for i := range s.tables {
		t := &s.tables[i]
		found, contents, err := t.found(contents{conn: conn, table: t}, &sets)
		if err != nil {
			return nil, err
		}
		if !slices.Contains([]uint8{unix.NFPROTO_INET, unix.NFPROTO_IPV4, unix.NFPROTO_IPV6}, t.family) {
			for _, d := range found {
				add(d, true, contents[d.Rule.Handle])
			}
			continue
		}
		bases, jumps := t.ways()
		for _, d := range placed(found, bases, jumps) {
			add(d, false, contents[d.Rule.Handle])
		}
	}
	return all, nil
}

// found returns all rules and policies of the table, and by the handles of rules what they name.
func (t *table) found(named contents, sets *ipsets) (found []Drop, texts map[uint64]string, err error) {
	texts = map[uint64]string{}
	for _, c := range t.chains {
		for _, r := range c.rules {
			found = append(found, Drop{Rule: r.line})
			found[len(found)-1].Rule.Handle = r.handle
			text, err := named.of(r)
			if err != nil {
				return nil, nil, fmt.Errorf("what rules of table %s name: %w", t.name, err)
			}
			ofSets, err := sets.of(r.line.Text, r.usesIPSet())
			if err != nil {
				return nil, nil, err
			}
			texts[r.handle] = text + ofSets
		}
		if c.base && c.drop {
			found = append(found, Drop{Rule: t.policy(c)})
		}
	}
	return found, texts, nil
}

// Queues reports whether a rule sends packets to the queue of that number, or may do so.
func (s Ruleset) Queues(number uint16) bool {
	in := func(first, total uint16) bool { return number >= first && int(number) < int(first)+max(1, int(total)) }
	for _, t := range s.tables {
		for _, c := range t.chains {
			for _, r := range c.rules {
				for _, e := range r.exprs {
					switch {
					case e.name == "queue":
						num, total := e.attrs[unix.NFTA_QUEUE_NUM], e.attrs[unix.NFTA_QUEUE_TOTAL]
						if len(num) < 2 || len(total) < 2 || in(binary.BigEndian.Uint16(num), binary.BigEndian.Uint16(total)) {
							return true // without a number it comes from a register
						}
					case e.name == "target" && e.text(unix.NFTA_TARGET_NAME) == "NFQUEUE":
						// struct xt_NFQ_info_v1 (include/uapi/linux/netfilter/xt_NFQUEUE.h); before that the number alone.
						info := append(slices.Clone(e.attrs[unix.NFTA_TARGET_INFO]), 0, 0, 0, 0)
						total := binary.NativeEndian.Uint16(info[2:])
						if e.u32(unix.NFTA_TARGET_REV) == 0 {
							total = 1
						}
						if in(binary.NativeEndian.Uint16(info), total) {
							return true
						}
					}
				}
			}
		}
	}
	return slices.ContainsFunc(s.legacy, func(r nf.Rule) bool {
		if iptablesTarget(r) != "NFQUEUE" {
			return false
		}
		first, total := uint64(0), uint64(1)
		words := splitWords(r.Text)
		for i, w := range words[:len(words)-1] {
			switch w {
			case "--queue-num":
				first, _ = strconv.ParseUint(words[i+1], 10, 16)
			case "--queue-balance":
				low, high, _ := strings.Cut(words[i+1], ":")
				last, _ := strconv.ParseUint(high, 10, 16)
				first, _ = strconv.ParseUint(low, 10, 16)
				total = last - first + 1
			}
		}
		return in(uint16(first), uint16(total))
	})
}
