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

// Owners returns the users and groups that the text names as owners of sockets, alone or in an anonymous set: one of them must
// exist for the condition to be met. Of a range it returns the beginning. What is not equal to, or greater than, a user
// needs none.
func (t Text) Owners() []Owner {
	if t.Program == "nft" {
		return nftOwners(t.Text)
	}
	lines := t.Commands
	if lines == nil {
		lines = strings.Split(t.Text, "\n")
	}
	return iptablesOwners(lines)
}

func nftOwners(text string) (owners []Owner) {
	words := nftWords(text)
	defines := map[string][]nftWord{}
	for i, w := range words {
		if w.quoted {
			continue
		}
		switch w.text {
		case "define":
			if i+3 < len(words) && words[i+2].text == "=" {
				defines["$"+words[i+1].text] = valueOf(words[i+3:])
			}
		case "skuid", "skgid":
			at := i + 1
			for at < len(words) && slices.Contains([]string{"==", "=", "vmap", "map"}, words[at].text) {
				at++
			}
			for _, name := range namesIn(valueOf(words[min(at, len(words)):]), 0, defines) {
				if id, ok := ownerID(name.text, w.text == "skgid"); ok {
					owners = append(owners, Owner{id, w.text == "skgid", max(w.line, name.line), w.text + " " + name.text})
				}
			}
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
