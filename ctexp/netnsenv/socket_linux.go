package netnsenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

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
