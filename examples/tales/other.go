//go:build !linux

package main

import (
	"context"
	"io"
	"net"
	"os"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Elsewhere than on Linux the claims can be listed, and none can be asked.

var errLinux = &nf.UnsupportedError{Need: "Linux", Hint: "conntrack is a part of the Linux kernel"}

func hostLimit() (int, error) { return 0, errLinux }

func prepareOutside([]row) *outside { return &outside{opened: map[string]*os.File{}} }

func playRole(context.Context, options, io.Writer) (status int, ok bool) { return 0, false }

func askUnprivileged(b *bench) fields { return notHere(b) }

func askKernelLog(b *bench) fields { return notHere(b) }

func askHeld(b *bench) fields { return notHere(b) }

func notHere(b *bench) fields {
	b.must(errLinux)
	return nil
}

// noRules are rules that cannot be loaded.
type noRules struct{}

func (noRules) Load(context.Context, *netnsenv.Env) error { return errLinux }

func nftRules([]rule) netnsenv.Ruleset { return noRules{} }

func nftNoRules() netnsenv.Ruleset { return noRules{} }

func (l *lab) dropAtIngress() { l.b.must(errLinux) }

func errno(err error) string { return err.Error() }

func (l *lab) sendRaw(packet.Packet) error { return errLinux }

func (l *lab) sendFrame(packet.Packet) error { return errLinux }

func (l *lab) ping() error { return errLinux }

func setBacklog(net.Listener, int) error { return errLinux }
