package ruleset

import (
	"os/user"
	"slices"
	"strconv"
	"strings"
)

// Owner is a user or group that a rule compares with the owner of a packet's socket.
type Owner struct {
	ID    uint32
	Group bool
	Line  int
	Word  string // the condition: "skuid 1337"
}

// Owners returns the users and groups that the text names as owners of sockets, by number or by the name that they have on the host,
// alone, in a set or in a map, also in included files: one that does not exist never meets the condition. Of a range it returns the
// beginning. What is not equal to, or greater than, a user needs none.
func (t Text) Owners() []Owner {
	if t.Program == "nft" {
		return t.nftOwners()
	}
	lines := t.Commands
	if lines == nil {
		lines = strings.Split(t.Text, "\n")
	}
	return iptablesOwners(lines)
}

func (t Text) nftOwners() (owners []Owner) {
	words := t.included(t.Text, maxIncludes)
	users, groups := scan(words, []string{"skuid"}, []string{"uid"}), scan(words, []string{"skgid"}, []string{"gid"})
	both := []*scanner{&users, &groups}
	for _, n := range both {
		n.equal = true
		n.define(t.Define)
	}
	for i := range words {
		for _, n := range both {
			n.visit(i)
			for _, u := range n.uses {
				if id, ok := ownerID(u.name, n == &groups); ok {
					owners = append(owners, Owner{id, n == &groups, u.line, n.keys[0] + " " + u.name})
				}
			}
			n.uses = nil
		}
	}
	return owners
}

func iptablesOwners(lines []string) (owners []Owner) {
	for i, args := range eachArguments(lines) {
		for j, a := range args[:max(0, len(args)-1)] {
			group := a == "--gid-owner"
			if !group && a != "--uid-owner" {
				continue
			}
			if id, ok := ownerID(args[j+1], group); ok {
				owners = append(owners, Owner{id, group, i + 1, a + " " + args[j+1]})
			}
		}
	}
	return owners
}

// ownerID returns the number of a user or group that is given by number, range or name.
func ownerID(name string, group bool) (id uint32, ok bool) {
	if first, last, isRange := strings.Cut(name, "-"); isRange && isNumber(first) && isNumber(last) {
		name = first
	}
	if !isNumber(name) {
		name = numberOf(name, group)
	}
	n, err := strconv.ParseUint(name, 10, 32)
	return uint32(n), err == nil
}

func isNumber(s string) bool {
	return s != "" && !slices.ContainsFunc([]rune(s), func(r rune) bool { return r < '0' || r > '9' })
}

// numberOf returns the number of a user or group, or "" if there is none of this name.
func numberOf(name string, group bool) string {
	if group {
		if g, err := user.LookupGroup(name); err == nil {
			return g.Gid
		}
		return ""
	}
	if u, err := user.Lookup(name); err == nil {
		return u.Uid
	}
	return ""
}
