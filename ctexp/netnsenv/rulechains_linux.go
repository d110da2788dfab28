package netnsenv

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// chainProblems returns the rules that are added to a chain, or lead to one, that neither the text declares nor the Env has,
// and that is no target either: iptables-nft-restore looks for them only when it commits.
func (e *Env) chainProblems(text string) []RuleProblem {
	there := e.chains()
	declared := map[string]bool{}
	var out []RuleProblem
	for i, l := range strings.Split(text, "\n") {
		args, err := splitArguments(l)
		switch {
		case err != nil || len(args) == 0 || strings.HasPrefix(args[0], "#"):
		case strings.HasPrefix(args[0], "*"):
			declared = map[string]bool{}
		case strings.HasPrefix(args[0], ":"):
			declared[args[0][1:]] = true
		default:
			for j, a := range args[:len(args)-1] {
				name, why := args[j+1], ""
				known := declared[name] || slices.Contains(there, name)
				switch a {
				case "-N", "--new-chain":
					declared[name] = true
				case "-A", "--append", "-I", "--insert":
					if !known && !baseChains[name] {
						why = "there is no chain"
					}
				case "-g", "--goto":
					if !known {
						why = "there is no chain"
					}
				case "-j", "--jump":
					if !known && !isTarget(name) {
						why = "there is no chain or target"
					}
				}
				if why != "" {
					out = append(out, RuleProblem{Line: i + 1, Why: fmt.Sprintf("%s %q", why, name)})
					break
				}
			}
		}
	}
	return out
}

var baseChains = map[string]bool{"PREROUTING": true, "INPUT": true, "FORWARD": true, "OUTPUT": true, "POSTROUTING": true}

// chains returns the names of the chains that nftables has.
func (e *Env) chains() (names []string) {
	c, err := e.openNFTables()
	if err != nil {
		return nil
	}
	defer c.CloseLasting()
	chains, err := c.ListChains()
	if err != nil {
		return nil
	}
	for _, c := range chains {
		names = append(names, c.Name)
	}
	return names
}

// isTarget reports whether iptables knows a target, by the libraries that it loads for them; if these are not found where
// they usually are, any may be one.
func isTarget(name string) bool {
	if slices.Contains([]string{"ACCEPT", "DROP", "RETURN", "QUEUE"}, name) {
		return true
	}
	dirs := []string{"/usr/lib/*/xtables", "/usr/lib/xtables", "/usr/lib64/xtables", "/lib/xtables", "/usr/local/lib/xtables"}
	if d := os.Getenv("XTABLES_LIBDIR"); d != "" {
		dirs = strings.Split(d, ":")
	}
	found := false
	for _, d := range dirs {
		for _, prefix := range []string{"libxt_", "libipt_", "libip6t_"} {
			if all, _ := filepath.Glob(filepath.Join(d, prefix+name+".so")); len(all) > 0 { // the patterns are well formed
				return true
			}
		}
		all, _ := filepath.Glob(filepath.Join(d, "lib*t_*.so"))
		found = found || len(all) > 0
	}
	return !found
}
