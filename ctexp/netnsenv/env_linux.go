package netnsenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nsthread"
	"github.com/ctexp/go-ctexp/internal/userns"
)

// Env is an open network namespace with everything that the Config asked for. Its methods may be called from any
// goroutine; after Close they return ErrClosed.
type Env struct {
	cfg      Config
	inUserNS bool
	thread   *nsthread.Thread
	route    *rtnetlink.Conn
	owned    *owned
	links    []*Link
	table    *Table
	room     RoomInfo
	handles  handles
	reasons  bool                   // conntrack gives them
	sysctls  map[string]sysctlWrite // by the path below /proc/sys; only the thread uses it
	kills    sync.Once              // to be done when the first program starts

	mu       sync.Mutex
	assigned int     // objects that rules of ours assign, by which their tables are numbered
	wires    []*wire // that join it to other Envs
	closers  closers // what must be closed before the thread ends, last opened first
	closed   bool
}

// Open makes a namespace and everything that the Config asks for in it: 2 to 3 ms, and with a Room the time to fill
// the table. Wrong input is an error and leaves nothing behind; what this machine cannot do answers to
// errors.ErrUnsupported. The context bounds opening alone.
func Open(ctx context.Context, cfg Config) (*Env, error) {
	cfg, err := cfg.normalize()
	if err != nil {
		return nil, fmt.Errorf("netnsenv: %w", err)
	}
	if err := entered(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("netnsenv: open: %w", context.Cause(ctx))
	}
	e := &Env{cfg: cfg, inUserNS: userns.Own()}
	if e.thread, err = nsthread.New(); err != nil {
		if errors.Is(err, unix.EPERM) {
			err = userNamespacesError(err)
		}
		return nil, fmt.Errorf("netnsenv: %w", err)
	}
	built := false
	defer func() {
		if !built { // also if a Ruleset of the user's has panicked
			e.Close()
		}
	}()
	if err := e.build(ctx); err != nil {
		return nil, fmt.Errorf("netnsenv: %w", err)
	}
	built = true
	return e, nil
}

// build makes what the Config asks for, in the only order that works: our chains behind the confirmation must be
// older than the conntrack hooks, those before it younger, whoever's rules bring the hooks.
func (e *Env) build(ctx context.Context) error {
	if err := e.Do(func() (err error) {
		e.route, err = rtnetlink.Dial(nil)
		return err
	}); err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	e.onClose(e.route)
	table, err := openTable(e)
	if err != nil {
		return err
	}
	e.table = table
	if err := e.setBaseline(); err != nil {
		return err
	}
	if err := e.askForReasons(); err != nil {
		return err
	}
	if err := e.setConfigured(false); err != nil {
		return err
	}
	if err := e.addLinks(); err != nil {
		return err
	}
	if err := e.addRules(ctx); err != nil {
		return err
	}
	return e.fill(ctx)
}

func (e *Env) addLinks() error {
	if err := e.checkConntrackOff(); err != nil {
		return err
	}
	var err error
	if e.owned, err = openOwned(e); err != nil {
		return err
	}
	for _, cfg := range e.cfg.Links {
		l, err := e.openLink(cfg)
		if err != nil {
			return err
		}
		e.links = append(e.links, l)
		e.onClose(l.dev)
		if err := e.openFence(l); err != nil {
			return err
		}
	}
	return e.setConfigured(true)
}

func (e *Env) addRules(ctx context.Context) error {
	var late, early []nf.Probe
	for _, p := range e.probes() {
		if isBeforeConfirm(p) {
			late = append(late, p)
		} else {
			early = append(early, p)
		}
	}
	if err := e.addProbes(early, false); err != nil {
		return err
	}
	if err := e.addInvalid(); err != nil {
		return err
	}
	if err := e.loopbackUp(); err != nil {
		return err
	}
	for _, l := range e.links {
		if err := e.up(ctx, l); err != nil {
			return err
		}
	}
	for i, r := range e.cfg.Rules {
		if r == nil {
			return fmt.Errorf("rules[%d] is nil", i)
		}
		if err := r.Load(ctx, e); err != nil {
			return err
		}
	}
	return e.addProbes(late, true)
}

// checkConntrackOff refuses to promise what the machine does not do.
func (e *Env) checkConntrackOff() error {
	v, err := os.ReadFile("/sys/module/nf_conntrack/parameters/enable_hooks")
	if e.cfg.Conntrack == Off && err == nil && strings.HasPrefix(string(v), "Y") {
		return &nf.UnsupportedError{Need: "conntrack off", Hint: "the module parameter nf_conntrack.enable_hooks switches it on in every namespace"}
	}
	return nil
}

func (e *Env) hasIPv6() bool {
	for _, l := range e.cfg.Links {
		if l.hasIPv6() {
			return true
		}
	}
	return false
}

// Links returns the Env's links in the order of the Config.
func (e *Env) Links() []*Link { return append([]*Link(nil), e.links...) }

// Link returns the link of that name, or nil.
func (e *Env) Link(name string) *Link {
	for _, l := range e.links {
		if l.cfg.Name == name {
			return l
		}
	}
	return nil
}

// Config returns what the Env was opened with, zero values filled in.
func (e *Env) Config() Config { return e.cfg }

// Room returns what Config.Room came to.
func (e *Env) Room() RoomInfo { return e.room }

// Table returns the conntrack table.
func (e *Env) Table() *Table { return e.table }

// Do runs f on a thread that is in the namespace, one call at a time, and returns its error; a panic of f goes on in
// the caller. Sockets opened, files of /proc read and programs started by f belong to the namespace; what they
// return works from any goroutine afterwards. f must not wait for something that itself needs Do.
func (e *Env) Do(f func() error) error {
	if f == nil {
		panic("netnsenv: Do: the function is nil")
	}
	err := e.thread.Do(f)
	if err == nsthread.ErrClosed {
		return ErrClosed
	}
	return err
}

// FD returns an open file descriptor of the network namespace, or -1 if the Env is closed. It stays the Env's.
func (e *Env) FD() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return -1
	}
	return e.thread.FD()
}

// Path returns a path of the network namespace, for programs that take one: /proc/<pid>/fd/<n>. It is good until Close, and empty after it.
func (e *Env) Path() string {
	fd := e.FD()
	if fd < 0 {
		return ""
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)
}

// String says which links the Env has, and how.
func (e *Env) String() string {
	var s []string
	for _, l := range e.links {
		s = append(s, l.String())
	}
	return strings.Join(s, "; ")
}

// Close ends everything that runs in the namespace and lets it go. The kernel takes it apart in its own time. A
// second Close does nothing.
func (e *Env) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	e.mu.Unlock()
	var errs []error
	for c := range e.closers.all { // nobody changes them any more
		if err := c.Close(); !errors.Is(err, net.ErrClosed) { // its user may have closed it
			errs = append(errs, err)
		}
	}
	if e.owned != nil {
		e.owned.close()
	}
	e.thread.Close()
	return errors.Join(errs...)
}
