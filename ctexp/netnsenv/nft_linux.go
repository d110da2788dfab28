package netnsenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/google/nftables"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/xtables"
)

// NFTables is a function that sets rules through a connection of the namespace; what it leaves unsent is flushed.
func NFTables(f func(*nftables.Conn) error) Ruleset { return nftFunc(f) }

type nftFunc func(*nftables.Conn) error

// Load implements Ruleset.
func (f nftFunc) Load(_ context.Context, e *Env) error {
	if f == nil {
		return errors.New("nftables rules: the function is nil")
	}
	c, err := e.NFTables()
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	if err := f(c); err != nil {
		return fmt.Errorf("nftables rules: %w", err)
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nftables rules: %w", err)
	}
	return nil
}

// NFTables returns a lasting connection to the nftables of the namespace. It works from any goroutine, one at a
// time; close it with CloseLasting, or let the Env do it.
func (e *Env) NFTables() (*nftables.Conn, error) {
	var c *nftables.Conn
	err := e.Do(func() (err error) {
		c, err = nftables.New(nftables.AsLasting())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	e.onClose(closerFunc(c.CloseLasting))
	return c, nil
}

type closerFunc func() error

func (f closerFunc) Close() error { return f() }

// Load implements Ruleset.
func (t nftText) Load(ctx context.Context, e *Env) error {
	path, err := xtables.LookPath("nft")
	if err != nil {
		return &nf.UnsupportedError{Need: "nft", Hint: "install nftables, on Debian and Ubuntu: apt-get install nftables", Err: err}
	}
	out, err := e.feed(ctx, string(t), path, "-f", "-")
	if err != nil {
		return fmt.Errorf("nft rules: %w:\n%s", err, out)
	}
	return nil
}

// feed runs a program in the namespace with text as its input and returns what it had to say.
func (e *Env) feed(ctx context.Context, text, path string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), &out, &out
	if err := e.Do(cmd.Start); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return strings.TrimRight(out.String(), "\n"), err
}
