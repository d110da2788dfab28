package cases

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/procnet"
)

// LinksLike returns the links of another network namespace, with their addresses and the networks that are reached by them, as the
// files of a folder such as /proc/1234/net tell: route, fib_trie, if_inet6 and ipv6_route. Nothing is entered, and no privilege
// needed. leftOut are the names of links that an Env cannot have, because they are longer than 11 bytes. Routes of other tables, and
// rules by mark, are not followed: netnsenv.Like has all.
func LinksLike(dir string) (links []netnsenv.LinkConfig, leftOut []string, err error) {
	texts := map[string]string{}
	for _, name := range procnet.Files {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !(errors.Is(err, fs.ErrNotExist) && strings.Contains(name, "6")) { // a kernel without IPv6
			return nil, nil, fmt.Errorf("links: %w", err)
		}
		texts[name] = string(text)
	}
	all := procnet.Links(texts)
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("links: %s: there is no link with an address and a route", dir)
	}
	for _, l := range all {
		if isLinkName(l.Name) {
			links = append(links, netnsenv.LinkConfig{Name: l.Name, Prefixes: l.Prefixes, Routes: l.Routes})
		} else {
			leftOut = append(leftOut, l.Name)
		}
	}
	return links, leftOut, nil
}
