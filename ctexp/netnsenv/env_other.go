//go:build !linux

package netnsenv

import (
	"context"
	"io"
	"iter"
	"net"
	"net/netip"
	"os/exec"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// errLinux is returned on systems other than Linux, so that tests that use ctexp compile and skip.
var errLinux = &nf.UnsupportedError{Need: "Linux", Hint: "run it on Linux, in a container or a virtual machine"}

// Env is an open network namespace. It needs Linux.
type Env struct{}

// Open returns an nf.UnsupportedError.
func Open(context.Context, Config) (*Env, error) { return nil, errLinux }

// Links returns none.
func (e *Env) Links() []*Link { return nil }

// Link returns nil.
func (e *Env) Link(string) *Link { return nil }

// Config returns the zero Config.
func (e *Env) Config() Config { return Config{} }

// PathProbes returns none.
func (e *Env) PathProbes() []nf.Probe { return nil }

// Room returns the zero RoomInfo.
func (e *Env) Room() RoomInfo { return RoomInfo{} }

// Refill returns an nf.UnsupportedError.
func (e *Env) Refill(context.Context) error { return errLinux }

// Table returns a table whose methods return an nf.UnsupportedError.
func (e *Env) Table() *Table { return &Table{} }

// Age returns an nf.UnsupportedError.
func (e *Env) Age(context.Context, time.Duration, ...nf.Filter) (int, error) { return 0, errLinux }

// Do does nothing.
func (e *Env) Do(func() error) error { return errLinux }

// Go does not run the function.
func (e *Env) Go(context.Context, func(context.Context) error) (wait func() error) {
	return func() error { return errLinux }
}

// Output yields nothing.
func (e *Env) Output() iter.Seq2[time.Time, string] { return func(func(time.Time, string) bool) {} }

// Failed returns nil.
func (e *Env) Failed() error { return nil }

// AwaitListen returns an nf.UnsupportedError.
func (e *Env) AwaitListen(context.Context, string, uint16) error { return errLinux }

// CopiesFragments returns false.
func (e *Env) CopiesFragments() bool { return false }

// OnChange never calls look.
func (e *Env) OnChange(func()) (do func(func() error) error, cancel func()) { return e.Do, func() {} }

// Acted returns 0.
func (e *Env) Acted() uint64 { return 0 }

// Backlog returns an nf.UnsupportedError.
func (e *Env) Backlog() ([]Backlog, error) { return nil, errLinux }

// FD returns -1.
func (e *Env) FD() int { return -1 }

// Path returns "".
func (e *Env) Path() string { return "" }

// String returns "".
func (e *Env) String() string { return "" }

// HardwareAddr returns an nf.UnsupportedError.
func (e *Env) HardwareAddr(string) (nf.MAC, error) { return nf.MAC{}, errLinux }

// Close does nothing.
func (e *Env) Close() error { return nil }

// Sysctl returns an nf.UnsupportedError.
func (e *Env) Sysctl(string) (string, error) { return "", errLinux }

// SetSysctl returns an nf.UnsupportedError.
func (e *Env) SetSysctl(string, string) error { return errLinux }

// SysctlChanges returns none.
func (e *Env) SysctlChanges() []SysctlChange { return nil }

// Listen returns an nf.UnsupportedError.
func (e *Env) Listen(context.Context, string, string) (net.Listener, error) { return nil, errLinux }

// ListenPacket returns an nf.UnsupportedError.
func (e *Env) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, errLinux
}

// Dial returns an nf.UnsupportedError.
func (e *Env) Dial(context.Context, string, string) (net.Conn, error) { return nil, errLinux }

// Command returns a command that does not start.
func (e *Env) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Cmd: exec.CommandContext(ctx, name, args...)}
}

// Program returns a command that does not start.
func (e *Env) Program(ctx context.Context, name string, args ...string) *Cmd {
	return e.Command(ctx, name, args...)
}

// Cmd is an exec.Cmd in a namespace, which does not start on this system.
type Cmd struct{ *exec.Cmd }

// Start returns an nf.UnsupportedError.
func (c *Cmd) Start() error { return errLinux }

// Wait returns an nf.UnsupportedError.
func (c *Cmd) Wait() error { return errLinux }

// String returns "".
func (c *Cmd) String() string { return "" }

// StdoutPipe returns an nf.UnsupportedError.
func (c *Cmd) StdoutPipe() (io.ReadCloser, error) { return nil, errLinux }

// StderrPipe returns an nf.UnsupportedError.
func (c *Cmd) StderrPipe() (io.ReadCloser, error) { return nil, errLinux }

// AwaitLine returns an nf.UnsupportedError.
func (c *Cmd) AwaitLine(context.Context, string) (string, error) { return "", errLinux }

// Run returns an nf.UnsupportedError.
func (c *Cmd) Run() error { return errLinux }

// Output returns an nf.UnsupportedError.
func (c *Cmd) Output() ([]byte, error) { return nil, errLinux }

// CombinedOutput returns an nf.UnsupportedError.
func (c *Cmd) CombinedOutput() ([]byte, error) { return nil, errLinux }

// Link is one link of an Env. It needs Linux.
type Link struct{}

// Name returns "".
func (l *Link) Name() string { return "" }

// Backlog returns an nf.UnsupportedError.
func (l *Link) Backlog() (packets int, by string, err error) { return 0, "", errLinux }

// MTU returns 0.
func (l *Link) MTU() int { return 0 }

// Kind returns Auto.
func (l *Link) Kind() LinkKind { return Auto }

// L2 returns false.
func (l *Link) L2() bool { return false }

// Prefixes returns none.
func (l *Link) Prefixes() []netip.Prefix { return nil }

// String returns "".
func (l *Link) String() string { return "" }

// Write returns an nf.UnsupportedError.
func (l *Link) Write([]byte) (int, error) { return 0, errLinux }

// Read returns an nf.UnsupportedError.
func (l *Link) Read([]byte) (int, error) { return 0, errLinux }

// SetReadDeadline returns an nf.UnsupportedError.
func (l *Link) SetReadDeadline(time.Time) error { return errLinux }

// Fence returns an nf.UnsupportedError.
func (l *Link) Fence(context.Context) error { return errLinux }

// WriteBatch returns an nf.UnsupportedError.
func (l *Link) WriteBatch([][]byte) (int, error) { return 0, errLinux }

// Arrived returns an nf.UnsupportedError.
func (l *Link) Arrived() (uint64, error) { return 0, errLinux }

// EnterWith does nothing.
func EnterWith(Entry) {}

// WriteFrame returns an nf.UnsupportedError.
func (l *Link) WriteFrame([]byte) (int, error) { return 0, errLinux }

// ReadFrame returns an nf.UnsupportedError.
func (l *Link) ReadFrame([]byte) (int, error) { return 0, errLinux }

// HardwareAddr returns the zero MAC.
func (l *Link) HardwareAddr() nf.MAC { return nf.MAC{} }

// PeerHardwareAddr returns the zero MAC.
func (l *Link) PeerHardwareAddr() nf.MAC { return nf.MAC{} }

// WriteBy returns an nf.UnsupportedError.
func (l *Link) WriteBy(func(ifindex, most int) (int, error)) (int, error) { return 0, errLinux }

// ReadNow returns an nf.UnsupportedError.
func (l *Link) ReadNow([]byte) (int, error) { return 0, errLinux }

// Lost returns an nf.UnsupportedError.
func (l *Link) Lost() (uint64, error) { return 0, errLinux }

// Taken returns 0.
func (l *Link) Taken() uint64 { return 0 }

// Quiet returns true.
func (l *Link) Quiet() bool { return true }

// Load implements Ruleset.
func (t rulesText) Load(context.Context, *Env) error { return errLinux }

// Load implements Ruleset.
func (t singleCommands) Load(context.Context, *Env) error { return errLinux }

// Load returns an nf.UnsupportedError.
func (p TimeoutPolicy) Load(context.Context, *Env) error { return errLinux }

// Load returns an nf.UnsupportedError.
func (h Helper) Load(context.Context, *Env) error { return errLinux }

// Load returns an nf.UnsupportedError.
func (x Expect) Load(context.Context, *Env) error { return errLinux }

// Join returns an nf.UnsupportedError.
func Join(context.Context, *Env, *Env, Wire) error { return errLinux }

// Table is the conntrack table of an Env. It needs Linux.
type Table struct{}

func (t *Table) begin(context.Context, []nf.Entry, []nf.Expectation) error { return errLinux }

// Count returns an nf.UnsupportedError.
func (t *Table) Count() (int, error) { return 0, errLinux }

// Create returns an nf.UnsupportedError.
func (t *Table) Create(nf.Entry) error { return errLinux }

// Update returns an nf.UnsupportedError.
func (t *Table) Update(nf.Entry) error { return errLinux }

// Delete returns an nf.UnsupportedError.
func (t *Table) Delete(nf.Entry) error { return errLinux }

// Flush returns an nf.UnsupportedError.
func (t *Table) Flush(context.Context, nf.Filter) (int, error) { return 0, errLinux }

// CreateAll returns an nf.UnsupportedError.
func (t *Table) CreateAll(context.Context, iter.Seq[nf.Entry]) (int, error) { return 0, errLinux }

// Age returns an nf.UnsupportedError.
func (t *Table) Age(context.Context, time.Duration, ...nf.Filter) (int, error) { return 0, errLinux }

// Given returns an nf.UnsupportedError.
func (t *Table) Given(context.Context, func() error, func() (time.Duration, error)) (time.Duration, error) {
	return 0, errLinux
}

// WatchedBy returns t.
func (t *Table) WatchedBy(Watcher) *Table { return t }

// Queue is the reader of a queue of the kernel. It needs Linux.
type Queue struct{}

// Classify returns an nf.UnsupportedError.
func (e *Env) Classify(context.Context) error { return errLinux }

// Hold returns an nf.UnsupportedError.
func (e *Env) Hold(context.Context, nf.Probe) (*Queue, error) { return nil, errLinux }

// Queue returns an nf.UnsupportedError.
func (e *Env) Queue(context.Context, uint16) (*Queue, error) { return nil, errLinux }

// Waiting returns an nf.UnsupportedError.
func (e *Env) Waiting(context.Context) ([]nf.Waiting, error) { return nil, errLinux }

// DrainQueues does nothing.
func (e *Env) DrainQueues() {}

// Held returns an nf.UnsupportedError.
func (q *Queue) Held(context.Context) ([]Held, error) { return nil, errLinux }

// Waiting returns an nf.UnsupportedError.
func (q *Queue) Waiting(context.Context) ([]nf.Waiting, error) { return nil, errLinux }

// Release returns an nf.UnsupportedError.
func (q *Queue) Release(context.Context, ...Held) error { return errLinux }

// Drop returns an nf.UnsupportedError.
func (q *Queue) Drop(context.Context, ...Held) error { return errLinux }

// Repeat returns an nf.UnsupportedError.
func (q *Queue) Repeat(context.Context, ...Held) error { return errLinux }

// Close does nothing.
func (q *Queue) Close() error { return nil }

// Like returns an nf.UnsupportedError.
func Like(context.Context, string) (Likeness, error) { return Likeness{}, errLinux }
