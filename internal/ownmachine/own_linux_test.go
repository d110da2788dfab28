// Package ownmachine tests what needs a machine of one's own: what belongs to the whole machine, or what a host's kernel
// often lacks.
//
//	go test -exec 'ctexp-vm -kernel 6.1' ./internal/ownmachine
package ownmachine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		os.Unsetenv("CTEXP_VM") // inside, everybody is root: isOwn asks once more there
	}
	if isOwn() {
		// For TestHelperWithoutItsRewriter. It works before MainWith has left the user namespace of the machine; then it fails.
		_ = unix.DeleteModule("nf_nat_ftp", 0)
	}
	ctexp.MainWith(m, netnsenv.Entry{HostNetwork: true})
}

// isOwn reports whether the machine is ours alone.
func isOwn() bool { return os.Getenv("CTEXP_VM") != "" && os.Getuid() == 0 }

var web = packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}

// ownMachine skips the test where what it changes would be others', too.
func ownMachine(t *testing.T) {
	t.Helper()
	if !isOwn() {
		needs.Check(t, &nf.UnsupportedError{Need: "a machine of one's own", Hint: "go test -exec 'ctexp-vm -kernel 6.1' ./internal/ownmachine"})
	}
}

const limitFile = "/proc/sys/net/netfilter/nf_conntrack_max"

// setLimit sets the limit of the machine's tables until the end of the test.
func setLimit(t *testing.T, limit int) {
	t.Helper()
	before, err := os.ReadFile(limitFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(limitFile, before, 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(limitFile, []byte(strconv.Itoa(limit)), 0); err != nil {
		t.Fatal(err)
	}
}

// kernelLog returns a function that returns what the kernel has said since.
func kernelLog(t *testing.T) (since func() string) {
	t.Helper()
	f, err := os.OpenFile("/dev/kmsg", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	read := func() string {
		var all strings.Builder
		line := make([]byte, 8<<10)
		err := raw.Control(func(fd uintptr) {
			for {
				n, err := unix.Read(int(fd), line)
				switch {
				case errors.Is(err, unix.EPIPE): // lines were lost
				case err != nil:
					return
				default:
					all.Write(line[:n])
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return all.String()
	}
	read()
	return read
}

// The article as it was: the limit of the machine is seven, ten flows come, and the kernel's log says what became of three.
func TestLimitOfTheMachine(t *testing.T) {
	ownMachine(t)
	x := ctexp.New(t, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting}})
	said := kernelLog(t)
	setLimit(t, 7)
	x.Inject(packet.SYNs(10, web))

	if n := len(x.Flows()); n != 7 {
		t.Errorf("%d entries, want 7", n)
	}
	stats := x.Stats()
	evicted := int(stats.EarlyDrop) // one of a thousand times, because early_drop looks into eight buckets
	if got := x.Tally().Packets; got["raw/prerouting"] != 10 || got["mangle/prerouting"] != uint64(7+evicted) {
		t.Errorf("%v, %d evicted; want 10 and 7 more than that", got, evicted)
	}
	if int(stats.Drop)+evicted != 3 {
		t.Errorf("%+v, want 3 dropped or evicted", stats)
	}
	if log := said(); evicted == 0 && (!strings.Contains(log, "table full") || !strings.Contains(log, "dropping packet")) {
		t.Errorf("the kernel's log: %s", log)
	}
}

// A limit of zero is none, in each namespace.
func TestNoLimitOfTheMachine(t *testing.T) {
	ownMachine(t)
	needs.Check(t, kernel.ZeroLimit.Lack())
	x := ctexp.New(t, netnsenv.Config{Silent: true})
	setLimit(t, 0)
	x.Inject(packet.SYNs(100, web))
	if n := len(x.Flows()); n != 100 {
		t.Errorf("%d entries, want 100", n)
	}
}

// isLoaded reports whether the kernel has loaded a module.
func isLoaded(t *testing.T, name string) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/modules")
	if err != nil {
		t.Fatal(err)
	}
	return ruleset.IsLoaded(string(b), name)
}

// A rule makes the kernel load the module that it needs: a container does that to its host.
func TestRulesLoadModules(t *testing.T) {
	ownMachine(t)
	const module = "xt_u32"
	if isLoaded(t, module) {
		t.Fatalf("%s is loaded before", module)
	}
	x := ctexp.New(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{
		netnsenv.IPTables("iptables-legacy", "-A INPUT -m u32 --u32 6&0xFF=6 -j DROP"),
	}})
	if !isLoaded(t, module) {
		t.Errorf("%s is not loaded", module)
	}
	x.Inject(packet.SYNs(3, web))
	if got := x.Fates(); len(got) != 3 || !strings.Contains(fmt.Sprint(got[0]), "u32") {
		t.Errorf("%v, want three packets dropped by the rule", got)
	}
}

// run executes a program inside.
func run(t *testing.T, x *ctexp.Experiment, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		needs.Check(t, &nf.UnsupportedError{Need: args[0], Hint: "apt-get install iproute2", Err: err})
	}
	if out, err := x.Env.Command(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
}

// What a delay holds is not lost: who waits gets it.
func TestDelayedPacketsAreNotLost(t *testing.T) {
	ownMachine(t)
	x := ctexp.New(t, netnsenv.Config{Silent: true, Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}, Links: []netnsenv.LinkConfig{
		{Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.0.1/24")}}, {Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/24")}},
	}})
	run(t, x, "tc", "qdisc", "add", "dev", "tun1", "root", "netem", "delay", "300ms")
	through := packet.Flow{Src: web.Src, Dst: netip.MustParseAddrPort("203.0.113.2:80")}
	x.Inject(packet.SYNs(5, through))
	for i := range 5 {
		got := x.Expect(packet.Match{Out: "tun1", Proto: nf.TCP})
		if src := got.Tuple().Src; src != through.Nth(i).Src {
			t.Errorf("packet %d is from %v", i, src)
		}
	}
}

// Where NAT translates, the FTP helper rewrites the address of PORT only with a module of its own, which no rule loads.
func TestHelperWithoutItsRewriter(t *testing.T) {
	ownMachine(t)
	x := ctexp.New(t, netnsenv.Config{
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}, Links: []netnsenv.LinkConfig{
			{Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.0.1/24")}}, {Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/24")}},
		}, Rules: []netnsenv.Ruleset{
			netnsenv.Helper{Name: "ftp", Proto: nf.TCP, Match: nf.Match{DstPort: 21}},
			netnsenv.NFT("table ip nat { chain post { type nat hook postrouting priority srcnat; oifname tun1 masquerade; }; }"),
		},
	})
	f := packet.Flow{Src: web.Src, Dst: netip.MustParseAddrPort("203.0.113.2:21")}
	outside := packet.Flow{Src: netip.MustParseAddrPort("203.0.113.1:10000"), Dst: f.Dst}
	x.InjectOn("tun0", packet.Packets(packet.SYN(f)))
	x.InjectOn("tun1", packet.Packets(packet.SYNACK(outside.Reverse())))
	x.InjectOn("tun0", packet.Packets(packet.ACK(f)))
	seq := uint32(2)
	const port = "PORT 198,18,0,2,8,1\r\n"
	for _, line := range []string{"USER u\r\n", port} { // the helper reads lines that follow another
		x.InjectOn("tun0", packet.Packets(f.TCP(packet.TCP{Flags: packet.FlagPSH | packet.FlagACK, Seq: seq, Ack: 2, Window: 65535, Payload: []byte(line)})))
		seq += uint32(len(line))
	}
	out := x.Frames(packet.Match{Out: "tun1", Proto: nf.TCP})
	if got := string(out[len(out)-1].Data()); got != port {
		t.Errorf("%q left, want it as it came", got)
	}
	modules, err := os.ReadFile("/proc/modules")
	if err != nil {
		t.Fatal(err)
	}
	if got := ruleset.RewriterMissing("ftp", string(modules)); got != "nf_nat_ftp" {
		t.Errorf("missing: %q", got)
	}
}

// addVirtualService makes IPVS send what comes for a TCP service to a server. It sets socket options (include/uapi/linux/ip_vs.h,
// struct ip_vs_service_user, ip_vs_dest_user) because ipvsadm's netlink asks for the capability of the machine, which nobody has
// in a user namespace.
func addVirtualService(t *testing.T, x *ctexp.Experiment, service, server netip.AddrPort) {
	t.Helper()
	const base = 64 + 1024 + 64 // IP_VS_BASE_CTL
	const addService, addServer = base + 2, base + 7
	port := func(a netip.AddrPort) (p [2]byte) { binary.BigEndian.PutUint16(p[:], a.Port()); return p }
	type virtual struct {
		Proto          uint16
		_              uint16
		Addr           [4]byte
		Port           [2]byte
		_              uint16
		Mark           uint32
		Scheduler      [16]byte
		Flags, Timeout uint32
		Netmask        [4]byte
	}
	v := virtual{Proto: uint16(nf.TCP), Addr: service.Addr().As4(), Port: port(service), Scheduler: [16]byte{'r', 'r'}, Netmask: [4]byte{255, 255, 255, 255}}
	both := struct {
		virtual
		Addr          [4]byte
		Port          [2]byte
		_             uint16
		Flags, Weight uint32 // no flags: masquerading
		Upper, Lower  uint32
	}{virtual: v, Addr: server.Addr().As4(), Port: port(server), Weight: 1}
	set := func(fd, option int, value any) error {
		b, err := binary.Append(nil, binary.NativeEndian, value)
		if err != nil {
			return err
		}
		return os.NewSyscallError("setsockopt", unix.SetsockoptString(fd, unix.SOL_IP, option, string(b)))
	}
	err := x.Env.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := set(fd, addService, v); err != nil {
			return err
		}
		return set(fd, addServer, both)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// IPVS sends what comes for a service on to a server, without an entry: it takes the packets from conntrack before the confirmation
// (net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_nat_send_or_cont). vs/conntrack would keep them, but user namespaces do not have that
// sysctl (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_control_net_init_sysctl).
func TestIPVSIsNotTracked(t *testing.T) {
	ownMachine(t)
	x := ctexp.New(t, netnsenv.Config{
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}, Links: []netnsenv.LinkConfig{
			{Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.0.1/24")}}, {Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/24")}},
		},
		Rules: []netnsenv.Ruleset{netnsenv.NFT("table ip t { chain c { type filter hook postrouting priority 0; ct state new counter; }; }")},
	})
	to := packet.Flow{Src: web.Src, Dst: netip.MustParseAddrPort("198.18.0.1:80")}
	server := netip.MustParseAddrPort("203.0.113.2:8080")
	addVirtualService(t, x, to.Dst, server)
	x.InjectOn("tun0", packet.Packets(packet.SYN(to)))
	got := x.Expect(packet.Match{Out: "tun1", Proto: nf.TCP})
	if tuple := got.Tuple(); tuple.Src != to.Src || tuple.Dst != server {
		t.Errorf("%v left, want it for %v", tuple, server)
	}
	x.InjectOn("tun1", packet.Packets(packet.SYNACK(packet.Flow{Src: server, Dst: to.Src})))
	if back := x.Expect(packet.Match{Out: "tun0", Proto: nf.TCP}); back.Tuple().Src != to.Dst {
		t.Errorf("%v came back, want it from %v", back.Tuple(), to.Dst)
	}
	if flows := x.Flows(); len(flows) != 0 {
		t.Errorf("%v, want no entry", flows)
	}
}

// hping3 writes packets into a raw socket: they pass the hooks of what the machine itself sends, and a refusal is the socket's.
func TestRawSocketMeetsTheLimit(t *testing.T) {
	ownMachine(t)
	x := ctexp.New(t, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawOutput, nf.MangleOutput}})
	setLimit(t, 7)
	self := packet.Flow{Src: netip.AddrPortFrom(x.Env.Links()[0].Prefixes()[0].Addr(), 10000), Dst: web.Src}
	refused := 0
	err := x.Env.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for i := range 10 {
			err := unix.Sendto(fd, packet.SYN(self.Nth(i)), 0, &unix.SockaddrInet4{Addr: self.Dst.Addr().As4()})
			switch {
			case errors.Is(err, unix.EPERM):
				refused++
			case err != nil:
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	evicted := int(x.Stats().EarlyDrop)
	if n := len(x.Flows()); n != 7 || refused+evicted != 3 {
		t.Errorf("%d entries, %d packets refused, %d entries evicted; want 7, and 3 together", n, refused, evicted)
	}
	if got := x.Tally().Packets; got["raw/output"] != 10 || got["mangle/output"] != uint64(10-refused) {
		t.Errorf("%v with %d refused", got, refused)
	}
}
