//go:build !linux

package netnsenv

import (
	"context"
	"iter"
	"net"
	"net/netip"
	"os/exec"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// errLinux is what everything answers where there is no Linux: tests that use ctexp compile and skip.
var errLinux = &nf.UnsupportedError{Need: "Linux", Hint: "run it on Linux, in a container or a virtual machine"}

// Env is an open network namespace; here there is none.
type Env struct{}

// Open says that this is no Linux.
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

// Table returns a table that answers nothing.
func (e *Env) Table() *Table { return &Table{} }

// Age says that this is no Linux.
func (e *Env) Age(context.Context, time.Duration, ...nf.Filter) (int, error) { return 0, errLinux }

// Do does nothing.
func (e *Env) Do(func() error) error { return errLinux }

// FD returns -1.
func (e *Env) FD() int { return -1 }

// Path returns "".
func (e *Env) Path() string { return "" }

// String returns "".
func (e *Env) String() string { return "" }

// Close does nothing.
func (e *Env) Close() error { return nil }

// Sysctl says that this is no Linux.
func (e *Env) Sysctl(string) (string, error) { return "", errLinux }

// SetSysctl says that this is no Linux.
func (e *Env) SetSysctl(string, string) error { return errLinux }

// SysctlChanges returns none.
func (e *Env) SysctlChanges() []SysctlChange { return nil }

// Listen says that this is no Linux.
func (e *Env) Listen(context.Context, string, string) (net.Listener, error) { return nil, errLinux }

// ListenPacket says that this is no Linux.
func (e *Env) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, errLinux
}

// Dial says that this is no Linux.
func (e *Env) Dial(context.Context, string, string) (net.Conn, error) { return nil, errLinux }

// Command returns a command that does not start.
func (e *Env) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Cmd: exec.CommandContext(ctx, name, args...)}
}

// Cmd is an exec.Cmd in a namespace; here it does not start.
type Cmd struct{ *exec.Cmd }

// Start says that this is no Linux.
func (c *Cmd) Start() error { return errLinux }

// Wait says that this is no Linux.
func (c *Cmd) Wait() error { return errLinux }

// Run says that this is no Linux.
func (c *Cmd) Run() error { return errLinux }

// Output says that this is no Linux.
func (c *Cmd) Output() ([]byte, error) { return nil, errLinux }

// CombinedOutput says that this is no Linux.
func (c *Cmd) CombinedOutput() ([]byte, error) { return nil, errLinux }

// Link is one link of an Env; here there is none.
type Link struct{}

// Name returns "".
func (l *Link) Name() string { return "" }

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

// Write says that this is no Linux.
func (l *Link) Write([]byte) (int, error) { return 0, errLinux }

// Read says that this is no Linux.
func (l *Link) Read([]byte) (int, error) { return 0, errLinux }

// SetReadDeadline says that this is no Linux.
func (l *Link) SetReadDeadline(time.Time) error { return errLinux }

// Fence says that this is no Linux.
func (l *Link) Fence(context.Context) error { return errLinux }

// WriteBatch says that this is no Linux.
func (l *Link) WriteBatch([][]byte) (int, error) { return 0, errLinux }

// Arrived says that this is no Linux.
func (l *Link) Arrived() (uint64, error) { return 0, errLinux }

// EnterWith does nothing here: there are no namespaces, and Open says so.
func EnterWith(Entry) {}

// WriteFrame says that this is no Linux.
func (l *Link) WriteFrame([]byte) (int, error) { return 0, errLinux }

// ReadFrame says that this is no Linux.
func (l *Link) ReadFrame([]byte) (int, error) { return 0, errLinux }

// HardwareAddr returns the zero MAC.
func (l *Link) HardwareAddr() nf.MAC { return nf.MAC{} }

// PeerHardwareAddr returns the zero MAC.
func (l *Link) PeerHardwareAddr() nf.MAC { return nf.MAC{} }

// WriteBy says that this is no Linux.
func (l *Link) WriteBy(func(ifindex, most int) (int, error)) (int, error) { return 0, errLinux }

// ReadNow says that this is no Linux.
func (l *Link) ReadNow([]byte) (int, error) { return 0, errLinux }

// Lost says that this is no Linux.
func (l *Link) Lost() (uint64, error) { return 0, errLinux }

// Load implements Ruleset.
func (t rulesText) Load(context.Context, *Env) error { return errLinux }

// Load implements Ruleset.
func (t singleCommands) Load(context.Context, *Env) error { return errLinux }

// Load says that this is no Linux.
func (p TimeoutPolicy) Load(context.Context, *Env) error { return errLinux }

// Load says that this is no Linux.
func (h Helper) Load(context.Context, *Env) error { return errLinux }

// Load says that this is no Linux.
func (x Expect) Load(context.Context, *Env) error { return errLinux }

// Join says that this is no Linux.
func Join(context.Context, *Env, *Env, Wire) error { return errLinux }

// Table is the conntrack table of an Env; here there is none.
type Table struct{}

// Count says that this is no Linux.
func (t *Table) Count() (int, error) { return 0, errLinux }

// Create says that this is no Linux.
func (t *Table) Create(nf.Entry) error { return errLinux }

// Update says that this is no Linux.
func (t *Table) Update(nf.Entry) error { return errLinux }

// Delete says that this is no Linux.
func (t *Table) Delete(nf.Entry) error { return errLinux }

// Flush says that this is no Linux.
func (t *Table) Flush(context.Context, nf.Filter) (int, error) { return 0, errLinux }

// FlushWith says that this is no Linux.
func (t *Table) FlushWith(context.Context, nf.Filter, func()) (int, error) { return 0, errLinux }

// CreateAll says that this is no Linux.
func (t *Table) CreateAll(context.Context, iter.Seq[nf.Entry], func()) (int, error) {
	return 0, errLinux
}

// AgeWith says that this is no Linux.
func (t *Table) AgeWith(context.Context, time.Duration, func(nf.Filter) ([]nf.Entry, error), func(), ...nf.Filter) (int, error) {
	return 0, errLinux
}
