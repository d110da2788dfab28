package faulttest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/patience"
)

// mode is the environment variable that makes this binary a child which does one of modes and is looked at from outside,
// because a limit of descriptors is that of the whole process.
const mode = "CTEXP_FAULTTEST"

var modes = map[string]func() error{"descriptors": withFewDescriptors, "flat": manyTimes}

func TestMain(m *testing.M) {
	netnsenv.Enter()
	if run := modes[os.Getenv(mode)]; run != nil {
		if err := run(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child runs this binary again in a mode.
func child(t *testing.T, name string) {
	t.Helper()
	ctexp.New(t, netnsenv.Config{}) // skips where there are no namespaces
	c := exec.CommandContext(t.Context(), "/proc/self/exe")
	c.Env = append(os.Environ(), mode+"="+name)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// Each descriptor that an experiment opens is refused in turn. The experiment then fails, or does without, and leaves
// nothing behind: no descriptor, no goroutine, no thread in a namespace.
func TestNothingIsLeftWithoutDescriptors(t *testing.T) {
	t.Parallel()
	child(t, "descriptors")
}

// Two hundred experiments leave as much as two. CTEXP_TRIES=2000 tries more.
func TestExperimentsLeaveNothing(t *testing.T) {
	t.Parallel()
	child(t, "flat")
}

var web = packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}

// everything has a link of each kind.
var everything = netnsenv.Config{
	Links: []netnsenv.LinkConfig{
		{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, Routes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}},
		{Kind: netnsenv.Veth},
	},
	Classes: true,
}

// experiment opens a Lab, sends and dials, asks everything and closes it.
func experiment(cfg netnsenv.Config) (err error) {
	ctx := context.Background()
	lab, err := ctexp.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	listener, err := lab.Env.Listen(ctx, "tcp", "192.0.2.1:80")
	if err != nil {
		return err
	}
	client, err := lab.Env.Dial(ctx, "tcp", "192.0.2.1:80")
	if err != nil {
		return err
	}
	defer client.Close()
	accepted, err := listener.Accept()
	if err != nil {
		return err
	}
	defer accepted.Close()
	held, err := lab.Env.Hold(ctx, nf.Probe{Match: nf.Match{Proto: nf.UDP}})
	if err != nil {
		return err
	}
	_, sent := lab.Inject(ctx, packet.SYNs(2, web))
	_, held1 := held.Held(ctx)
	o := lab.Observer
	_, tally := o.Tally(ctx)
	_, path := o.Path(ctx)
	_, stats := o.Stats(ctx)
	_, rules := o.Rules(ctx)
	_, timeline := o.Timeline(ctx)
	_, aged := lab.Age(ctx, time.Second)
	_, flushed := lab.Flush(ctx)
	return errors.Join(sent, held1, tally, path, stats, rules, timeline, aged, flushed,
		last(o.Flows(ctx, nf.Filter{})), last(o.Events(ctx)), last(o.Frames(ctx)), last(o.Reasons(ctx)))
}

// last returns the error that ends a sequence.
func last[T any](seq iter.Seq2[T, error]) (err error) {
	for _, err = range seq {
	}
	return err
}

// withFewDescriptors runs experiments with room for ever more descriptors until one succeeds.
func withFewDescriptors() error {
	debug.SetGCPercent(-1) // the garbage collector would close files that were forgotten
	for range 2 {          // package net and the runtime keep some descriptors
		if err := experiment(everything); err != nil {
			return err
		}
	}
	before := atRest()
	for free := 0; ; free++ {
		failed := limited(before.limit(free), func() error { return experiment(everything) })
		if err := settled(before); err != nil {
			return fmt.Errorf("with %d descriptors the experiment ended with %v\nand left %w", free, failed, err)
		}
		if failed == nil {
			fmt.Printf("%d descriptors are needed, each was refused\n", free)
			return nil
		}
		if free > 1000 {
			return fmt.Errorf("with %d descriptors: %w", free, failed)
		}
	}
}

// manyTimes compares what is there after two experiments, and after many more.
func manyTimes() error {
	n := 200
	if tries, err := strconv.Atoi(os.Getenv("CTEXP_TRIES")); err == nil {
		n = tries
	}
	for range 2 {
		if err := experiment(netnsenv.Config{}); err != nil {
			return err
		}
	}
	before, heap, threads := atRest(), heap(), threads()
	for i := range n {
		if err := experiment(netnsenv.Config{}); err != nil {
			return fmt.Errorf("experiment %d: %w", i, err)
		}
	}
	if err := settled(before); err != nil {
		return fmt.Errorf("%d experiments left %w", n, err)
	}
	moreHeap, moreThreads := grown(heap), len(tasks())-threads
	fmt.Printf("%d experiments: %+d kB, %+d threads\n", n, moreHeap>>10, moreThreads)
	if moreHeap > 1<<20 || moreThreads > 20 {
		return errors.New("that grows")
	}
	return nil
}

func threads() int { return len(tasks()) }

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // pools are emptied by the second
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func grown(before uint64) int64 { return int64(heap()) - int64(before) }

// inventory is what the process has.
type inventory struct {
	Files      map[string]int // by what they are
	Goroutines int
	Threads    int // in other network namespaces than the process
	used       map[int]bool
}

func tasks() []string {
	dirs, _ := filepath.Glob("/proc/self/task/*")
	return dirs
}

func take() inventory {
	i := inventory{Files: map[string]int{}, used: map[int]bool{}, Goroutines: runtime.NumGoroutine()}
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil { // else it was that of Glob
			n, _ := strconv.Atoi(filepath.Base(l))
			i.used[n] = true
			to, _, _ = strings.Cut(to, ":[")
			i.Files[to]++
		}
	}
	own, _ := os.Readlink("/proc/self/ns/net")
	for _, dir := range tasks() {
		if ns, err := os.Readlink(dir + "/ns/net"); err == nil && ns != own {
			i.Threads++
		}
	}
	return i
}

// limit returns the limit of descriptors with which n more can be opened.
func (i inventory) limit(n int) int {
	for limit := 0; ; limit++ {
		if i.used[limit] {
			continue
		}
		if n == 0 {
			return limit
		}
		n--
	}
}

// beyond returns what there is more than before.
func (i inventory) beyond(before inventory) (more []string) {
	for name, n := range i.Files {
		if n > before.Files[name] {
			more = append(more, fmt.Sprintf("%d files %s more", n-before.Files[name], name))
		}
	}
	if n := i.Goroutines - before.Goroutines; n > 0 {
		var stacks strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		more = append(more, fmt.Sprintf("%d goroutines more of\n%s", n, &stacks))
	}
	if n := i.Threads - before.Threads; n > 0 {
		more = append(more, fmt.Sprintf("%d threads in other network namespaces more", n))
	}
	return more
}

// atRest returns what there is when nothing has changed for some time: sockets are closed in the background.
func atRest() inventory {
	const readings = 50
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	at := take()
	for same := 0; same < readings; same++ {
		<-tick.C
		if now := take(); !cmp.Equal(at, now, cmp.AllowUnexported(inventory{})) {
			at, same = now, 0
		}
	}
	return at
}

// settled waits until there is no more than before, and returns an error if that does not come true.
func settled(before inventory) error {
	ctx, cancel := patience.WithTimeout(context.Background(), 20*time.Second, context.DeadlineExceeded)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		over := ctx.Err() != nil
		more := take().beyond(before)
		if len(more) == 0 {
			return nil
		}
		if over {
			return errors.New(strings.Join(more, "\n"))
		}
		<-tick.C
	}
}

// limited runs f with a limit of descriptors.
func limited(limit int, f func() error) error {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(limit), Max: old.Max}); err != nil {
		return err
	}
	err := f()
	return errors.Join(err, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
}
