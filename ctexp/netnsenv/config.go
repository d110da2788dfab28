package netnsenv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
	"github.com/ctexp/go-ctexp/internal/plain"
)

// Config describes an Env. The zero Config is a host 192.0.2.1 with a link tun0 and a default route through it,
// conntrack on, an empty table of the kernel's size, and no rules.
type Config struct {
	// Links are the host's links. Nil means one link tun0 with 192.0.2.1/24 and the default route.
	Links []LinkConfig
	// Devices are interfaces on or over the links: bridges, VLANs, tunnels. They are created in order.
	Devices []Device
	// Routes are routes with what Routes of a link does not say: a gateway, a metric, a table. They are added in order, after
	// those of links and devices.
	Routes []Route
	// RoutingRules are added in order.
	RoutingRules []RoutingRule
	// Neighbours are the Ethernet addresses of hosts behind links of Ethernet and devices.
	Neighbours []Neighbour
	// Probes count packets. Tally shows them by name. Their names must be unique.
	Probes []nf.Probe
	// Room is the number of free entries in the table. The zero Room means an empty table.
	Room Room
	// Silent drops packets that the host sends without a socket of the experiment: RSTs to unexpected SYNs, ICMP
	// errors, echo replies, REJECT. They are dropped at the first priority of output, before conntrack. Packets from
	// sockets and forwarded packets are not affected. The path counts the dropped packets as silenced/output. That no RST or ICMP
	// message came, or nothing at all, proves nothing if some were dropped; ExpectNothing of an Experiment fails then.
	//
	// Limits: the ACK of a closed socket is dropped; on 6.18 an RST on behalf of a listener is not. Do not use it in
	// experiments with REJECT.
	Silent bool
	// Conntrack turns conntrack on (the default) or leaves it to the rules of the experiment (Off).
	Conntrack Switch
	// Sysctls are set before any packet and override the Env's defaults: "net.ipv4.ip_forward": "1". Names are dotted
	// and begin with "net."; a dot in the name of a link is written as a slash.
	Sysctls map[string]string
	// Rules are loaded in order, after links and addresses have been set up. Nil: no rules; a text without any is an error (see
	// AllowEmpty).
	Rules []Ruleset
	// NoPath omits the standard probes (nf.PathProbes), which cost a few hundred nanoseconds per packet.
	NoPath bool
	// NoFrames turns off the capture of frames by the Observer of a Lab.
	NoFrames bool
	// NoEvents turns off the recording of events by the Observer of a Lab.
	NoEvents bool
	// NoReasons turns off logging of the reasons why packets are INVALID. By default, net.netfilter.nf_log.2 and .10
	// are nfnetlink_log, and nf_conntrack_log_invalid is 255, which takes a few microseconds per INVALID packet. The
	// messages of LOG rules then also go to NFLOG group 0, which only one reader, the Observer, can bind to. Because
	// the kernel does not log a reason for every INVALID packet, a rule directly behind conntrack also logs them to
	// another group.
	NoReasons bool
	// Classes logs what conntrack calls each packet that comes in or that the host sends, directly behind conntrack, so
	// that frames have their Class; see Env.Classify.
	Classes bool
	// Trace enables nftables tracing for every packet that arrives or that the host sends, before the first rule.
	// Observer.Trace returns the rules that each packet has matched. A packet then takes about ten times as long, less
	// with NoPath.
	Trace bool
}

// SysctlChange is a sysctl whose value differs from that in a new namespace.
type SysctlChange struct {
	Name          string       // "net.netfilter.nf_conntrack_events"
	Before, After string       // value in a new namespace, and current value
	By            SysctlSetter // who set the current value
}

// SysctlSetter says who has set a sysctl to its current value.
type SysctlSetter string

// The values of SysctlSetter.
const (
	ByCtexp  SysctlSetter = "ctexp"         // the Env, as one of its defaults
	ByConfig SysctlSetter = "Config"        // Config.Sysctls or SetSysctl
	ByOther  SysctlSetter = "somebody else" // a program in the namespace, a Ruleset, or the kernel along with another sysctl
)

// Switch turns something on or off; the zero Switch is On.
type Switch uint8

// The positions of a Switch.
const (
	On Switch = iota
	Off
)

// LinkConfig describes a link: an interface of the host under test. The experiment reads and writes packets at its
// other end.
type LinkConfig struct {
	// Name of the interface, at most 15 bytes. Empty means tun0, tun1, … by its index in the list.
	Name string
	// Kind is Tun, Veth, or Auto (the default).
	Kind LinkKind
	// Port makes the link a port of a bridge, a bond or a VRF in Config.Devices.
	Port Port
	// Prefixes are the host's addresses on the link, with their prefix lengths. IPv6 is disabled, and packets of IPv6 have
	// no probes, unless a link or device has an IPv6 prefix.
	//
	// Nil and empty differ. Nil means 192.0.2.1/24 if it is the only link and no port of a bridge or a bond, else none. An
	// empty list, []netip.Prefix{}, always means none.
	Prefixes []netip.Prefix
	// Routes go through this link, to neighbours on it. As with Prefixes, nil means the default route of each family that has
	// a prefix if it is the only link, unless Config.Routes has a default route of that family; an empty list always means none.
	Routes []netip.Prefix
	// MTU is the size in bytes of the largest packet in either direction, 68 to 65535; zero means 1500.
	MTU int
	// HardwareAddr is the Ethernet address of the host's interface; zero: the kernel's choice. With one, Auto means Veth.
	HardwareAddr nf.MAC
	// Down leaves the interface down: it is there for rules and ports, but neither receives nor sends. It has no Prefixes and
	// Routes, nil as well.
	Down bool
	// Mark restricts the link's routes to packets with this firewall mark. Its networks and Routes are then in a
	// separate routing table, which a rule for the mark selects before the main table. Nil Routes mean the same as
	// without a mark. Zero: the routes are for all packets.
	Mark uint32
	// ARP enables ARP and neighbour discovery on the link: the host asks for the Ethernet addresses of its neighbours,
	// which the experiment answers by WriteFrame, and answers requests for its own. With ARP, Auto means Veth.
	ARP bool
}

// LinkKind is the kind of a link's interface.
type LinkKind uint8

// The kinds of links. Auto is Tun if /dev/net/tun can be opened, else Veth.
const (
	Auto LinkKind = iota
	Tun
	Veth
)

// String returns "auto", "tun" or "veth".
func (k LinkKind) String() string {
	return [...]string{"auto", "tun", "veth"}[k]
}

// normalize checks c and replaces zero values by their defaults.
func (c Config) normalize() (Config, error) {
	if c.Links == nil {
		c.Links = []LinkConfig{{}}
	}
	links := make([]LinkConfig, len(c.Links))
	names, marks := map[string]bool{"lo": true}, map[uint32]string{}
	for i, l := range c.Links {
		l, err := l.normalize(i, len(c.Links) == 1 && !c.isBridged(l), c.hasDefault)
		if err != nil {
			return c, err
		}
		if names[l.Name] {
			return c, fmt.Errorf("link %q: the name is taken: give each link another, and none that of lo", l.Name)
		}
		names[l.Name] = true
		if other := marks[l.Mark]; l.Mark != 0 && other != "" {
			return c, fmt.Errorf("link %q: mark %#x leads to link %q already", l.Name, l.Mark, other)
		}
		marks[l.Mark] = l.Name
		links[i] = l
	}
	c.Links = links
	if err := c.normalizeDevices(); err != nil {
		return c, err
	}
	if err := c.checkShared(); err != nil {
		return c, err
	}
	if err := c.normalizeRouting(); err != nil {
		return c, err
	}
	if c.Room.set && c.Room.free < 0 {
		return c, fmt.Errorf("room for %d entries: want 0 or more", c.Room.free)
	}
	if c.Conntrack > Off {
		return c, fmt.Errorf("conntrack %d: want On or Off", c.Conntrack)
	}
	if c.Conntrack == Off && c.Room.set {
		return c, fmt.Errorf("room for %d entries: conntrack is off", c.Room.free)
	}
	if c.Classes && (c.Conntrack == Off || c.NoReasons) {
		return c, errNoClasses
	}
	for _, p := range c.Probes {
		if c.Conntrack == Off && p.AsksConntrack() {
			return c, fmt.Errorf("probe %q: it would enable conntrack, which is off", p.Name)
		}
		for _, name := range []string{p.Match.In, p.Match.Out} {
			if err := c.checkMet(name); err != nil {
				return c, fmt.Errorf("probe %q: %w", p.Name, err)
			}
		}
		if in := p.Match.In; slices.ContainsFunc(c.Links, func(l LinkConfig) bool { return l.Name == in }) {
			p.Match.In = "" // packets of a link have no entry before conntrack, as those of lo have
			if err := p.Check(); err != nil {
				return c, fmt.Errorf("probe %q: %w", p.Name, err)
			}
		}
	}
	var err error
	c.Probes, err = normalizeProbes(c.Probes)
	return c, err
}

var errNoClasses = errors.New("classes of packets: conntrack is off, or NoReasons is set")

// checkMet returns an error if packets never meet the hooks of IP with an interface, because it is a port of a bridge or a bond: they
// have that as their interface.
func (c *Config) checkMet(name string) error {
	port := Port{}
	if i := slices.IndexFunc(c.Links, func(l LinkConfig) bool { return l.Name == name }); i >= 0 {
		port = c.Links[i].Port
	} else if d, ok := c.device(name); ok {
		port = d.Port
	}
	of, _ := c.device(port.Of)
	switch of.Kind.(type) {
	case Bridge, Bond:
		return fmt.Errorf("%q is a port of the %v %q: packets meet the hooks with that as their link", name, of.Kind, of.Name)
	}
	return nil
}

// isBridged reports whether a link is a port of a bridge or a bond, which have the addresses then.
func (c *Config) isBridged(l LinkConfig) bool {
	d, _ := c.device(l.Port.Of)
	switch d.Kind.(type) {
	case Bridge, Bond:
		return true
	}
	return false
}

// hasDefault reports whether Routes has a default route of a family in the main table.
func (c *Config) hasDefault(f nf.Family) bool {
	return slices.ContainsFunc(c.Routes, func(r Route) bool {
		to := nf.IPv4
		if r.To.IsValid() {
			to = nf.FamilyOf(r.To.Addr())
		} else if r.Via.IsValid() {
			to = nf.FamilyOf(r.Via)
		}
		return r.To.Bits() <= 0 && to == f && r.Table == 0
	})
}

// checkShared returns an error if two interfaces have the same address or the same route in one routing table.
func (c *Config) checkShared() error {
	type in struct {
		table  uint32
		prefix netip.Prefix
	}
	addrs, routes := map[in]string{}, map[in]string{}
	check := func(name string, port Port, prefixes, through []netip.Prefix) error {
		table := c.table(port)
		for _, p := range prefixes {
			k := in{table, netip.PrefixFrom(p.Addr(), p.Addr().BitLen())}
			if other := addrs[k]; other != "" {
				return fmt.Errorf("%s: address %v belongs to %s already; LinkConfig.Mark is for links with the same address", name, p.Addr(), other)
			}
			addrs[k] = name
		}
		for _, p := range through {
			k := in{table, p.Masked()}
			if other := routes[k]; other != "" && other != name {
				what := "the route to " + p.Masked().String()
				if p.Bits() == 0 {
					what = "the default route " + p.Masked().String()
				}
				return fmt.Errorf("%s: %s goes through %s already; Config.Routes has routes with a metric, LinkConfig.Mark is for routes by mark",
					name, what, other)
			}
			routes[k] = name
		}
		return nil
	}
	for _, l := range c.Links {
		if l.Mark != 0 {
			continue
		}
		if err := check(fmt.Sprintf("link %q", l.Name), l.Port, l.Prefixes, l.Routes); err != nil {
			return err
		}
	}
	for _, d := range c.Devices {
		if err := check(fmt.Sprintf("device %q", d.Name), d.Port, d.Prefixes, d.Routes); err != nil {
			return err
		}
	}
	return nil
}

// checkName returns an error if an interface cannot have the name.
func checkName(name string) error {
	if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r == '%' }) || !plain.IsVisible(name) ||
		slices.Contains([]string{".", "..", "all", "default"}, name) {
		return errors.New("not a valid name for an interface")
	}
	if strings.HasPrefix(name, ours.FarPrefix) {
		return fmt.Errorf("names that begin with %q are those of the far ends of links", ours.FarPrefix)
	}
	if len(name) > maxName {
		return fmt.Errorf("the name is longer than %d bytes", maxName)
	}
	return nil
}

// maxName is the length of the longest name of an interface (include/uapi/linux/if.h, IFNAMSIZ).
const maxName = 15

// checkPrefixes checks the addresses of an interface and its routes. One that is down has none.
func checkPrefixes(prefixes, routes []netip.Prefix, down bool) error {
	if down && len(prefixes)+len(routes) > 0 {
		return errors.New("it is down, and so has neither Prefixes nor Routes")
	}
	for _, p := range slices.Concat(prefixes, routes) {
		if !p.IsValid() {
			return fmt.Errorf("prefix %v: want an address and a length, such as 192.0.2.1/24", p)
		}
		if p.Addr().Is4In6() {
			return fmt.Errorf("prefix %v: want an IPv4 prefix, not an IPv4-mapped one", p)
		}
	}
	for i, p := range prefixes {
		if why := noHost(p); why != "" {
			return fmt.Errorf("prefix %v: %s: want the host's own address with the length, such as 192.0.2.1/24", p, why)
		}
		if slices.Contains(prefixes[:i], p) {
			return fmt.Errorf("prefix %v twice", p)
		}
	}
	return nil
}

// checkMAC returns an error if an interface cannot have the Ethernet address. The zero one is none.
func checkMAC(mac nf.MAC, ethernet bool) error {
	const group = 1 // the bit of addresses of several hosts
	switch {
	case mac == nf.MAC{}:
		return nil
	case !ethernet:
		return errors.New("it has a HardwareAddr, but no Ethernet, or not an address of its own")
	case mac[0]&group != 0:
		return fmt.Errorf("HardwareAddr %v: it is a multicast address", mac)
	}
	return nil
}

// normalize checks l and replaces zero values by their defaults. only says that the link gets the default address and routes,
// the latter for families that have none elsewhere.
func (l LinkConfig) normalize(index int, only bool, elsewhere func(nf.Family) bool) (LinkConfig, error) {
	if l.Name == "" {
		l.Name = fmt.Sprintf("tun%d", index)
	}
	if err := checkName(l.Name); err != nil {
		return l, fmt.Errorf("link %q: %w", l.Name, err)
	}
	if (l.ARP || l.HardwareAddr != nf.MAC{}) && l.Kind == Auto {
		l.Kind = Veth
	}
	if err := checkMAC(l.HardwareAddr, l.Kind != Tun); err != nil {
		return l, fmt.Errorf("link %q: %w", l.Name, err)
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
	if l.Prefixes == nil && only && !l.Down {
		l.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}
	}
	if err := checkPrefixes(l.Prefixes, l.Routes, l.Down); err != nil {
		return l, fmt.Errorf("link %q: %w", l.Name, err)
	}
	if l.hasIPv6() && l.MTU < 1280 {
		return l, fmt.Errorf("link %q: MTU %d: IPv6 needs 1280", l.Name, l.MTU)
	}
	if l.Routes == nil && only {
		seen := map[nf.Family]bool{}
		for _, p := range l.Prefixes {
			if f := nf.FamilyOf(p.Addr()); !seen[f] && !elsewhere(f) {
				seen[f] = true
				l.Routes = append(l.Routes, netip.PrefixFrom(unspecified(f), 0))
			}
		}
	}
	return l, nil
}

// noHost returns why the address of a prefix cannot be that of a host; "" if it can.
func noHost(p netip.Prefix) string {
	a := p.Addr()
	switch {
	case a.IsUnspecified():
		return "it is no address"
	case a.IsMulticast():
		return "it is a multicast address"
	case p.Bits() < a.BitLen()-1 && a == p.Masked().Addr(): // of /31 and /127 both addresses are hosts' (RFC 3021, RFC 6164)
		return "it is the network"
	case a.Is4() && p.Bits() < 31 && isBroadcast(p):
		return "it is the broadcast address"
	}
	return ""
}

func isBroadcast(p netip.Prefix) bool {
	a := p.Addr().As4()
	return ^(^uint32(0)<<(32-p.Bits()))&^binary.BigEndian.Uint32(a[:]) == 0
}

func (l LinkConfig) hasIPv6() bool {
	for _, p := range l.Prefixes {
		if nf.FamilyOf(p.Addr()) == nf.IPv6 {
			return true
		}
	}
	return false
}

// outsider returns the source address of packets that are injected on a link, one for documentation (RFC 9542, 2.1.2). It is not
// the far interface's, which would then process the packets that the host sends to it. Links have different ones, so that
// a bridge whose ports they are can tell them apart.
func outsider(number int) nf.MAC {
	const first, count = 2, 254
	return nf.MAC{0x00, 0x00, 0x5e, 0x00, 0x53, first + byte(number%count)}
}

func unspecified(f nf.Family) netip.Addr {
	if f == nf.IPv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// maxProbeName is the maximum length of a probe's name. The kernel allows counter names of twice the length.
const maxProbeName = 127

// normalizeProbes sets empty names and checks the probes. A probe with the name of a standard probe must be equal to it.
func normalizeProbes(probes []nf.Probe) ([]nf.Probe, error) {
	standard := map[string]nf.Probe{}
	for _, f := range nf.Families() {
		for _, p := range nf.PathProbes(f) {
			standard[p.Name] = p
		}
	}
	out := make([]nf.Probe, len(probes))
	seen := map[string]bool{nf.Silenced: true}
	for i, p := range probes {
		if p.Name == "" {
			p.Name = p.DefaultName()
		}
		if len(p.Name) > maxProbeName {
			return nil, fmt.Errorf("probe %.20q…: the name is longer than %d bytes", p.Name, maxProbeName)
		}
		if seen[p.Name] {
			return nil, fmt.Errorf("probe %q: the name is taken: set Name to another", p.Name)
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
		if why := flagsWrong(p.Match); why != "" {
			return nil, fmt.Errorf("probe %q: %s", p.Name, why)
		}
		if err := p.Check(); err != nil {
			return nil, fmt.Errorf("probe %q: %w", p.Name, err)
		}
		seen[p.Name] = true
		out[i] = p
	}
	return out, nil
}

// flagsWrong returns what is wrong with the flags of TCP that a match compares; "" if nothing is.
func flagsWrong(m nf.Match) string {
	switch {
	case m.TCPMask() != 0 && m.Proto != nf.TCP:
		return "it matches flags of TCP, so its Proto must be nf.TCP"
	case !m.TCPMask().Contains(m.Flags):
		return fmt.Sprintf("it matches flags %v, of which FlagsMask lacks some", m.Flags)
	}
	return ""
}

// Listener is what Env.Listen returns: a *net.TCPListener whose connections the Env keeps open until Close.
type Listener struct {
	*net.TCPListener
	env *Env
}

// ErrNoEntry is the error of Age with a filter that selects no entry which Age could make older: most likely the filter is not what
// was meant.
var ErrNoEntry = errors.New("no entry is selected")

// ErrClosed is returned by the methods of a closed Env and of its links. It wraps os.ErrClosed.
var ErrClosed = fmt.Errorf("netnsenv: the Env is closed: %w", os.ErrClosed)

// Room is the number of entries that the conntrack table has room for. The zero Room leaves the table as it is.
type Room struct {
	set, unreplied bool
	free           int
}

// Free leaves room for exactly n entries, which may be 0. The rest of the table is filled with assured, established
// entries, so that the entry after the n-th exceeds the kernel's limit. The limit itself is not changed, so that this
// needs no privilege and does not affect other namespaces: the kernel compares the limit with a count per namespace
// (net/netfilter/nf_conntrack_core.c, __nf_conntrack_alloc).
//
// Filling takes time and memory in proportion to the limit: about 0.6 s and 75 MB for the usual 262,144.
func Free(n int) Room { return Room{set: true, free: n} }

// Unreplied fills the table with unreplied entries instead, as a SYN flood does. The kernel evicts those in favour of
// new flows (early_drop), so that the table is full but still accepts new flows. If the garbage collector takes some, too,
// a Tally says so (observe.ErrFillerLost).
func (r Room) Unreplied() Room {
	r.unreplied = true
	return r
}

// ErrNotFull is returned by Open and Env.Refill if some of the filler was evicted before they returned. For up to a minute after a
// full table in any namespace has dropped a new flow, the garbage collector evicts unreplied entries. Opening the Env
// again usually succeeds.
var ErrNotFull = errors.New("entries were evicted")

// fillBudget is the maximum size of the filler. It takes about five seconds and 600 MB.
const fillBudget = 1 << 21

// RoomInfo describes a table that was filled according to a Room.
type RoomInfo struct {
	Limit     int  // net.netfilter.nf_conntrack_max when the Env was opened; 0 if there is no limit
	Filler    int  // number of filler entries
	Free      int  // number of entries left free; -1 for the zero Room
	Unreplied bool // the filler is unreplied, so that the kernel may evict it
}

// Entry is the argument of EnterWith. The zero Entry gives the behaviour of Enter.
type Entry struct {
	// RealRoot keeps the host's root instead of entering a user namespace, for XDP, BPF and the kernel's log. Anything
	// that the process changes outside of the network namespace of an Env is then changed on the host.
	RealRoot bool
	// HostNetwork leaves the program in the network of the host, for tests that also need that. A thread that has entered an
	// Env can then not go back, as libraries do that are given the Env's FD or Path: they fail with EPERM, or leave the
	// thread in the Env. It can with RealRoot.
	HostNetwork bool
	// Files are passed to the process in the namespaces, where the i-th has the file descriptor 3+i and the same name.
	// They allow access to files that cannot be opened in the namespaces, such as /dev/kmsg.
	Files []*os.File
	// Like are paths of network namespaces, such as /proc/1234/ns/net, which the process reads before it enters its own, with the
	// privileges that it has outside. Like returns what was read then for the same path. In the second process /proc/self is another
	// process, but here /proc/self/ns/net is the network that the program was started in.
	Like []string
	// Programs are functions that Env.Program runs, by name, each in a process of its own that is inside of the namespace as a
	// whole: for code under test whose goroutines open sockets or start programs. EnterWith calls the function instead of
	// returning, and ends the process with status 0 after it; so call it before flags are parsed.
	Programs map[string]func()
}

// ErrNotEntered is returned by Open if the process has not entered its own namespaces. This is a mistake in the
// program, so it does not match errors.ErrUnsupported.
var ErrNotEntered = errors.New(`netnsenv: this process has not entered its own namespaces:
	in tests, add          func TestMain(m *testing.M) { ctexp.Main(m) }
	in programs, call      netnsenv.Enter() first thing in main
	or, without either,    go test -exec 'unshare -Urnm'`)

// Enter moves the program into new user, mount and network namespaces, in which it is root and may open Envs. It executes
// the same binary again in them, and returns only in that second process and the programs that it starts. The first process
// waits, forwards signals and exits with the status of the second. Call Enter at the start of main, on the main
// goroutine; tests call ctexp.Main.
//
// Enter needs no privilege and behaves the same for root, except for the users of the user namespace: for root those up to
// 65535; for an ordinary user, who is root inside, also those of /etc/subuid and /etc/subgid, from 1 on, if newuidmap and
// newgidmap are installed. If user namespaces are not permitted but the process has
// CAP_SYS_ADMIN and CAP_NET_ADMIN, it uses these instead. If it has neither, Enter returns and Open reports what is
// missing.
//
// The network namespace is the base of the program: all threads begin in it, and those that enter an Env may go back to it.
// It has nothing but lo, so that localhost works and the host's network is out of reach; Entry.HostNetwork leaves the
// program there. The mount namespace has a private /run, so that neither the lock of iptables nor names of network
// namespaces (/run/netns) are the host's. PATH ends with the sbin directories, which an ordinary user's often lacks.
func Enter() { EnterWith(Entry{}) }
