// Package background closes what the kernel needs milliseconds to close, because it waits for RCU, while the caller goes on.
package background

import "io"

// most is how many closes run at once. Namespaces that many processes or tests end end one after the other in the kernel
// (net/core/net_namespace.c, cleanup_net): those that wait for it must not become more and more.
const most = 64

var running = make(chan struct{}, most)

// Close closes c in the background. It waits if many others are being closed.
func Close(c io.Closer) {
	running <- struct{}{}
	go func() {
		defer func() { <-running }()
		_ = c.Close()
	}()
}
