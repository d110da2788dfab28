package netnsenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"

	"github.com/google/nftables"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/xtables"
)

// NFTables is a function that sets rules through a connection of the namespace; what it leaves unsent is flushed.
func NFTables(f func(*nftables.Conn) error) Ruleset { return nftFunc(f) }

type nftFunc func(*nftables.Conn) error

// nftFuncs lets the functions of all Envs set rules one at a time: google/nftables numbers sets in a variable of the package
// (v0.3.0, set.go, allocSetID). They only write messages, so that nobody waits for long.
var nftFuncs sync.Mutex

// Load implements Ruleset.
func (f nftFunc) Load(_ context.Context, e *Env) error {
	if f == nil {
		return errors.New("nftables rules: the function is nil")
	}
	c, err := e.openNFTables()
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	nftFuncs.Lock()
	defer nftFuncs.Unlock()
	if err := f(c); err != nil {
		return fmt.Errorf("nftables rules: %w", err)
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nftables rules: %w", err)
	}
	return nil
}

// NFTables returns a lasting connection to the nftables of the namespace. It works from any goroutine, one at a
// time; close it with CloseLasting, or let the Env do it. AddSet is for one goroutine of the whole program at a time, of
// whatever Envs: the functions of the Ruleset NFTables see to that.
func (e *Env) NFTables() (*nftables.Conn, error) {
	c, err := e.openNFTables()
	if err == nil {
		e.onClose(closerFunc(c.CloseLasting))
	}
	return c, err
}

func (e *Env) openNFTables() (*nftables.Conn, error) {
	var c *nftables.Conn
	err := e.Do(func() (err error) {
		c, err = nftables.New(nftables.AsLasting())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
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
	links, err := e.linkNames()
	if err != nil {
		return err
	}
	bad := missingLinks(nftLinks(t.text), links, t.mayLack, func(n int) string { return line(t.text, n) })
	var said string
	if len(bad) == 0 {
		said, err = e.feed(ctx, t.text, path, "-f", "-")
	}
	try := nftTry{links: links, run: func(text string) (string, error) { return e.feed(ctx, text, path, "-c", "-f", "-") }}
	return rulesError("nft", t.text, bad, said, err, try.problems)
}

// feed runs a program in the namespace with text as its input and returns what it had to say.
func (e *Env) feed(ctx context.Context, text, path string, args ...string) (string, error) {
	return feed(e.Do, exec.CommandContext(ctx, path, args...), text)
}

func feed(do func(func() error) error, cmd *exec.Cmd, text string) (string, error) {
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), &out, &out
	if err := do(cmd.Start); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return strings.TrimRight(out.String(), "\n"), err
}
