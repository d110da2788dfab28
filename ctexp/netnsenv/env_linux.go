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
	"syscall"

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

// closers are what an Env closes when it is closed itself.
type closers struct {
	list    list.List // of io.Closer, the last opened at its end
	sockets int       // that were opened since they were looked through, and those that were open then
	open    int       // sockets that were open then
}

// all goes through them, the last opened first.
func (c *closers) all(yield func(io.Closer) bool) {
	for at := c.list.Back(); at != nil; at = at.Prev() {
		if !yield(at.Value.(io.Closer)) {
			return
		}
	}
}

// onClose has c closed before the thread ends; at once if that has begun. forget takes that back, for what has been closed
// before.
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
		if !e.closed { // else Close has it in hand
			e.closers.list.Remove(at)
		}
	}
}

// onCloseSocket is onClose for a socket that its user closes without a word to the Env. Those that are closed are forgotten
// whenever there are twice as many as the last time, so that an Env that dials for long keeps only what is open.
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

// forgetClosed looks through the sockets.
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

// isClosed reports whether a socket was closed: then its descriptor cannot be had.
func isClosed(s syscall.Conn) bool {
	raw, err := s.SyscallConn()
	return err != nil || raw.Control(func(uintptr) {}) != nil
}

// addRoutes has what a link leads to go out by it: in the main table or, if the link has a mark, in one of its own that
// packets with that mark look into first.
func (e *Env) addRoutes(l *Link) error {
	routes, table := l.cfg.Routes, uint32(unix.RT_TABLE_MAIN)
	if l.cfg.Mark != 0 {
		table = 1000 + l.index
		for _, p := range l.cfg.Prefixes {
			routes = append(routes[:len(routes):len(routes)], p) // the kernel adds them to the main table alone
		}
		if err := e.addMarkRules(l, table); err != nil {
			return err
		}
	}
	seen := map[netip.Prefix]bool{}
	for _, p := range routes {
		p = p.Masked()
		if l.cfg.Mark != 0 && seen[p] {
			continue
		}
		seen[p] = true
		msg := &rtnetlink.RouteMessage{
			Family: uint8(nf.FamilyOf(p.Addr())), DstLength: uint8(p.Bits()),
			Protocol: unix.RTPROT_STATIC, Scope: unix.RT_SCOPE_LINK, Type: unix.RTN_UNICAST,
			Attributes: rtnetlink.RouteAttributes{OutIface: l.index, Table: table},
		}
		if p.Bits() > 0 {
			msg.Attributes.Dst = p.Addr().AsSlice()
		}
		if err := e.route.Route.Add(msg); err != nil {
			return fmt.Errorf("link %q: add route %v: %w", l.cfg.Name, p, err)
		}
	}
	return nil
}

// addMarkRules has packets with the link's mark look into a table.
func (e *Env) addMarkRules(l *Link, table uint32) error {
	families := map[nf.Family]bool{}
	for _, p := range append(append([]netip.Prefix(nil), l.cfg.Prefixes...), l.cfg.Routes...) {
		families[nf.FamilyOf(p.Addr())] = true
	}
	for f := range families {
		err := e.route.Rule.Add(&rtnetlink.RuleMessage{
			Family: uint8(f), Action: unix.FR_ACT_TO_TBL,
			Attributes: &rtnetlink.RuleAttributes{FwMark: &l.cfg.Mark, Table: &table},
		})
		if err != nil {
			return fmt.Errorf("link %q: route by mark %#x: %w", l.cfg.Name, l.cfg.Mark, err)
		}
	}
	return nil
}

// Listen is net.Listen in the namespace. The address is a literal one or has none ("192.0.2.1:80", ":80").
// The listener works from any goroutine and is closed with the Env.
func (e *Env) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var l net.Listener
	err := e.socket(address, func() (err error) {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false) // plain TCP: what the peer's packets say
		l, err = lc.Listen(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, prefixed(err)
	}
	e.onCloseSocket(l)
	return l, nil
}

// ListenPacket is net.ListenPacket in the namespace. The address is a literal one or has none.
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
	e.onCloseSocket(c)
	return c, nil
}

// Dial is net.Dialer.DialContext in the namespace, and can stand for it in an http.Transport. The address is a
// literal one. It waits on a thread of its own, so that the Env goes on meanwhile.
func (e *Env) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := checkLiteral(address); err != nil {
		return nil, prefixed(err)
	}
	if e.FD() < 0 {
		return nil, ErrClosed
	}
	var c net.Conn
	err := e.thread.Aside(func() (err error) {
		// One attempt from this very thread: with a fallback the dialer would open sockets on others.
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

// prefixed names the package, unless the error does so itself.
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
	return e.Do(open)
}

// checkLiteral refuses names: to resolve one, package net would ask from other threads, outside of the namespace.
func checkLiteral(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address // a raw IP socket has no port
	}
	if host == "" {
		return nil
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil {
		return fmt.Errorf("address %q: want a literal IP address: names are not resolved inside", address)
	}
	return nil
}

// loopbackUp turns lo on: without it the host does not even answer itself.
func (e *Env) loopbackUp() error {
	const index = 1 // LOOPBACK_IFINDEX, in every namespace
	err := e.route.Link.Set(&rtnetlink.LinkMessage{Index: index, Flags: unix.IFF_UP, Change: unix.IFF_UP})
	if err != nil {
		return fmt.Errorf("link \"lo\": set up: %w", err)
	}
	return nil
}

// networkOrder is the order of the numbers in nfnetlink's attributes.
var networkOrder = binary.BigEndian

func nativeUint16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }
