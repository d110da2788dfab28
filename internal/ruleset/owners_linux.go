package ruleset

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/ours"
)

// OwnersOf returns the users and groups that the rules in a namespace compare with the owners of sockets, as Text.Owners does,
// without a Line and with the place of the rule before the Word: "inet t out: skuid 1337". Sets and maps are those at this moment.
func OwnersOf(conn Conn) (owners []Owner, err error) {
	answers, err := dump(conn, unix.NFT_MSG_GETRULE, unix.NFPROTO_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("list nftables rules: %w", err)
	}
	for _, m := range answers {
		r, err := decodeRule(m.Data)
		if err != nil {
			return nil, err
		}
		if ours.IsTable(r.family, r.table) || !slices.ContainsFunc(r.exprs, expression.loadsOwner) {
			continue
		}
		sets := anonymousSets{conn: conn, table: &table{family: r.family, name: r.table}}
		text := printRule(r, sets.whole, func(index uint32) string { return fmt.Sprint("if", index) })
		for _, o := range (Text{Program: "nft", Text: text}).Owners() {
			o.Line, o.Word = 0, fmt.Sprintf("%s %s %s: %s", FamilyName(r.family), r.table, r.chain, o.Word)
			owners = append(owners, o)
		}
	}
	return owners, nil
}

// loadsOwner reports whether an expression loads the user or group of a packet's socket.
func (e expression) loadsOwner() bool {
	key := e.u32(unix.NFTA_META_KEY)
	return e.name == "meta" && (key == unix.NFT_META_SKUID || key == unix.NFT_META_SKGID)
}

// whole is get with the elements of every set, as if it were anonymous.
func (a *anonymousSets) whole(name string) *set {
	s := a.get(name)
	if s == nil {
		return nil
	}
	s = a.fill(name, s)
	all := *s
	all.flags |= unix.NFT_SET_ANONYMOUS
	return &all
}
