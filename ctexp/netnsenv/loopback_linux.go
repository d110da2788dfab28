package netnsenv

import (
	"fmt"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"
)

// loopbackUp turns lo on: without it the host does not even answer itself.
func (e *Env) loopbackUp() error {
	const index = 1 // LOOPBACK_IFINDEX, in every namespace
	err := e.route.Link.Set(&rtnetlink.LinkMessage{Index: index, Flags: unix.IFF_UP, Change: unix.IFF_UP})
	if err != nil {
		return fmt.Errorf("link \"lo\": set up: %w", err)
	}
	return nil
}
