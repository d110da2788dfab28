package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/plain"
	"github.com/ctexp/go-ctexp/internal/terminal"
)

// check is one line of the doctor.
type check struct {
	what   string
	needed bool // without it, no packet can be tried
	ask    func(context.Context) (string, error)
}

// doctor prints what this machine can, and what it lacks with the cure.
func (c command) doctor(ctx context.Context, args []string) error {
	if len(args) == 1 && slices.Contains([]string{"-h", "-help", "--help"}, args[0]) {
		fmt.Fprint(c.stdout, "usage: ctexp doctor\n\nPrints what this machine can, and what it lacks with the cure. The exit status is 1 if no packet can be tried.\n")
		return errHelp
	}
	if len(args) > 0 {
		return fmt.Errorf("doctor: %q was not expected: it has no arguments", args[0])
	}
	return c.examine(ctx, checks)
}

// examine prints a line for each check. A need is told once with its cure.
func (c command) examine(ctx context.Context, checks []check) error {
	ill, told := false, map[string]string{}
	for _, k := range checks {
		answer, err := k.ask(ctx)
		sign, style, cure := "ok", terminal.Good, ""
		var lack *nf.UnsupportedError
		switch {
		case err == nil:
		case errors.As(err, &lack) && told[lack.Need] != "":
			sign, style, answer = "--", terminal.Dim, fmt.Sprintf("needs %s, as %s", lack.Need, told[lack.Need])
		case errors.As(err, &lack):
			sign, style, answer = "--", terminal.Dim, (&nf.UnsupportedError{Need: lack.Need, Err: lack.Err}).Error()
			if lack.Hint != "" {
				answer, cure = answer+" ", plain.Line("("+lack.Hint+")")
			}
			told[lack.Need] = k.what
		default:
			sign, style, answer = "??", terminal.Bad, err.Error()
		}
		if err != nil && k.needed {
			ill, style = true, terminal.Bad
		}
		terminal.Print(c.stdout, terminal.Piece{Text: sign, Style: style}, terminal.Piece{Text: fmt.Sprintf("  %-18s %s", k.what, plain.Line(answer))},
			terminal.Piece{Text: cure, Whole: len(cure)+indent <= terminal.Columns(c.stdout, 0)})
	}
	if ill {
		return errNot
	}
	return nil
}

// indent is how far the line behind a wrapped one begins.
const indent = 4

// checks are what the doctor looks at.
var checks = []check{
	{"kernel", false, kernelRelease},
	{"user", false, whoAmI},
	{"namespaces", true, func(ctx context.Context) (string, error) {
		return opened(ctx, netnsenv.Config{Links: []netnsenv.LinkConfig{}}, "a network namespace with conntrack")
	}},
	{"tun", false, func(ctx context.Context) (string, error) {
		return opened(ctx, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: netnsenv.Tun}}}, "links are tun")
	}},
	{"veth", false, func(ctx context.Context) (string, error) {
		return opened(ctx, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: netnsenv.Veth}}}, "links may be veth")
	}},
	{"packets", true, onePacket},
	{"nft", false, func(ctx context.Context) (string, error) {
		return loaded(ctx, netnsenv.NFT("table inet t { chain c { type filter hook input priority 0; ct state new counter; }; }"), "rules of nft are loaded")
	}},
	{"iptables-nft", false, func(ctx context.Context) (string, error) {
		return loaded(ctx, netnsenv.IPTables(netnsenv.IPTablesNFT, "-A INPUT -m conntrack --ctstate NEW -j ACCEPT"), "rules of iptables are loaded and traced")
	}},
	{"iptables-legacy", false, func(ctx context.Context) (string, error) {
		return loaded(ctx, netnsenv.IPTables(netnsenv.IPTablesLegacy, "-A INPUT -m conntrack --ctstate NEW -j ACCEPT"), "rules of old iptables are loaded; they cannot be traced")
	}},
	{"table", false, tableRoom},
}

func kernelRelease(context.Context) (string, error) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	return "Linux " + strings.TrimSpace(string(release)), err
}

func whoAmI(context.Context) (string, error) {
	uids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return "", err
	}
	var inside, outside uint32
	if n, _ := fmt.Sscan(string(uids), &inside, &outside); n != 2 {
		return "", errors.New("/proc/self/uid_map has no user")
	}
	name := fmt.Sprint("user ", outside)
	if u, err := user.LookupId(fmt.Sprint(outside)); err == nil && outside != 0 {
		name = u.Username
	}
	if outside == 0 {
		return "root, which is not needed", nil
	}
	return name + ", who needs no root", nil
}

// opened opens an Env and closes it.
func opened(ctx context.Context, cfg netnsenv.Config, can string) (string, error) {
	env, err := netnsenv.Open(ctx, cfg)
	if err != nil {
		return "", err
	}
	return can, env.Close()
}

// loaded loads rules in an Env.
func loaded(ctx context.Context, r netnsenv.Ruleset, can string) (string, error) {
	return opened(ctx, netnsenv.Config{Rules: []netnsenv.Ruleset{r}}, can)
}

// onePacket sends a packet and looks what the kernel made of it.
func onePacket(ctx context.Context) (answer string, err error) {
	lab, err := ctexp.Open(ctx, netnsenv.Config{Silent: true, Classes: true, Trace: true})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	syn := packet.SYN(packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")})
	outcomes, err := lab.Try(ctx, ctexp.Trial{Packet: syn})
	if err != nil {
		return "", err
	}
	if o := outcomes[0]; o.Entry == "" {
		return "", fmt.Errorf("a SYN made no entry: %v", o)
	}
	return "sent, captured and traced; a SYN makes an entry", nil
}

// tableRoom returns how large the table is, which says how long filling takes.
func tableRoom(ctx context.Context) (answer string, err error) {
	env, err := netnsenv.Open(ctx, netnsenv.Config{Links: []netnsenv.LinkConfig{}})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, env.Close()) }()
	limit, err := env.Sysctl("net.netfilter.nf_conntrack_max")
	if err != nil {
		return "", err
	}
	if limit == "0" {
		return "", &nf.UnsupportedError{Need: "a limit", Hint: "sudo sysctl -w net.netfilter.nf_conntrack_max=262144: without one no table is ever full"}
	}
	return "room for " + limit + " entries; a full table can be had in each namespace", nil
}
