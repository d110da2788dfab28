package packet_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

// The entry that one packet of each protocol creates, on both kinds of links. DCCP has ports up to 6.16, which are cut off.
func TestTheKernelTakesWhatWeBuild(t *testing.T) {
	t.Parallel()
	bothLinks(t, func(t *testing.T, h machine) {
		v4, v6 := " src=198.18.0.2 dst=192.0.2.1", " src=2001:db8::2 dst=2001:db8::1"
		const ports = " sport=10000 dport=80"
		both := map[string]string{
			"tcp syn": "tcp SYN_SENT*" + ports, "tcp data": "tcp ESTABLISHED*" + ports, "udp": "udp*" + ports,
			"sctp init": "sctp CLOSED*" + ports, "sctp heartbeat": "sctp HEARTBEAT_SENT*" + ports,
			"dccp DCCP-Request": "dccp*", "gre with all": "gre* srckey=0x0 dstkey=0x0", "pptp data": "gre* srckey=0x0 dstkey=0x5",
			"ip in ip": "unknown-4*", "any protocol": "unknown-253*",
		}
		for _, c := range []struct {
			flow  packet.Flow
			addrs string
			more  map[string]string
		}{
			{web, v4, map[string]string{
				"echo": "icmp* type=8 code=0 id=1", "ip options": "tcp SYN_SENT*" + ports, "udp without checksum": "udp*" + ports,
			}},
			{web6, v6, map[string]string{
				"echo": "icmpv6* type=128 code=0 id=1", "hop-by-hop": "udp*" + ports, "destination options": "tcp SYN_SENT*" + ports,
				"routing": "tcp SYN_SENT*" + ports, "ah": "tcp SYN_SENT*" + ports, "all of them": "udp*" + ports,
			}},
		} {
			want := maps.Clone(both)
			maps.Copy(want, c.more)
			got := map[string]string{}
			for _, k := range packettest.Kinds(c.flow) {
				if _, ok := want[k.Name]; !ok {
					continue
				}
				got[k.Name] = strings.ReplaceAll(h.entries(t, k.Packet), c.addrs, "*")
				if k.Name == "dccp DCCP-Request" {
					if kernel.DCCPTracked.Here() {
						want[k.Name] = "dccp REQUEST*"
					}
					got[k.Name], _, _ = strings.Cut(got[k.Name], " sport=")
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("entries of %v, * for%s (-want +got):\n%s", c.flow, c.addrs, diff)
			}
		}
	})
}

// Intentionally malformed packets are dropped before conntrack or are INVALID.
func TestTheKernelRefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	bothLinks(t, func(t *testing.T, h machine) {
		syn, syn6 := packet.SYN(web), packet.SYN(web6)
		got := map[string]string{}
		for name, p := range map[string]packet.Packet{
			"header checksum": syn.With(packet.HeaderChecksum(0xbad)), "checksum": syn.With(packet.Checksum(0xbad)),
			"checksum of IPv6": syn6.With(packet.Checksum(0xbad)), "version": syn.With(packet.Version(6)),
			"too long": syn.With(packet.TotalLength(41)), "too long for IPv6": syn6.With(packet.TotalLength(61)),
			"too short": syn.With(packet.TotalLength(30)), "IHL": syn.With(packet.IHL(4)), "cut": syn.With(packet.Truncate(30)),
			"data offset": syn.With(packet.DataOffset(4)), "UDP length": web.UDP(nil).With(packet.UDPLength(9)),
			"no flags": syn.With(packet.Flags(0)), "SCTP": web.SCTP(0, packet.SCTPInit(1, 1)).With(packet.Checksum(1)),
		} {
			if e := h.entries(t, p); e != "" {
				got[name] = e
			}
		}
		if diff := cmp.Diff(map[string]string{}, got); diff != "" {
			t.Errorf("entries of what is wrong (-want +got):\n%s", diff)
		}
	})
}

// Fragments in any order are one flow, which exists when all of them have arrived.
func TestTheKernelReassemblesFragments(t *testing.T) {
	t.Parallel()
	bothLinks(t, func(t *testing.T, h machine) {
		got := map[string]string{}
		for name, f := range map[string]packet.Flow{"IPv4": web, "IPv6": web6} {
			fs := f.UDP(make([]byte, 3000)).Fragments(1280)
			reversed := slices.Clone(fs)
			slices.Reverse(reversed)
			for what, fs := range map[string][]packet.Packet{"in order": fs, "reversed": reversed, "the first is missing": fs[1:]} {
				id := packet.ID(uint32(len(got) + 8)) // those of a fragment that is missing wait for it
				for i := range fs {
					fs[i] = fs[i].With(id)
				}
				got[name+" "+what] = h.entries(t, fs...)
			}
		}
		udp, udp6 := "udp src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80", "udp src=2001:db8::2 dst=2001:db8::1 sport=10000 dport=80"
		want := map[string]string{
			"IPv4 in order": udp, "IPv4 reversed": udp, "IPv4 the first is missing": "",
			"IPv6 in order": udp6, "IPv6 reversed": udp6, "IPv6 the first is missing": "",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("entries (-want +got):\n%s", diff)
		}
	})
}

// Conntrack checks UDP-Lite with the protocol number of UDP (net/netfilter/nf_conntrack_proto_udp.c, udplite_error), so that
// a right checksum is a wrong one to it, at least up to 6.18.
func TestConntrackTakesUDPLiteWithoutTheChecksum(t *testing.T) {
	t.Parallel()
	h := newHost(t, netnsenv.Auto, map[string]string{"net.netfilter.nf_conntrack_checksum": "0"})

	got := h.entries(t, web.UDPLite(0, []byte("hello")))

	want := "udplite src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80"
	if !kernel.UDPLiteTracked.Here() {
		want = "udplite src=198.18.0.2 dst=192.0.2.1 sport=0 dport=0"
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

// machine is a silent host with an address of each family.
type machine struct {
	env *netnsenv.Env
	o   *observe.Observer
}

func bothLinks(t *testing.T, test func(*testing.T, machine)) {
	for _, kind := range []netnsenv.LinkKind{netnsenv.Tun, netnsenv.Veth} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			test(t, newHost(t, kind, nil))
		})
	}
}

func newHost(t *testing.T, kind netnsenv.LinkKind, sysctls map[string]string) machine {
	t.Helper()
	prefix := func(f packet.Flow) netip.Prefix { return netip.PrefixFrom(f.Dst.Addr(), f.Dst.Addr().BitLen()-8) }
	env := open(t, netnsenv.Config{
		Silent: true, Sysctls: sysctls,
		Links: []netnsenv.LinkConfig{{Kind: kind, Prefixes: []netip.Prefix{prefix(web), prefix(web6)}}},
	})
	return machine{env, observer(t, env)}
}

func observer(t *testing.T, env *netnsenv.Env) *observe.Observer {
	t.Helper()
	o, err := observe.Open(t.Context(), env, observe.Config{Silent: env.Config().Silent, NoFrames: true})
	needs.Check(t, err)
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// entries returns protocol, state and original tuple of the entries that the packets create.
func (h machine) entries(t *testing.T, ps ...packet.Packet) string {
	t.Helper()
	if _, err := h.env.Table().Flush(t.Context(), nf.Filter{}); err != nil {
		t.Fatal(err)
	}
	if _, err := inject.New(h.env.Links()[0]).Send(t.Context(), packet.Packets(ps...)); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for e, err := range h.o.Flows(t.Context(), nf.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(e.String(), " [UNREPLIED]")
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}
