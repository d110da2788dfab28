package netnsenv

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Config says what an Env is like. The zero Config is a host 192.0.2.1 with a link tun0 to everywhere, conntrack on,
// an empty table as large as the kernel has it, and no rules.
type Config struct {
	// Links are the host's links to the outside. Nil means one tun link tun0 with 192.0.2.1/24 and the default route.
	Links []LinkConfig
	// Probes count packets: Tally shows them by name. They must have names of their own.
	Probes []nf.Probe
	// Room is how much of the table is free. Zero means all of it, as the kernel gives it.
	Room Room
	// Silent drops what the host itself sends without a socket of the experiment, at the very front of output and
	// so before conntrack sees it: RSTs to unasked SYNs, unreachables, echo replies, REJECT. What sockets send
	// and what is forwarded passes. The path counts what was dropped as silenced/output.
	//
	// Its limits: the ACK of a socket that is closed already counts as the host's own; on 6.18 an RST on behalf of
	// a listener passes. Experiments with REJECT do without it.
	Silent bool
	// Conntrack is On unless it is left to the experiment's rules (Off), as it is in a namespace without any.
	Conntrack Switch
	// Sysctls are set before any packet and have the last word: "net.ipv4.ip_forward": "1". Names are dotted and begin with
	// "net."; a slash stands for a dot in the name of a link.
	Sysctls map[string]string
	// Rules are loaded in their order, when links and addresses are there.
	Rules []Ruleset
	// NoPath leaves out the standard probes (nf.PathProbes), which cost each packet some hundred nanoseconds.
	NoPath bool
	// NoFrames leaves out the capture of frames; it is the Observer of a Lab that reads this.
	NoFrames bool
	// NoEvents leaves out the recording of events; it is the Observer of a Lab that reads this.
	NoEvents bool
	// NoReasons leaves out what makes conntrack say why it calls a packet INVALID: net.netfilter.nf_log.2 and .10 are
	// nfnetlink_log and nf_conntrack_log_invalid is 255 otherwise. With these, what LOG rules of the experiment say is
	// heard at NFLOG group 0 as well, which an Observer reads and then nobody else can. A rule of ours right behind conntrack
	// logs INVALID packets into a group of its own, since the kernel has no reason for some of them. Each INVALID packet costs
	// some microseconds more.
	NoReasons bool
	// Trace has every packet traced that comes in or that the host sends, from before the first rule on: Observer.Trace
	// tells which rules each of them met. It makes a packet some ten times as dear, less with NoPath.
	Trace bool
}

// SysctlChange is a sysctl that is not as in a new namespace.
type SysctlChange struct {
	Name          string // "net.netfilter.nf_conntrack_events"
	Before, After string // in a new namespace, and now
	// By says who has set what it is now.
	By SysctlSetter
}

// SysctlSetter is who has set a sysctl.
type SysctlSetter string

// The setters.
const (
	ByCtexp  SysctlSetter = "ctexp"         // the Env itself: what it needs, or what makes it independent of the host
	ByConfig SysctlSetter = "Config"        // Config.Sysctls or SetSysctl
	ByOther  SysctlSetter = "somebody else" // a program inside, a Ruleset, or the kernel along with another sysctl
)

// Switch turns something on or off; the zero Switch is On.
type Switch uint8

// The positions of a Switch.
const (
	On Switch = iota
	Off
)

// LinkConfig describes a link: an interface of the host under test whose other end is in the experiment's hand.
type LinkConfig struct {
	// Name of the interface, at most 11 bytes. Empty means tun0, tun1, … by its place in the list.
	Name string
	// Kind is chosen by what is accessible (Auto), or Tun or Veth.
	Kind LinkKind
	// Prefixes are the host's addresses on the link, with the length of the network that is behind it. Nil means
	// 192.0.2.1/24 if it is the only link, else none.
	Prefixes []netip.Prefix
	// Routes lead through this link. Nil means the default route if it is the only link, else none.
	Routes []netip.Prefix
	// MTU in bytes; zero means 1500.
	MTU int
	// Mark has packets with this firewall mark go out by the link, whatever other links lead to the same addresses: the
	// link's networks and Routes then stand in a routing table of their own, which its mark leads to first. Routes that
	// are nil mean here what they mean without a mark: of an only link the default route, which then only marked packets
	// have, of one among several none. Zero: the routes are for all packets.
	Mark uint32
	// ARP has the host ask for the Ethernet addresses of its neighbours, which the experiment then answers by WriteFrame,
	// and answer who asks for its own; in IPv6 by neighbour discovery. Without it no question is asked or answered. It
	// makes Auto mean Veth.
	ARP bool
}

// LinkKind is how packets get into a link.
type LinkKind uint8

// The kinds. Auto is Tun where /dev/net/tun can be opened, else Veth, which needs nothing.
const (
	Auto LinkKind = iota
	Tun
	Veth
)

// String returns "auto", "tun" or "veth".
func (k LinkKind) String() string {
	return [...]string{"auto", "tun", "veth"}[k]
}

// normalize checks c and fills in what zero values stand for.
func (c Config) normalize() (Config, error) {
	if c.Links == nil {
		c.Links = []LinkConfig{{}}
	}
	links := make([]LinkConfig, len(c.Links))
	names, marks := map[string]bool{"lo": true}, map[uint32]string{}
	for i, l := range c.Links {
		l, err := l.normalize(i, len(c.Links) == 1)
		if err != nil {
			return c, err
		}
		if names[l.Name] {
			return c, fmt.Errorf("link %q: the name is taken", l.Name)
		}
		names[l.Name] = true
		if other := marks[l.Mark]; l.Mark != 0 && other != "" {
			return c, fmt.Errorf("link %q: mark %#x leads to link %q already", l.Name, l.Mark, other)
		}
		marks[l.Mark] = l.Name
		links[i] = l
	}
	c.Links = links
	if c.Room.set && c.Room.free < 0 {
		return c, fmt.Errorf("room for %d entries: want 0 or more", c.Room.free)
	}
	if c.Conntrack > Off {
		return c, fmt.Errorf("conntrack %d: want On or Off", c.Conntrack)
	}
	if c.Conntrack == Off && c.Room.set {
		return c, fmt.Errorf("room for %d entries: conntrack is off, and nothing would use them", c.Room.free)
	}
	for _, p := range c.Probes {
		if c.Conntrack == Off && p.AsksConntrack() {
			return c, fmt.Errorf("probe %q: it asks conntrack, which is off, and would switch it on", p.Name)
		}
	}
	var err error
	c.Probes, err = normalizeProbes(c.Probes)
	return c, err
}

func (l LinkConfig) normalize(index int, only bool) (LinkConfig, error) {
	if l.Name == "" {
		l.Name = fmt.Sprintf("tun%d", index)
	}
	if strings.ContainsFunc(l.Name, func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r == '%' || r == 0x7f }) ||
		slices.Contains([]string{".", "..", "all", "default"}, l.Name) {
		return l, fmt.Errorf("link %q: no name for an interface", l.Name)
	}
	if max := 15 - len(ours.FarPrefix); len(l.Name) > max {
		return l, fmt.Errorf("link %q: the name is longer than %d bytes", l.Name, max)
	}
	if l.ARP && l.Kind == Auto {
		l.Kind = Veth
	}
	if l.ARP && l.Kind == Tun {
		return l, fmt.Errorf("link %q: a tun has no ARP", l.Name)
	}
	if l.Kind > Veth {
		return l, fmt.Errorf("link %q: kind %d: want Auto, Tun or Veth", l.Name, l.Kind)
	}
	if l.MTU == 0 {
		l.MTU = 1500
	}
	if l.MTU < 68 || l.MTU > 65535 {
		return l, fmt.Errorf("link %q: MTU %d: want 68 to 65535", l.Name, l.MTU)
	}
	if l.Prefixes == nil && only {
		l.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}
	}
	for _, p := range append(append([]netip.Prefix(nil), l.Prefixes...), l.Routes...) {
		if !p.IsValid() {
			return l, fmt.Errorf("link %q: prefix %v: want an address and a length, such as 192.0.2.1/24", l.Name, p)
		}
		if p.Addr().Is4In6() {
			return l, fmt.Errorf("link %q: prefix %v: want IPv4 written as such", l.Name, p)
		}
	}
	for i, p := range l.Prefixes {
		if slices.Contains(l.Prefixes[:i], p) {
			return l, fmt.Errorf("link %q: prefix %v twice", l.Name, p)
		}
	}
	if l.hasIPv6() && l.MTU < 1280 {
		return l, fmt.Errorf("link %q: MTU %d: IPv6 needs 1280", l.Name, l.MTU)
	}
	if l.Routes == nil && only {
		seen := map[nf.Family]bool{}
		for _, p := range l.Prefixes {
			if f := nf.FamilyOf(p.Addr()); !seen[f] {
				seen[f] = true
				l.Routes = append(l.Routes, netip.PrefixFrom(unspecified(f), 0))
			}
		}
	}
	return l, nil
}

func (l LinkConfig) hasIPv6() bool {
	for _, p := range l.Prefixes {
		if nf.FamilyOf(p.Addr()) == nf.IPv6 {
			return true
		}
	}
	return false
}

func unspecified(f nf.Family) netip.Addr {
	if f == nf.IPv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// mostName is how long the name of a probe may be; that of its counter in the kernel may be twice as long.
const mostName = 127

// normalizeProbes gives every probe a name of its own. A probe that is named like a standard one must be that one.
func normalizeProbes(probes []nf.Probe) ([]nf.Probe, error) {
	standard := map[string]nf.Probe{}
	for _, p := range append(nf.PathProbes(nf.IPv4), nf.PathProbes(nf.IPv6)...) {
		standard[p.Name] = p
	}
	out := make([]nf.Probe, len(probes))
	seen := map[string]bool{nf.Silenced: true}
	for i, p := range probes {
		if p.Name == "" {
			p.Name = p.DefaultName()
		}
		if len(p.Name) > mostName {
			return nil, fmt.Errorf("probe %.20q…: the name is longer than %d bytes", p.Name, mostName)
		}
		if seen[p.Name] {
			return nil, fmt.Errorf("probe %q: the name is taken", p.Name)
		}
		if s, ok := standard[p.Name]; ok && s != p {
			return nil, fmt.Errorf("probe %q: the name belongs to the standard probe at %v, priority %d", p.Name, s.Hook, s.Priority)
		}
		if p.Hook > nf.Postrouting {
			return nil, fmt.Errorf("probe %q: %v: want a hook from prerouting to postrouting", p.Name, p.Hook)
		}
		if p.Family != 0 && !slices.Contains(nf.Families(), p.Family) {
			return nil, fmt.Errorf("probe %q: %v: want IPv4, IPv6 or both (0)", p.Name, p.Family)
		}
		if p.Dir > nf.Reply {
			return nil, fmt.Errorf("probe %q: direction %d: want Original, Reply or both (0)", p.Name, p.Dir)
		}
		if (p.Match.SrcPort != 0 || p.Match.DstPort != 0) && !p.Match.Proto.HasPorts() {
			return nil, fmt.Errorf("probe %q: it matches ports, so it needs a protocol that has them", p.Name)
		}
		seen[p.Name] = true
		out[i] = p
	}
	return out, nil
}

// ErrClosed is returned by the methods of an Env that has been closed, and of its links. It is an os.ErrClosed as well.
var ErrClosed = fmt.Errorf("netnsenv: the Env is closed: %w", os.ErrClosed)

// Room is how many entries the conntrack table still takes. The zero Room is a table as the kernel gives it.
type Room struct {
	set, unreplied bool
	free           int
}

// Free leaves room for exactly n entries, none at all included: everything else is filled with assured, established
// entries that last, so that the kernel's limit is met by the next entry after n. The limit itself stays as it is,
// and so no privilege is needed and no other namespace notices: the kernel compares it with a count per namespace
// (net/netfilter/nf_conntrack_core.c, __nf_conntrack_alloc).
//
// Filling takes time and memory in proportion to the limit: about 0.6 s and 75 MB for the usual 262,144.
func Free(n int) Room { return Room{set: true, free: n} }

// Unreplied fills with entries that were never answered instead, as a SYN flood does: the kernel evicts those in
// favour of new flows (early_drop), so the table is full without being closed.
func (r Room) Unreplied() Room {
	r.unreplied = true
	return r
}

// ErrNotFull says that some of the filler was gone already when the table had been filled. The garbage collector takes
// entries that were never answered, up to a minute after a full table anywhere on the host has dropped a new flow; to open
// the Env again mostly helps.
var ErrNotFull = errors.New("entries are gone already")

// fillBudget bounds the filler: some five seconds and 600 MB.
const fillBudget = 1 << 21

// RoomInfo says what a Room came to.
type RoomInfo struct {
	Limit     int  // net.netfilter.nf_conntrack_max when the Env was opened; 0 where the kernel has none
	Filler    int  // entries of the filler
	Free      int  // entries that were left free; -1 if no room was asked for
	Unreplied bool // the filler may be evicted
}

// Entry says how a process enters the namespaces of its own in which Envs can be opened. The zero Entry is what
// Enter does.
type Entry struct {
	// RealRoot keeps the host's root instead of entering a user namespace: for XDP, BPF and the kernel's log. What
	// the process then does to anything but the network namespace of an Env, it does to the host.
	RealRoot bool
	// Files are handed down: the i-th is file descriptor 3+i of the process that has entered, where its name is
	// what it was. Open them before entering what the namespaces would close, such as /dev/kmsg.
	Files []*os.File
}

// ErrNotEntered says that Open was called by a process that has not entered namespaces of its own. It is a
// programmer's slip and not a missing ability: it does not answer to errors.ErrUnsupported.
var ErrNotEntered = errors.New(`netnsenv: this process has not entered namespaces of its own:
	in tests, add          func TestMain(m *testing.M) { ctexp.Main(m) }
	in programs, call      netnsenv.Enter() first thing in main
	or, without either,    go test -exec 'unshare -Urm'`)

// Enter puts the process into user and mount namespaces of its own, in which it is root and may open Envs, by
// executing the same binary again; the first process then only waits, hands signals on and ends as the second one
// does, so that Enter returns in the second one alone. There it returns at once, and again in whatever programs that one
// starts. Call it first thing in main, on the main goroutine; tests call ctexp.Main.
//
// No privilege is needed, and root is treated like everybody else. Where user namespaces are refused, but the
// process has CAP_SYS_ADMIN and CAP_NET_ADMIN, it goes on with those. Where it has neither, Enter returns all the
// same and Open says what is missing.
//
// In the namespaces /run is private, so that iptables takes no lock of the host. The network namespace stays the
// host's: localhost is what it was; each Env has a network namespace of its own.
func Enter() { EnterWith(Entry{}) }
