package netnsenv

import (
	"container/list"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/jsimonetti/rtnetlink/v2"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nsthread"
	"github.com/ctexp/go-ctexp/internal/queues"
	"github.com/ctexp/go-ctexp/internal/userns"
)

// Env is an open network namespace, set up according to a Config. It is safe for concurrent use. After Close, its
// methods return ErrClosed.
type Env struct {
	cfg      Config
	inUserNS bool
	thread   *nsthread.Thread
	route    *rtnetlink.Conn
	owned    *owned
	links    []*Link
	table    *Table
	room     RoomInfo
	filler   *filler // of the room; nil without one
	handles  handles
	stats    *queues.Links          // asked by Backlog; opened and used only on the thread
	reasons  bool                   // conntrack logs why packets are INVALID
	sysctls  map[string]sysctlWrite // by the path below /proc/sys; used only on the thread
	killsMu  sync.Mutex
	kills    bool // guarded was called

	watch    watch
	outputs  outputs // of programs
	mu       sync.Mutex
	assigned int     // counter that makes names of tables and chains unique
	wires    []*wire // wires to other Envs
	queues   []*Queue
	held     atomic.Uint64 // packets that Queues have had
	failedGo []*goFunc     // functions of Go that have returned errors of their own
	holds    int           // numbers of queues that Holds have used
	closers  closers       // what must be closed before the thread ends, last opened first
	closed   bool
}

// Open creates a namespace and sets it up according to cfg. It takes 2 to 3 ms, and with a Room the time to fill the
// table. After an error nothing is left behind. If the machine lacks something, the error matches
// errors.ErrUnsupported. The context, which must not be nil, applies only to Open itself.
func Open(ctx context.Context, cfg Config) (*Env, error) {
	if ctx == nil {
		panic("netnsenv: Open with a nil context")
	}
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
	_ = keepHooks()
	e := &Env{cfg: cfg, inUserNS: userns.Own()}
	if e.thread, err = nsthread.New(); err != nil {
		return nil, fmt.Errorf("netnsenv: %w", namespaceError(err))
	}
	built := false
	defer func() {
		if !built { // also if a Ruleset has panicked
			e.Close()
		}
	}()
	if err := e.build(ctx); err != nil {
		return nil, fmt.Errorf("netnsenv: %w", noLack(err))
	}
	built = true
	return e, nil
}

// build sets up the namespace. The order matters: chains behind the confirmation must be older than the conntrack
// hooks, and chains before it younger. Any rule may register the conntrack hooks.
func (e *Env) build(ctx context.Context) error {
	if err := e.do(func() error { return e.prepare(ctx) }); err != nil { // each change of threads takes the scheduler some microseconds
		return err
	}
	for i, r := range e.cfg.Rules {
		if r == nil {
			return fmt.Errorf("rules[%d] is nil", i)
		}
		if err := r.Load(ctx, e); err != nil {
			return err
		}
	}
	if len(e.cfg.Rules) > 0 {
		if err := e.addLateProbes(); err != nil {
			return err
		}
	}
	return e.fill(ctx)
}

// prepare sets up what is older than the rules of the Config. It runs on the thread.
func (e *Env) prepare(ctx context.Context) (err error) {
	if e.route, err = rtnetlink.Dial(nil); err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	e.onClose(e.route)
	if e.table, err = openTable(e); err != nil {
		return err
	}
	if err := e.setBaseline(); err != nil {
		return err
	}
	if err := e.logReasons(); err != nil {
		return err
	}
	if err := e.setConfigured(false); err != nil {
		return err
	}
	if err := e.addLinks(); err != nil {
		return err
	}
	return e.addRules(ctx)
}

func (e *Env) addLinks() error {
	if err := e.checkConntrackOff(); err != nil {
		return err
	}
	var err error
	if e.owned, err = openOwned(); err != nil {
		return err
	}
	for _, cfg := range e.cfg.Links {
		l, err := e.openLink(cfg)
		if err != nil {
			return err
		}
		e.links = append(e.links, l)
		e.onClose(l.dev)
		e.openFence(l)
	}
	if err := e.addDevices(); err != nil {
		return err
	}
	for _, l := range e.links {
		if err := e.address(l); err != nil {
			return err
		}
	}
	return e.setConfigured(true)
}

// sides returns the probes that are set before the rules of the Config, and those that are set after them.
func (e *Env) sides() (early, late []nf.Probe) {
	for _, p := range e.probes() {
		if isBeforeConfirm(p) {
			late = append(late, p)
		} else {
			early = append(early, p)
		}
	}
	return early, late
}

func (e *Env) addRules(ctx context.Context) error {
	if err := e.addOwnRules(); err != nil {
		return err
	}
	if e.cfg.Classes {
		if err := e.Classify(ctx); err != nil {
			return err
		}
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	for _, l := range e.links {
		if err := e.up(ctx, l); err != nil {
			return err
		}
	}
	if err := e.upDevices(ctx); err != nil {
		return err
	}
	return e.addRouting()
}

// checkConntrackOff returns an error if the machine always enables conntrack.
func (e *Env) checkConntrackOff() error {
	v, err := os.ReadFile("/sys/module/nf_conntrack/parameters/enable_hooks")
	if e.cfg.Conntrack == Off && err == nil && strings.HasPrefix(string(v), "Y") {
		return &nf.UnsupportedError{Need: "conntrack off", Hint: "the module parameter nf_conntrack.enable_hooks enables it in every namespace"}
	}
	return nil
}

func (e *Env) hasIPv6() bool { return e.cfg.hasIPv6() }

// Links returns the Env's links in the order of the Config.
func (e *Env) Links() []*Link { return append([]*Link(nil), e.links...) }

// Link returns the link with this name, or nil.
func (e *Env) Link(name string) *Link {
	for _, l := range e.links {
		if l.cfg.Name == name {
			return l
		}
	}
	return nil
}

// Config returns the Env's Config with zero values replaced by their defaults.
func (e *Env) Config() Config { return e.cfg }

// Room describes the table as filled according to Config.Room.
func (e *Env) Room() RoomInfo { return e.room }

// Table returns the conntrack table.
func (e *Env) Table() *Table { return e.table }

// Do runs f on a thread in the namespace and returns its error. It runs one f at a time. A panic in f is raised again
// in the caller. Sockets that f opens, files of /proc that it reads and programs that it starts belong to the
// namespace; sockets and files can be used from any goroutine afterwards. f must not wait for another call of Do.
// Goroutines that f starts run on other threads: what they open belongs to the base namespace of the process (see the
// package's documentation).
func (e *Env) Do(f func() error) error {
	defer e.acts()()
	return explainStuck(e.do(f))
}

// do is Do for what the Env itself does.
func (e *Env) do(f func() error) error {
	if f == nil {
		panic("netnsenv: Do: the function is nil")
	}
	err := e.thread.Do(f)
	if err == nsthread.ErrClosed {
		return ErrClosed
	}
	return err
}

// FD returns a file descriptor of the network namespace, or -1 if the Env is closed. The Env keeps ownership of it.
func (e *Env) FD() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return -1
	}
	return e.thread.FD()
}

// Path returns a path of the network namespace, /proc/<pid>/fd/<n>, for programs that need one. It is valid until
// Close; then Path returns "".
func (e *Env) Path() string {
	fd := e.FD()
	if fd < 0 {
		return ""
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)
}

// String describes the links and devices of the Env, or says that there are none.
func (e *Env) String() string {
	if len(e.links)+len(e.cfg.Devices) == 0 {
		return "a network without links"
	}
	var s []string
	for _, l := range e.links {
		s = append(s, l.String())
	}
	for _, d := range e.cfg.Devices {
		s = append(s, describe(d.Name, d.Kind.String(), d.Prefixes))
	}
	return strings.Join(s, "; ")
}

// Close ends everything that runs in the namespace and releases it. The kernel destroys it in the background. A second
// Close does nothing.
func (e *Env) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	e.mu.Unlock()
	var errs []error
	for c := range e.closers.all { // not changed after closed is set
		if err := c.Close(); !errors.Is(err, net.ErrClosed) { // the caller may have closed it
			errs = append(errs, err)
		}
	}
	if e.owned != nil {
		e.owned.close()
	}
	e.thread.Close()
	return errors.Join(errs...)
}

// closers is the list of what an Env closes when it is closed.
type closers struct {
	list    list.List // of io.Closer, in the order of opening
	sockets int       // sockets in the list
	open    int       // sockets that were open at the last forgetClosed
}

// all yields the closers, last opened first.
func (c *closers) all(yield func(io.Closer) bool) {
	for at := c.list.Back(); at != nil; at = at.Prev() {
		if !yield(at.Value.(io.Closer)) {
			return
		}
	}
}

// onClose closes c when the Env is closed, or at once if it is closed already. forget removes c from the list.
func (e *Env) onClose(c io.Closer) (forget func()) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		c.Close()
		return func() {}
	}
	defer e.mu.Unlock()
	at := e.closers.list.PushBack(c)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if !e.closed { // else Close reads the list
			e.closers.list.Remove(at)
		}
	}
}

// onCloseSocket is onClose for a socket that the caller may close without telling the Env. Closed sockets are removed
// from the list when it has twice as many sockets as were open the last time, so that the list does not grow with each
// Dial.
func (e *Env) onCloseSocket(c io.Closer) {
	const few = 64
	e.mu.Lock()
	e.closers.sockets++
	if e.closers.sockets > 2*e.closers.open+few && !e.closed {
		e.closers.forgetClosed()
	}
	e.mu.Unlock()
	e.onClose(c)
}

// forgetClosed removes closed sockets from the list.
func (c *closers) forgetClosed() {
	c.open = 0
	for at := c.list.Front(); at != nil; {
		next := at.Next()
		if s, ok := at.Value.(syscall.Conn); ok {
			if isClosed(s) {
				c.list.Remove(at)
			} else {
				c.open++
			}
		}
		at = next
	}
	c.sockets = c.open
}

// isClosed reports whether a socket is closed: it then has no descriptor.
func isClosed(s syscall.Conn) bool {
	raw, err := s.SyscallConn()
	return err != nil || raw.Control(func(uintptr) {}) != nil
}

// Listen is net.Listen in the namespace. The host in the address is empty or a literal IP address (":80",
// "192.0.2.1:80"). The listener, a *Listener, and the connections that it accepts can be used from any goroutine, stay open
// also if nothing refers to them any more, and are closed with the Env.
func (e *Env) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var l net.Listener
	err := e.socket(address, func() (err error) {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false) // plain TCP, as in the experiment's packets
		l, err = lc.Listen(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, prefixed(err)
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("netnsenv: listen on %s: want tcp, tcp4 or tcp6", network)
	}
	e.onCloseSocket(tcp)
	return &Listener{TCPListener: tcp, env: e}, nil
}

// Accept implements net.Listener. The connection is a *net.TCPConn.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err // not a nil *net.TCPConn
	}
	return c, nil
}

// AcceptTCP is Accept with the type of the connection. The Env refers to the connection: package net closes one that is
// garbage, which would end it in the middle of an experiment.
func (l *Listener) AcceptTCP() (*net.TCPConn, error) {
	c, err := l.TCPListener.AcceptTCP()
	if err == nil {
		l.env.onCloseSocket(c)
	}
	return c, err
}

// ListenPacket is net.ListenPacket in the namespace. The address is as for Listen.
func (e *Env) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	var c net.PacketConn
	err := e.socket(address, func() (err error) {
		var lc net.ListenConfig
		c, err = lc.ListenPacket(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, prefixed(err)
	}
	e.watch.acted.Add(1)
	e.onCloseSocket(c)
	return c, nil
}

// Dial is net.Dialer.DialContext in the namespace, with the right signature for an http.Transport. The address must
// have a literal IP address. Dial uses a separate thread, so that it does not block Do.
func (e *Env) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := checkLiteral(address); err != nil {
		return nil, prefixed(err)
	}
	if e.FD() < 0 {
		return nil, ErrClosed
	}
	e.watch.acted.Add(1)
	var c net.Conn
	err := e.thread.Aside(func() (err error) {
		// Without fallback, the dialer opens all sockets on this thread.
		d := net.Dialer{FallbackDelay: -1}
		d.SetMultipathTCP(false)
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, prefixed(err)
	}
	e.onCloseSocket(c)
	return c, nil
}

// prefixed adds the package's name to err, unless it has it already.
func prefixed(err error) error {
	if errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("netnsenv: %w", err)
}

func (e *Env) socket(address string, open func() error) error {
	if err := checkLiteral(address); err != nil {
		return err
	}
	return e.do(open)
}

// checkLiteral returns an error for a host name, because package net would resolve it on other threads, outside of the
// namespace.
func checkLiteral(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address // a raw IP socket has no port
	}
	if host == "" {
		return nil
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil {
		return fmt.Errorf("address %q: want a literal IP address: names are not resolved in the namespace", address)
	}
	return nil
}

// networkOrder is the byte order of numbers in nfnetlink attributes.
var networkOrder = binary.BigEndian

func nativeUint16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }
