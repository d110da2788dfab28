package netnsenv_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
)

// zoneOfUDP assigns a zone to UDP packets before conntrack.
func zoneOfUDP(zone byte) netnsenv.Ruleset {
	return netnsenv.NFTables(func(c *nftables.Conn) error {
		table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "zones"})
		chain := c.AddChain(&nftables.Chain{
			Table: table, Name: "raw", Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRaw,
		})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{byte(nf.UDP)}},
			&expr.Immediate{Register: 1, Data: []byte{zone, 0}},
			&expr.Ct{Key: expr.CtKeyZONE, Register: 1, SourceRegister: true},
		}})
		return nil
	})
}

// entriesOf returns the entries of the table.
func entriesOf(t testing.TB, e *netnsenv.Env) []nf.Entry {
	t.Helper()
	obs, err := observe.Open(t.Context(), e, observe.Config{NoEvents: true, NoFrames: true, Filler: e.Room().Filler})
	if err != nil {
		t.Fatal(err)
	}
	defer obs.Close()
	all, err := obs.SortedFlows(t.Context(), nf.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Each policy applies to its own flows only.
func TestTimeoutPolicyIsAssigned(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{
		zoneOfUDP(5),
		netnsenv.TimeoutPolicy{Proto: nf.TCP, Match: nf.Match{DstPort: 80}, Timeouts: seconds("syn_sent", 1000)},
		netnsenv.TimeoutPolicy{Proto: nf.UDP, Zone: nf.InZone(5), Timeouts: seconds("unreplied", 2000)},
		netnsenv.TimeoutPolicy{Proto: nf.UDP, Zone: nf.InZone(6), Timeouts: seconds("unreplied", 3000)},
		netnsenv.TimeoutPolicy{Proto: nf.ICMP, Family: nf.IPv4, Timeouts: seconds("timeout", 4000)},
	}})
	other := web
	other.Dst = addrPort("192.0.2.1:81")

	send(t, e, packet.SYN(web), packet.SYN(other), web.UDP(nil), packet.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, nil))

	got := map[string]int{}
	for _, en := range entriesOf(t, e) {
		got[fmt.Sprint(en.Orig.Proto, " ", en.Orig)] = int(en.Timeout/time.Second) + 1
	}
	want := map[string]int{
		"tcp " + web.Tuple(nf.TCP).String():                    1000,
		"tcp " + other.Tuple(nf.TCP).String():                  120,
		"udp " + web.UDP(nil).Tuple().String():                 2000,
		"icmp src=198.18.0.2 dst=192.0.2.1 type=8 code=0 id=1": 4000,
	}
	if diff := cmp.Diff(want, got, slack); diff != "" {
		t.Errorf("seconds by flow (-want +got):\n%s", diff)
	}
}

// The kernel accepts the names of all states, and the sysctls have them.
func TestTimeoutStatesAreTheKernels(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	for _, p := range []nf.Proto{nf.TCP, nf.UDP, nf.UDPLite, nf.GRE, nf.ICMP, nf.ICMPv6, nf.SCTP} {
		policy := netnsenv.TimeoutPolicy{Proto: p, Timeouts: map[string]time.Duration{}}
		for i, s := range netnsenv.TimeoutStates(p) {
			policy.Timeouts[s] = time.Duration(i+1) * time.Second
			if p == nf.TCP && s == "syn_sent2" {
				continue
			}
			if _, err := e.Sysctl(netnsenv.TimeoutSysctl(p, s)); err != nil {
				t.Errorf("%v %s: %v", p, s, err)
			}
		}
		err := policy.Load(t.Context(), e)
		if p == nf.UDPLite && !kernel.UDPLiteTracked.Here() {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%v: %v, want that it is unsupported", p, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", p, err)
		}
	}
	if _, err := e.Sysctl(netnsenv.TimeoutSysctl(0, "timeout")); err != nil {
		t.Error(err)
	}
}

func seconds(state string, n int) map[string]time.Duration {
	return map[string]time.Duration{state: time.Duration(n) * time.Second}
}

func TestInvalidObjects(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	for want, r := range map[string]netnsenv.Ruleset{
		"timeout policy: protocol unknown-99: conntrack has no timeout policies for it": netnsenv.TimeoutPolicy{Proto: 99, Timeouts: seconds("timeout", 1)},
		"timeout policy: no timeouts: want some of unreplied, replied":                  netnsenv.TimeoutPolicy{Proto: nf.UDP},
		`timeout policy: udp has no state "syn_sent": want one of unreplied, replied`:   netnsenv.TimeoutPolicy{Proto: nf.UDP, Timeouts: seconds("syn_sent", 1)},
		"timeout policy: replied of 0s: want whole seconds, from 1 on":                  netnsenv.TimeoutPolicy{Proto: nf.UDP, Timeouts: seconds("replied", 0)},
		"timeout policy: it matches tcp, and is for udp":                                netnsenv.TimeoutPolicy{Proto: nf.UDP, Timeouts: seconds("replied", 1), Match: nf.Match{Proto: nf.TCP}},
		"timeout policy: it matches ports, which icmp does not have":                    netnsenv.TimeoutPolicy{Proto: nf.ICMP, Timeouts: seconds("timeout", 1), Match: nf.Match{DstPort: 1}},
		`helper "": want a name of 1 to 15 bytes`:                                       netnsenv.Helper{Proto: nf.TCP},
		`helper "ftp": protocol icmp: want tcp or udp`:                                  netnsenv.Helper{Name: "ftp", Proto: nf.ICMP},
		`helper "ftp": it matches udp, and is for tcp`:                                  netnsenv.Helper{Name: "ftp", Proto: nf.TCP, Match: nf.Match{Proto: nf.UDP}},
		"expect: the match has no protocol":                                             netnsenv.Expect{},
		"expect: protocol icmp has no ports to expect":                                  netnsenv.Expect{Match: nf.Match{Proto: nf.TCP}, Proto: nf.ICMP},
		"expect: the port is 0":                                                         netnsenv.Expect{Match: nf.Match{Proto: nf.TCP}, Proto: nf.TCP},
		"expect: timeout 1.5s: want whole seconds, from 1 on":                           netnsenv.Expect{Match: nf.Match{Proto: nf.TCP}, Proto: nf.TCP, Port: 1, Timeout: 1500 * time.Millisecond},
	} {
		if err := r.Load(t.Context(), e); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	for want, r := range map[string]netnsenv.Helper{ // no machine has them, so that nothing may skip
		"want one of amanda, ftp, irc": {Name: "nonesuch", Proto: nf.TCP},
		"it supports tcp, not udp":     {Name: "ftp", Proto: nf.UDP},
		"it supports only IPv4":        {Name: "irc", Proto: nf.TCP, Family: nf.IPv6},
	} {
		if err := r.Load(t.Context(), e); err == nil || errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %s", r, err, want)
		}
	}
	left := slices.DeleteFunc(tablesOf(t, e), func(name string) bool { return name == "ctexp" })
	if len(left) != 0 {
		t.Errorf("tables that are left behind: %v", left)
	}
	defer func() {
		if got, want := recover(), `netnsenv: TimeoutSysctl: udp has no state "syn_sent": want one of unreplied, replied`; got != want {
			t.Errorf("panic %v, want %s", got, want)
		}
	}()
	netnsenv.TimeoutSysctl(nf.UDP, "syn_sent")
}

// tablesOf returns the names of the tables of nftables.
func tablesOf(t testing.TB, e *netnsenv.Env) (names []string) {
	t.Helper()
	c, err := e.NFTables()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := c.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		names = append(names, table.Name)
	}
	return names
}

// The helper parses the client's commands, and the announced connection is RELATED.
func TestHelperReadsTheFlow(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{
		netnsenv.Helper{Name: "ftp", Proto: nf.TCP, Match: nf.Match{DstPort: 21}},
	}})
	began := time.Now()
	master := speakFTP(t, e)

	got := expectationsOf(t, e)

	elapsed := time.Since(began)
	want := []nf.Expectation{{
		Tuple:  nf.Tuple{Proto: nf.TCP, Src: addrPort("192.0.2.1:0"), Dst: addrPort("198.18.0.2:20001")},
		Master: master, Helper: "ftp", Timeout: 300 * time.Second,
	}}
	for i := range got {
		if left := got[i].Timeout; left <= 300*time.Second && left >= 299*time.Second-elapsed { // the kernel tells whole seconds
			got[i].Timeout = 300 * time.Second
		}
		got[i].Mask, got[i].ID = nf.Tuple{}, 0
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b nf.Tuple) bool { return a == b })); diff != "" {
		t.Errorf("expectations (-want +got):\n%s", diff)
	}
}

// Expectations age with their flow, and those of other flows do not.
func TestAgeOfExpectations(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{
		netnsenv.Helper{Name: "ftp", Proto: nf.TCP, Match: nf.Match{DstPort: 21}},
	}})
	speakFTP(t, e)
	send(t, e, web.UDP(nil)) // another flow, which ends
	age := func(d time.Duration, f ...nf.Filter) (lefts []int) {
		if _, err := e.Age(t.Context(), d, f...); err != nil {
			t.Fatal(err)
		}
		for _, x := range expectationsOf(t, e) {
			lefts = append(lefts, int(x.Timeout/time.Second)+1)
		}
		return lefts
	}

	got := [][]int{
		age(100*time.Second, nf.Filter{Proto: nf.UDP}),
		age(100 * time.Second),
		age(100*time.Second, nf.Filter{Proto: nf.TCP}),
		age(200 * time.Second),
	}

	if diff := cmp.Diff([][]int{{300}, {200}, {100}, nil}, got, slack); diff != "" {
		t.Errorf("seconds left after each (-want +got):\n%s", diff)
	}
	if n := count(t, e); n != 1 {
		t.Errorf("%d entries, want that of the control connection", n)
	}
}

// speakFTP opens a control connection to port 21, on which the client announces port 20001, and returns its tuple.
func speakFTP(t testing.TB, e *netnsenv.Env) nf.Tuple {
	t.Helper()
	f := packet.Flow{Src: web.Src, Dst: addrPort("192.0.2.1:21")}
	l, err := e.Listen(t.Context(), "tcp", "192.0.2.1:21")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	send(t, e, packet.SYN(f))
	b := make([]byte, 1500)
	n, err := e.Links()[0].Read(b)
	if err != nil || n < 40 {
		t.Fatal(n, err)
	}
	seq := uint32(b[24])<<24 | uint32(b[25])<<16 | uint32(b[26])<<8 | uint32(b[27])
	// The helper believes only what stands behind the end of a line (net/netfilter/nf_conntrack_ftp.c, find_nl_seq).
	user, port := []byte("USER anonymous\r\n"), []byte("PORT 198,18,0,2,78,33\r\n")
	send(t, e, f.TCP(packet.TCP{Flags: packet.FlagACK, Seq: 2, Ack: seq + 1}))
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	send(t, e,
		f.TCP(packet.TCP{Flags: packet.FlagACK | packet.FlagPSH, Seq: 2, Ack: seq + 1, Payload: user}),
		f.TCP(packet.TCP{Flags: packet.FlagACK | packet.FlagPSH, Seq: 2 + uint32(len(user)), Ack: seq + 1, Payload: port}))
	return f.Tuple(nf.TCP)
}

// expectationsOf returns the expectations of the namespace.
func expectationsOf(t testing.TB, e *netnsenv.Env) (all []nf.Expectation) {
	t.Helper()
	obs, err := observe.Open(t.Context(), e, observe.Config{NoEvents: true, NoFrames: true})
	if err != nil {
		t.Fatal(err)
	}
	defer obs.Close()
	for x, err := range obs.Expectations(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	return all
}

// A rule creates an expectation for a flow in the opposite direction.
func TestExpectByRule(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{
		netnsenv.Expect{Match: nf.Match{Proto: nf.TCP, DstPort: 80}, Proto: nf.UDP, Port: 6000, Timeout: time.Minute},
	}})
	send(t, e, packet.SYN(web))
	all := expectationsOf(t, e)
	if len(all) != 1 {
		t.Fatalf("%d expectations: %v", len(all), all)
	}
	x := all[0]
	if x.Tuple.Proto != nf.UDP || x.Tuple.Dst != addrPort("198.18.0.2:6000") || x.Tuple.Src.Addr() != web.Dst.Addr() || x.Timeout > time.Minute || x.Timeout < 50*time.Second {
		t.Errorf("%v, for %v", x, x.Timeout)
	}
	c, err := e.Dial(t.Context(), "udp", "198.18.0.2:6000")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("back")); err != nil {
		t.Fatal(err)
	}
	for _, en := range entriesOf(t, e) {
		if en.Orig.Proto == nf.UDP && en.Status.Has(nf.Expected) {
			return
		}
	}
	t.Errorf("what was expected is not: %v", entriesOf(t, e))
}
