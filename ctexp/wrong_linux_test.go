package ctexp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// wrong is a slip of a user.
type wrong struct {
	name string
	do   func(context.Context) error
	want string // what the error says, in parts that are separated by |: the place, what is wrong there, and what is wanted
}

// opening is a slip in a Config.
func opening(c netnsenv.Config) func(context.Context) error {
	return func(ctx context.Context) error {
		l, err := ctexp.Open(ctx, c)
		if err == nil {
			err = l.Close()
		}
		return err
	}
}

// in is a slip in the Lab of a Config.
func in(c netnsenv.Config, do func(context.Context, *ctexp.Lab) error) func(context.Context) error {
	return func(ctx context.Context) error {
		l, err := ctexp.Open(ctx, c)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		return errors.Join(do(ctx, l), l.Close())
	}
}

// onVeth is a slip in a Lab that every machine has.
func onVeth(do func(context.Context, *ctexp.Lab) error) func(context.Context) error {
	return in(netnsenv.Config{Links: veth, Silent: true}, do)
}

func linked(links ...netnsenv.LinkConfig) func(context.Context) error {
	return opening(netnsenv.Config{Links: links})
}

func prefixed(prefixes ...string) netnsenv.LinkConfig {
	l := netnsenv.LinkConfig{Kind: netnsenv.Veth, Prefixes: []netip.Prefix{}}
	for _, p := range prefixes {
		l.Prefixes = append(l.Prefixes, netip.MustParsePrefix(p))
	}
	return l
}

func routed(prefix, route string) netnsenv.LinkConfig {
	l := prefixed(prefix)
	l.Routes = []netip.Prefix{netip.MustParsePrefix(route)}
	return l
}

func ruled(rules ...netnsenv.Ruleset) func(context.Context) error {
	return opening(netnsenv.Config{Links: veth, Rules: rules})
}

func sysctl(name, value string) func(context.Context) error {
	return opening(netnsenv.Config{Links: veth, Sysctls: map[string]string{name: value}})
}

func probed(probes ...nf.Probe) func(context.Context) error {
	return opening(netnsenv.Config{Links: veth, Probes: probes})
}

func injected(packets ...packet.Packet) func(context.Context) error {
	return onVeth(func(ctx context.Context, l *ctexp.Lab) error {
		_, err := l.Inject(ctx, packet.Packets(packets...))
		return err
	})
}

func flooded(f inject.Flood) func(context.Context) error {
	return onVeth(func(ctx context.Context, l *ctexp.Lab) error { _, err := l.Flood(ctx, f); return err })
}

func replayed(file []byte) func(context.Context) error {
	return onVeth(func(ctx context.Context, l *ctexp.Lab) error {
		_, err := l.Replay(ctx, packet.ReadRecording(bytes.NewReader(file)), inject.Replay{})
		return err
	})
}

// slip is a call that panics as its documentation says.
func slip(do func()) func(context.Context) error {
	return func(context.Context) error { do(); return nil }
}

// closedLab returns what a closed Lab answers.
func closedLab(ask func(context.Context, *ctexp.Lab) error) func(context.Context) error {
	return func(ctx context.Context) error {
		l, err := ctexp.Open(ctx, netnsenv.Config{Links: veth})
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		if err := l.Close(); err != nil {
			return fmt.Errorf("close: %w", err)
		}
		return ask(ctx, l)
	}
}

// over calls do with a context that is over.
func over(do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		l, err := ctexp.Open(ctx, netnsenv.Config{Links: veth})
		if err != nil {
			cancel()
			return err
		}
		defer l.Close()
		cancel()
		return do(ctx)
	}
}

func wrongs() []wrong {
	var none context.Context
	syn := packet.SYN(web)
	mixed := packet.Flow{Src: netip.MustParseAddrPort("[2001:db8::1]:1"), Dst: web.Dst}
	wifi := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 105, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4}
	const inChain = "table ip t {\n chain c {\n  type filter hook input priority 0;\n  %s\n }\n}\n"
	nft := func(rule string) netnsenv.Ruleset { return netnsenv.NFT(fmt.Sprintf(inChain, rule)) }
	save := func(text string) netnsenv.Ruleset { return netnsenv.IPTablesSave(netnsenv.IPTablesNFT, text) }
	command := func(text string) netnsenv.Ruleset { return netnsenv.IPTables(netnsenv.IPTablesNFT, text) }
	return []wrong{
		// Links
		{"no prefix", linked(netnsenv.LinkConfig{Prefixes: []netip.Prefix{{}}}), `link "tun0"|prefix|want an address and a length`},
		{"the network", linked(prefixed("192.0.2.0/24")), `link "tun0"|prefix 192.0.2.0/24|the network|such as 192.0.2.1/24`},
		{"the network of IPv6", linked(prefixed("2001:db8::/64")), `link "tun0"|prefix 2001:db8::/64|the network|want the host's own address`},
		{"the broadcast address", linked(prefixed("192.0.2.255/24")), `link "tun0"|prefix 192.0.2.255/24|the broadcast address|such as 192.0.2.1/24`},
		{"a multicast address", linked(prefixed("224.0.0.1/24")), `link "tun0"|224.0.0.1/24|multicast|such as`},
		{"an unspecified address", linked(prefixed("0.0.0.0/32")), `link "tun0"|0.0.0.0/32|no address|such as`},
		{"a prefix on two links", linked(prefixed("192.0.2.1/24"), prefixed("192.0.2.1/24")), `link "tun1"|192.0.2.1|belongs to link "tun0"`},
		{"an address on two links", linked(prefixed("192.0.2.1/24"), prefixed("192.0.2.1/25")), `link "tun1"|192.0.2.1|belongs to link "tun0"`},
		{"two default routes", linked(routed("192.0.2.1/24", "0.0.0.0/0"), routed("198.51.100.1/24", "0.0.0.0/0")), `link "tun1"|the default route 0.0.0.0/0|link "tun0" already|LinkConfig.Mark`},
		{"a route twice, once not masked", linked(routed("192.0.2.1/24", "10.0.0.0/8"), routed("198.51.100.1/24", "10.9.8.7/8")), `link "tun1"|route to 10.0.0.0/8|link "tun0" already`},
		{"a long name", linked(netnsenv.LinkConfig{Name: "enp0s31f6.123456"}), `link "enp0s31f6.123456"|longer than 15 bytes`},
		{"a name with a slash", linked(netnsenv.LinkConfig{Name: "a/b"}), `link "a/b"|not a valid name`},
		{"a name that a terminal executes", linked(netnsenv.LinkConfig{Name: "a\u009b1m"}), `link "a\u009b1m"|not a valid name`},
		{"the name lo", linked(netnsenv.LinkConfig{Name: "lo"}), `link "lo"|taken|another`},
		{"two links of a name", linked(netnsenv.LinkConfig{Name: "a"}, netnsenv.LinkConfig{Name: "a"}), `link "a"|taken|another`},
		{"a small MTU", linked(netnsenv.LinkConfig{MTU: 20}), `link "tun0"|MTU 20|want 68 to 65535`},
		{"a negative MTU", linked(netnsenv.LinkConfig{MTU: -1}), `link "tun0"|MTU -1|want 68 to 65535`},
		{"a large MTU", linked(netnsenv.LinkConfig{MTU: 100_000}), `link "tun0"|MTU 100000|want 68 to 65535`},

		// Probes, room, sysctls
		{"a probe twice", probed(nf.RawPrerouting, nf.RawPrerouting), `probe "raw/prerouting"|taken|another`},
		{"a probe at no hook", probed(nf.Probe{Hook: 99}), `probe|hook(99)|want a hook from prerouting to postrouting`},
		{"negative room", opening(netnsenv.Config{Room: netnsenv.Free(-1)}), `room for -1|want 0 or more`},
		{"too much room", opening(netnsenv.Config{Links: veth, Room: netnsenv.Free(1 << 40)}), `room for 1099511627776|want at most|nf_conntrack_max`},
		{"an unknown sysctl", sysctl("net.ipv4.ip_foward", "1"), `sysctl net.ipv4.ip_foward|does not exist`},
		{"a sysctl of the machine", sysctl("kernel.panic", "1"), `sysctl "kernel.panic"|want a name that begins with "net."`},
		{"the path of a sysctl", sysctl("/proc/sys/net/ipv4/ip_forward", "1"), `sysctl "/proc/sys/net/ipv4/ip_forward"|want a name that begins with "net."`},
		{"a sysctl that escapes", sysctl("net/../kernel/panic", "1"), `sysctl "net/../kernel/panic"|want a name that begins with "net."`},
		{"the limit", sysctl("net.netfilter.nf_conntrack_max", "7"), `sysctl net.netfilter.nf_conntrack_max|the whole host|Config.Room|netnsenv.Free(n)`},
		{"the limit by its old name", sysctl("net.nf_conntrack_max", "7"), `sysctl net.nf_conntrack_max|the whole host|Config.Room|netnsenv.Free(n)`},
		{"a word for a number", sysctl("net.ipv4.ip_forward", "yes"), `sysctl net.ipv4.ip_forward|refuses the value "yes"`},

		// Rules
		{"nft: a typo", ruled(nft("tcp dport eighty accpt")), `nft rules|line 4, column|syntax error|tcp dport eighty accpt`},
		{"nft: a missing link", ruled(nft("iif eth0 tcp dport 80 accept")), `nft rules|line 4|no link "eth0"|iifname does not`},
		{"iptables-save: a typo", ruled(save("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp --dprt 80 -j DROP\nCOMMIT\n")), `iptables-nft rules|line 3|unknown option "--dprt"`},
		{"iptables-save without COMMIT", ruled(save("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp --dport 80 -j DROP\n")), `iptables-nft rules|COMMIT expected at line`},
		{"iptables with its name", ruled(command("iptables -A INPUT -j DROP")), `iptables-nft rules|line 1|command "iptables"|want -A, -D`},
		{"iptables: a wrong chain", ruled(command(`-A INPTU -m comment --comment "a b" -j DROP`)), `iptables-nft rules|line 1|no chain "INPTU" in the table filter`},
		{"iptables of another variant", ruled(netnsenv.IPTables("iptables", "-A INPUT -j DROP")), `variant "iptables"|want "iptables-legacy" or "iptables-nft"`},
		{"a nil Ruleset", ruled(nil), "rules[0] is nil"},
		{"NFTables of nothing", ruled(netnsenv.NFTables(nil)), "nftables rules|the function is nil"},
		{"a helper that no kernel has", ruled(netnsenv.Helper{Name: "http", Proto: nf.TCP, Match: nf.Match{DstPort: 80}}), `helper "http"`},

		// Packets
		{"an unknown link", onVeth(func(ctx context.Context, l *ctexp.Lab) error {
			_, err := l.InjectOn(ctx, "eth7", packet.SYNs(1, web))
			return err
		}), `no link "eth7"|there are tun0`},
		{"an unknown link for frames", onVeth(func(ctx context.Context, l *ctexp.Lab) error {
			_, err := l.InjectFrames(ctx, "eth7", packet.Frames())
			return err
		}), `no link "eth7"|there are tun0`},
		{"an unknown link for a peer", onVeth(func(_ context.Context, l *ctexp.Lab) error { _, err := l.TCP("eth7", web); return err }), `no link "eth7"|there are tun0`},
		{"an unknown link to expect on", onVeth(func(ctx context.Context, l *ctexp.Lab) error {
			_, err := l.Inbox.Expect(ctx, packet.Match{Out: "eth7"})
			return err
		}), `no link "eth7"|there is tun0`},
		{"a packet beyond the MTU", injected(web.UDP(make([]byte, 3000))), "packet 1|tun0|3028 bytes into an MTU of 1500"},
		{"an empty packet", injected(syn, packet.Packet{}), "packet 2|tun0|empty"},
		{"no sequence", onVeth(func(ctx context.Context, l *ctexp.Lab) error { _, err := l.Inject(ctx, nil); return err }), "inject|the sequence is nil"},
		{"no layers", func(context.Context) error { _, err := packet.Build(); return err }, "build packet|no layers"},
		{"a nil layer", func(context.Context) error { _, err := packet.Build(nil); return err }, "build packet|layer 0 is nil"},
		{"a nil layer of a type", func(context.Context) error { _, err := packet.Build((*layers.IPv4)(nil)); return err }, "build packet|layer 0 is nil"},
		{"a flood of fewer than none", flooded(inject.Flood{Template: syn, N: -5}), "flood tun0|N is -5|want the number"},
		{"a flood without an end", flooded(inject.Flood{Template: syn}), "flood tun0|neither N nor Duration"},
		{"a flood of nothing", flooded(inject.Flood{N: 5}), "flood tun0|the template of 0 bytes is no packet"},
		{"a flood of too many ports", flooded(inject.Flood{Template: syn, N: 5, Vary: []inject.Vary{{Field: inject.VarySrcPort, Count: 70_000}}}), "flood tun0|vary[0] (source port)|70000 values|beyond"},
		{"a text for a recording", replayed([]byte("hello, this is no capture\n")), "recording|neither pcap nor pcapng"},
		{"an empty recording", replayed(nil), "recording|the file is empty"},
		{"a recording that was cut", replayed(wifi[:len(wifi)-2]), "recording|packet 1|truncated"},
		{"a recording of radio", replayed(wifi), "recording|packet 1|link type 105"},
		{"negative age", onVeth(func(ctx context.Context, l *ctexp.Lab) error { _, err := l.Age(ctx, -time.Second); return err }), "age by -1s|want 0 or more"},

		// The host's own programs and sockets
		{"a missing program", onVeth(func(ctx context.Context, l *ctexp.Lab) error { return l.Env.Command(ctx, "nosuchprogram").Run() }), `"nosuchprogram"|not found`},
		{"a program that fails", onVeth(func(ctx context.Context, l *ctexp.Lab) error {
			_, err := l.Env.Command(ctx, "sh", "-c", "echo so it is >&2; false").Output()
			return err
		}), "sh -c|exit status 1|so it is"},
		{"a port without a listener", in(netnsenv.Config{Links: veth}, func(ctx context.Context, l *ctexp.Lab) error {
			_, err := l.Env.Dial(ctx, "tcp", "127.0.0.1:81")
			return err
		}), "dial tcp 127.0.0.1:81|refused"},
		{"a host name", onVeth(func(ctx context.Context, l *ctexp.Lab) error {
			_, err := l.Env.Listen(ctx, "tcp", "localhost:80")
			return err
		}), `"localhost:80"|want a literal IP address`},

		// Places, contexts, a closed Lab
		{"a missing place", func(context.Context) error { _, err := observe.At("/run/netns/nosuch"); return err }, "/run/netns/nosuch|no such file"},
		{"a place that is a file", func(context.Context) error { _, err := observe.At("/etc/passwd"); return err }, "/etc/passwd|not a network namespace"},
		{"a place of no process", func(context.Context) error { _, err := observe.AtPID(1 << 30); return err }, "/proc/1073741824/ns/net|no such file"},
		{"a context that is over", over(func(ctx context.Context) error { _, err := ctexp.Open(ctx, netnsenv.Config{Links: veth}); return err }), "open|context canceled"},
		{"inject when closed", closedLab(func(ctx context.Context, l *ctexp.Lab) error {
			_, err := l.Inject(ctx, packet.SYNs(1, web))
			return err
		}), "tun0|the Env is closed"},
		{"tally when closed", closedLab(func(ctx context.Context, l *ctexp.Lab) error { _, err := l.Observer.Tally(ctx); return err }), "tally|closed"},

		// Documented panics
		{"a nil context", slip(func() { _, _ = netnsenv.Open(none, netnsenv.Config{}) }), "panic: netnsenv: Open with a nil context"},
		{"a link that there is none of", onVeth(func(ctx context.Context, l *ctexp.Lab) error {
			defer l.Close()
			_, err := inject.New(l.Env.Link("eth7")).Send(ctx, packet.SYNs(1, web))
			return err
		}), "panic: inject: New of a nil Link|Env.Link returns nil"},
		{"a packet that is too long", slip(func() { web.UDP(make([]byte, 70_000)) }), "panic: packet: |70028 bytes is more than 65535"},
		{"a packet from nowhere", slip(func() { packet.SYN(packet.Flow{}) }), "panic: packet: |both addresses are needed"},
		{"a packet of two families", slip(func() { packet.SYN(mixed) }), "panic: packet: |one is IPv4, one IPv6"},
		{"more ports than there are", slip(func() { packet.SYNs(60_000, web) }), "panic: packet: |source port 10000 + 59999 is beyond 65535"},
		{"fewer packets than none", slip(func() { packet.SYNs(-1, web) }), "panic: packet: |negative count -1"},
	}
}

// A slip is told in one line: where it is, what is wrong, and what is wanted. None of them skips a test, panics without
// saying so in the documentation, or leaves anything behind.
func TestSlipsAreToldInOneLine(t *testing.T) {
	ctexp.New(t, netnsenv.Config{Links: veth})
	cases := wrongs()
	for _, w := range cases {
		t.Run(w.name, func(t *testing.T) {
			err := told(t, w)
			if err == nil {
				t.Fatalf("no error, want one with %s", w.want)
			}
			if program := needs.Of(err); program == "nft" || program == string(netnsenv.IPTablesNFT) {
				needs.Check(t, err)
			}
			text := err.Error()
			for _, part := range strings.Split(w.want, "|") {
				if !strings.Contains(text, part) {
					t.Errorf("it does not say %q:\n%s", part, text)
				}
			}
			lines := strings.Count(text, "\n") + 1
			if rules := (*nf.RulesError)(nil); errors.As(err, &rules) {
				lines-- // the first line has the kind of rules
			}
			if lines > 1 {
				t.Errorf("%d lines:\n%s", lines, text)
			}
			if errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("a test would skip: %s", text)
			}
		})
	}

	before := held(t)
	for _, w := range cases {
		_ = told(t, w)
	}
	left := held(t)
	for tick := time.NewTicker(10 * time.Millisecond); left.more(before) && t.Context().Err() == nil && !late(t); left = held(t) {
		<-tick.C // the kernel and the runtime take their time
	}
	if left.more(before) {
		t.Errorf("before %+v, and then %+v", before, left)
	}
}

// told returns the error of a slip; that of a panic begins with "panic: ".
func told(t *testing.T, w wrong) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if _, runtime := p.(runtime.Error); runtime {
				t.Errorf("%s: %v", w.name, p)
			}
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return w.do(t.Context())
}

// late reports whether the test must soon end.
func late(t *testing.T) bool {
	at, ok := t.Deadline()
	return ok && time.Until(at) < 10*time.Second
}

// inUse is what this process holds.
type inUse struct{ Descriptors, Goroutines, Threads, Children int }

// more reports whether u has more of anything. It may have less: what earlier tests have closed goes in the background.
func (u inUse) more(than inUse) bool {
	return u.Descriptors > than.Descriptors || u.Goroutines > than.Goroutines || u.Threads > than.Threads || u.Children > than.Children
}

// held returns what this process holds; of threads those in other namespaces, because others are the runtime's.
func held(t *testing.T) (u inUse) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		if there, err := os.Readlink(thread); err == nil && there != here { // else it has just ended
			u.Threads++
		}
	}
	children, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range children {
		if text, err := os.ReadFile(file); err == nil {
			u.Children += len(strings.Fields(string(text)))
		}
	}
	u.Descriptors, u.Goroutines = len(fds), runtime.NumGoroutine()
	return u
}
