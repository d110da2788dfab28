package netnsenv

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// AwaitListen waits until a socket of the namespace listens on the port: for network "tcp" a listener, for "udp" a socket
// that is bound and not connected; "tcp4" and the like want one of that family. It ends at once if a program has failed (see
// Failed).
func (e *Env) AwaitListen(ctx context.Context, network string, port uint16) error {
	files, err := socketFiles(network)
	if err != nil {
		return err
	}
	const shortest, longest = time.Millisecond, 20 * time.Millisecond
	for pause := shortest; ; pause = min(2*pause, longest) {
		ports, err := e.listening(files)
		if err != nil {
			return prefixed(err)
		}
		if slices.Contains(ports, port) {
			return nil
		}
		if err := e.Failed(); err != nil {
			return fmt.Errorf("netnsenv: nothing listens on %s port %d: %w", network, port, err)
		}
		e.outputs.mu.Lock()
		changed := e.outputs.change()
		e.outputs.mu.Unlock()
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("netnsenv: nothing listens on %s port %d, only on %v: %w", network, port, ports, context.Cause(ctx))
		case <-changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// socketFiles returns the files of /proc/net that list the sockets of a network, whose format is that of
// net/ipv4/tcp_ipv4.c, tcp4_seq_show.
func socketFiles(network string) ([]string, error) {
	files, ok := map[string][]string{
		"tcp": {"tcp", "tcp6"}, "tcp4": {"tcp"}, "tcp6": {"tcp6"}, "udp": {"udp", "udp6"}, "udp4": {"udp"}, "udp6": {"udp6"},
	}[network]
	if !ok {
		return nil, fmt.Errorf("netnsenv: AwaitListen on %q: want tcp, tcp4, tcp6, udp, udp4 or udp6", network)
	}
	return files, nil
}

// listening returns the ports of the sockets in the files that listen, in ascending order.
func (e *Env) listening(files []string) (ports []uint16, err error) {
	err = e.do(func() error {
		for _, f := range files {
			text, err := os.ReadFile("/proc/thread-self/net/" + f)
			if err != nil && !os.IsNotExist(err) { // a kernel without IPv6
				return err
			}
			ports = append(ports, listeningIn(string(text))...)
		}
		return nil
	})
	slices.Sort(ports)
	return slices.Compact(ports), err
}

// The states of sockets that listen: of TCP, and of UDP sockets that are not connected (include/net/tcp_states.h).
const (
	stateListen = "0A"
	stateClose  = "07"
)

// listeningIn returns the ports of the sockets in a file of /proc/net that listen.
func listeningIn(text string) (ports []uint16) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || f[3] != stateListen && f[3] != stateClose {
			continue
		}
		_, port, _ := strings.Cut(f[1], ":")
		if n, err := hex.DecodeString(port); err == nil && len(n) == 2 {
			ports = append(ports, uint16(n[0])<<8|uint16(n[1]))
		}
	}
	return ports
}
