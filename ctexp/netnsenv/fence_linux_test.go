package netnsenv_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// After each fence the table has every packet sent before, on both kinds of link, with every CPU busy, and with
// packets steered to other CPUs. CTEXP_TRIES=100000 tries more often.
func TestFenceIsFinal(t *testing.T) {
	tries := tries(300)
	stop := keepBusy(t)
	defer stop()
	for _, kind := range kinds {
		for _, steered := range []bool{false, true} {
			t.Run(kind.String()+map[bool]string{true: "/rps"}[steered], func(t *testing.T) {
				mask := ""
				if steered {
					mask = allCPUs()
				}
				e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind}}, Silent: true, NoPath: true, Sysctls: steer(t, mask)})
				short := 0
				for i := range tries {
					const perFlush = 20000
					if i > 0 && i%perFlush == 0 {
						if _, err := e.Table().Flush(t.Context(), nf.Filter{}); err != nil {
							t.Fatal(err)
						}
					}
					send(t, e, packet.SYN(web.Nth(i%perFlush)))
					if want, got := i%perFlush+1, count(t, e); got < want {
						short++
					}
				}
				if short > 0 {
					t.Errorf("the table was short after %d of %d fences", short, tries)
				}
				t.Logf("%d tries, %d CPUs busy, GOMAXPROCS %d", tries, runtime.NumCPU(), runtime.GOMAXPROCS(0))
			})
		}
	}
}

// tries returns the number of tries: CTEXP_TRIES, or a default.
func tries(usual int) int {
	if n, err := strconv.Atoi(os.Getenv("CTEXP_TRIES")); err == nil {
		return n
	}
	return usual
}

// allCPUs returns a CPU mask for RPS.
func allCPUs() string { return strconv.FormatInt(int64(1)<<min(runtime.NumCPU(), 30)-1, 16) }

// steer returns the sysctls of a namespace in which packets are moved to the CPUs of a mask; none for an empty one.
func steer(t testing.TB, mask string) map[string]string {
	t.Helper()
	if mask == "" {
		return nil
	}
	needs.Check(t, kernel.RPSDefaultMask.Lack())
	return map[string]string{"net.core.rps_default_mask": mask}
}

// keepBusy keeps every CPU busy, by other processes, until the returned function is called.
func keepBusy(t *testing.T) (stop func()) {
	t.Helper()
	var spinners []*exec.Cmd
	for range runtime.NumCPU() {
		c := exec.Command("/proc/self/exe")
		c.Env = append(os.Environ(), spinning+"=1")
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		spinners = append(spinners, c)
	}
	return func() {
		for _, c := range spinners {
			_ = c.Process.Kill()
			_ = c.Wait() // killed, as it should be
		}
	}
}

// spinning is the environment variable that makes this binary spin.
const spinning = "CTEXP_TEST_SPIN"

// A packet that is written but never reaches the host is an error of the next fence only.
func TestFenceCountsWhatIsLost(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true, Links: []netnsenv.LinkConfig{{Kind: netnsenv.Veth}}})
	setDown(t, e, "tun0")
	l := e.Links()[0]
	if _, err := l.Write(packet.SYN(web)); err == nil {
		if err := l.Fence(t.Context()); err == nil {
			t.Error("a packet into a link that is down is not reported as lost")
		}
		if err := l.Fence(t.Context()); err != nil {
			t.Errorf("reported twice: %v", err)
		}
	}
}

// Only the ingress hook tells that a packet on a tun has not come in: each write has succeeded, and the interface has counted the
// packet as received and none as dropped, although the traffic control of the user, which is in front of all hooks, has taken
// it. It is not there any more when the fence asks.
func TestOnlyTheIngressHookTellsWhatTrafficControlTook(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true, Links: []netnsenv.LinkConfig{
		{Name: "tun0", Kind: netnsenv.Tun}, {Name: "tun1", Kind: netnsenv.Tun, Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/24")}},
	}})
	l := e.Link("tun0")
	remove := redirectIngress(t, e)

	for p := range packet.SYNs(3, web) {
		if _, err := l.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	received, dropped := received(t, e, "tun0")
	arrived, err := l.Arrived()
	fence := l.Fence(t.Context())

	if received != 3 || dropped != 0 {
		t.Errorf("the interface has received %d and dropped %d, want 3 and 0", received, dropped)
	}
	if arrived != 0 || err != nil {
		t.Errorf("%d have arrived, %v; want 0", arrived, err)
	}
	if want := `link "tun0": 3 of 3 packets were lost before ingress`; fence == nil || fence.Error() != want {
		t.Errorf("the fence: %v, want %s", fence, want)
	}
}

// While a filter of tc takes packets before the ingress hook, the fence names it.
func TestFenceNamesWhatTakesPackets(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true, Links: []netnsenv.LinkConfig{
		{Name: "tun0", Kind: netnsenv.Tun}, {Name: "tun1", Kind: netnsenv.Tun, Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/24")}},
	}})
	redirectIngress(t, e)
	l := e.Link("tun0")
	if _, err := l.Write(packet.SYN(web)); err != nil {
		t.Fatal(err)
	}

	err := l.Fence(t.Context())

	if want := `link "tun0": 1 of 1 packets were lost before ingress, where there are now filters of tc (u32)`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// redirectIngress has a filter of tc send what comes in on tun0 out of tun1, and returns what removes it.
func redirectIngress(t *testing.T, e *netnsenv.Env) (remove func() error) {
	t.Helper()
	control := func(args ...string) error {
		out, err := e.Command(t.Context(), "tc", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("tc %v: %w: %s", args, err, out)
		}
		return nil
	}
	err := control("qdisc", "add", "dev", "tun0", "ingress")
	if err == nil {
		err = control("filter", "add", "dev", "tun0", "parent", "ffff:", "protocol", "ip", "u32", "match", "u32", "0", "0",
			"action", "mirred", "egress", "redirect", "dev", "tun1")
	}
	if err != nil {
		needs.Check(t, &nf.UnsupportedError{Need: "tc ingress", Hint: "tc, and a kernel with NET_SCH_INGRESS, NET_CLS_U32 and NET_ACT_MIRRED", Err: err})
	}
	return func() error { return control("qdisc", "del", "dev", "tun0", "ingress") }
}

// received returns how many packets an interface has received and dropped as it received them (net/core/net-procfs.c,
// dev_seq_printf_stats).
func received(t *testing.T, e *netnsenv.Env, name string) (packets, dropped int) {
	t.Helper()
	var text []byte
	err := e.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, counts, found := strings.Cut(string(text), name+":")
	var bytes, errs int
	if n, err := fmt.Sscan(counts, &bytes, &packets, &errs, &dropped); !found || n != 4 {
		t.Fatalf("no counts of %s: %v\n%s", name, err, text)
	}
	return packets, dropped
}

func BenchmarkFence(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind.String(), func(b *testing.B) {
			e := open(b, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind}}})
			for b.Loop() {
				if err := e.Links()[0].Fence(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
