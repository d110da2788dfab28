package ruleset

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Places returns all rules and the policies that drop, without counts, once for each base chain from which they are reached. Rules that
// nothing leads to are left out.
func (s Ruleset) Places() (all []Place) {
	add := func(d Drop, noIP, contents bool) {
		d.Rule.Handle, d.Rule.Packets, d.Rule.Bytes = 0, 0, 0
		all = append(all, Place{d.Rule, d.Hook, d.Priority, noIP, contents})
	}
	accepts := func(r nf.Rule, target string) bool { return r.Kind == nf.KindPolicy && target == "ACCEPT" }
	for _, d := range iptablesPlaced(s.legacy, func(r nf.Rule, target string) bool { return !accepts(r, target) }) {
		add(d, false, usesSets.MatchString(d.Rule.Text))
	}
	for _, t := range s.tables {
		var found []Drop
		contents := map[uint64]bool{} // by handle
		for _, c := range t.chains {
			for _, r := range c.rules {
				found = append(found, Drop{Rule: r.line})
				found[len(found)-1].Rule.Handle = r.handle
				contents[r.handle] = r.usesContents()
			}
			if c.base && c.drop {
				found = append(found, Drop{Rule: t.policy(c)})
			}
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
	return all
}

// usesContents reports whether what the rule does depends on something with a name that its text does not show: the elements of a set,
// an object, a set of ipset.
func (r rule) usesContents() bool {
	return slices.ContainsFunc(r.exprs, func(e expression) bool {
		switch e.name {
		case "lookup":
			return !strings.HasPrefix(e.text(unix.NFTA_LOOKUP_SET), "__") // those of anonymous sets and maps are in the text
		case "dynset", "objref":
			return true
		case "match":
			return e.text(unix.NFTA_MATCH_NAME) == "set"
		}
		return false
	})
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
