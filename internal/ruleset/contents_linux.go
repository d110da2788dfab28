package ruleset

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// contents reads what rules of a table name: the elements of sets and maps, and objects such as limits. What packets and time
// change is left out: counts, what is used of a quota, what is left of a timeout.
type contents struct {
	conn    Conn
	table   *table
	sets    map[string]string // the text of each set that was asked for
	objects map[string]string // the text of all objects by name; nil before the first is asked for
}

// of returns what a rule names as text; empty if its own text shows all.
func (c *contents) of(r rule) (text string, err error) {
	add := func(part string, e error) {
		text += part
		if err == nil {
			err = e
		}
	}
	for _, e := range r.exprs {
		switch e.name {
		case "lookup":
			if name := e.text(unix.NFTA_LOOKUP_SET); !strings.HasPrefix(name, "__") { // those of anonymous sets and maps are in the text
				add(c.set(name))
			}
		case "dynset":
			add(c.set(e.text(unix.NFTA_DYNSET_SET_NAME)))
		case "objref":
			if name := e.text(unix.NFTA_OBJREF_SET_NAME); name != "" {
				add(c.set(name))
			} else {
				add(c.object(e.text(unix.NFTA_OBJREF_IMM_NAME)))
			}
		}
	}
	return text, err
}

// set returns the elements of a set or map, sorted, because the kernel lists those of a hash table in no order.
func (c *contents) set(name string) (string, error) {
	if text, known := c.sets[name]; known {
		return text, nil
	}
	answers, err := dump(c.conn, unix.NFT_MSG_GETSETELEM, c.table.family,
		nameAttr(unix.NFTA_SET_ELEM_LIST_TABLE, c.table.name), nameAttr(unix.NFTA_SET_ELEM_LIST_SET, name))
	if err != nil {
		return "", fmt.Errorf("elements of %s: %w", name, err)
	}
	var lines []string
	for _, m := range answers {
		_, list, err := decodeMessage(m.Data)
		if err != nil {
			return "", fmt.Errorf("elements of %s: %w", name, err)
		}
		for _, e := range list.list(unix.NFTA_SET_ELEM_LIST_ELEMENTS) {
			object, err := c.object(e.text(unix.NFTA_SET_ELEM_OBJREF))
			if err != nil {
				return "", err
			}
			lines = append(lines, fmt.Sprintf("%x %x %x %x %x %s", e[unix.NFTA_SET_ELEM_KEY], e[setElemKeyEnd],
				e[unix.NFTA_SET_ELEM_FLAGS], e[unix.NFTA_SET_ELEM_DATA], e[unix.NFTA_SET_ELEM_TIMEOUT], object))
		}
	}
	slices.Sort(lines)
	if c.sets == nil {
		c.sets = map[string]string{}
	}
	c.sets[name] = fmt.Sprintf("set %s\n%s\n", name, strings.Join(lines, "\n"))
	return c.sets[name], nil
}

// object returns what is in the object of a name, or in those, if several types have one of that name; empty for an empty name.
func (c *contents) object(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	if c.objects == nil {
		c.objects = map[string]string{}
		answers, err := dump(c.conn, unix.NFT_MSG_GETOBJ, c.table.family, nameAttr(unix.NFTA_OBJ_TABLE, c.table.name))
		if err != nil {
			return "", fmt.Errorf("objects: %w", err)
		}
		for _, m := range answers {
			_, o, err := decodeMessage(m.Data)
			if err != nil {
				return "", fmt.Errorf("objects: %w", err)
			}
			c.objects[o.text(unix.NFTA_OBJ_NAME)] += objectText(o)
		}
	}
	return c.objects[name], nil
}

// objectText returns the settings of an object as text.
func objectText(o attrs) string {
	typ, in := o.u32(unix.NFTA_OBJ_TYPE), o.nested(unix.NFTA_OBJ_DATA)
	switch typ {
	case unix.NFT_OBJECT_COUNTER:
		in = nil
	case unix.NFT_OBJECT_QUOTA:
		delete(in, unix.NFTA_QUOTA_CONSUMED)
	}
	text := fmt.Sprintf("object %s of type %d", o.text(unix.NFTA_OBJ_NAME), typ)
	for _, attr := range slices.Sorted(maps.Keys(in)) {
		text += fmt.Sprintf(" %d=%x", attr, in[attr])
	}
	return text + "\n"
}

// ipsets reads the sets of ipset that rules of iptables name.
type ipsets struct {
	ctx  context.Context
	ns   Namespace
	sets map[string]string // the text of each set; nil before the first is asked for
}

var (
	// setNames finds the names of sets in a rule as iptables prints it.
	setNames = regexp.MustCompile(`--(?:match|add|del|map)-set (\S+)`)
	// setState matches what packets, time and chance change in the lines of ipset save.
	setState = regexp.MustCompile(` (?:initval|hashsize|packets|bytes) \S+`)
	setLeft  = regexp.MustCompile(`(?m)^(add .*) timeout \d+`)
)

// of returns the elements of the sets that a rule names by its text, as iptables prints it; empty if there are none. nft does not
// print the names of a rule that uses sets, so that these are all.
func (s *ipsets) of(text string, uses bool) (string, error) {
	if !uses && !usesSets.MatchString(text) {
		return "", nil
	}
	if err := s.read(); err != nil {
		return "", err
	}
	var names []string
	for _, m := range setNames.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	if names == nil {
		names = slices.Sorted(maps.Keys(s.sets))
	}
	all, done := "", map[string]bool{}
	for ; len(names) > 0; names = names[1:] {
		if done[names[0]] {
			continue
		}
		done[names[0]] = true
		all += s.sets[names[0]]
		for line := range strings.Lines(s.sets[names[0]]) { // those of a list:set are sets
			if f := strings.Fields(line); len(f) > 2 && f[0] == "add" && s.sets[f[2]] != "" {
				names = append(names, f[2])
			}
		}
	}
	return all, nil
}

// usesIPSet reports whether the rule has a match or a target of ipset (net/netfilter/xt_set.c).
func (r rule) usesIPSet() bool {
	return slices.ContainsFunc(r.exprs, func(e expression) bool {
		return e.name == "match" && e.text(unix.NFTA_MATCH_NAME) == "set" || e.name == "target" && e.text(unix.NFTA_TARGET_NAME) == "SET"
	})
}

// read reads all sets once.
func (s *ipsets) read() error {
	if s.sets != nil {
		return nil
	}
	path, err := ipsetPath()
	if err != nil {
		return err
	}
	output, err := run(s.ns, exec.CommandContext(s.ctx, path, "save", "-sorted"), "")
	if err != nil {
		return fmt.Errorf("ipset save: %w: %s", err, output)
	}
	s.sets = map[string]string{}
	output = setLeft.ReplaceAllString(setState.ReplaceAllString(output, ""), "$1")
	for line := range strings.Lines(output) {
		if f := strings.Fields(line); len(f) > 1 {
			s.sets[f[1]] += line
		}
	}
	return nil
}
