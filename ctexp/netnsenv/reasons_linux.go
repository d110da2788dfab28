package netnsenv

import (
	"errors"
	"os"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// reasonLogs are where the loggers of IPv4 and IPv6 are set; the numbers are those of the families.
var reasonLogs = []string{"net/netfilter/nf_log/2", "net/netfilter/nf_log/10"}

// The sysctl that makes conntrack say why a packet is INVALID, and its value for all protocols.
const (
	keyLogInvalid = "net/netfilter/nf_conntrack_log_invalid"
	allProtocols  = "255" // IPPROTO_RAW
	nflogLogger   = "nfnetlink_log"
)

// askForReasons has conntrack say why it calls packets INVALID, by NFLOG group 0, where somebody may listen or not. The
// loggers come first: since 6.17 a write to log_invalid loads one where none is set. A kernel that cannot do it does
// without; the Observer says so.
func (e *Env) askForReasons() error {
	if e.cfg.NoReasons {
		return nil
	}
	for i, key := range reasonLogs {
		err := e.setSysctl(key, nflogLogger)
		if errors.Is(err, os.ErrNotExist) && i == 0 && e.loadNFLog() == nil { // no such logger: a module that nobody has used
			err = e.setSysctl(key, nflogLogger)
		}
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil
		case err != nil:
			return err
		}
	}
	err := e.setSysctl(keyLogInvalid, allProtocols)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	e.reasons = err == nil
	return err
}

// loadNFLog has the kernel load nfnetlink_log, as it does when the first message for it comes (net/netfilter/nfnetlink.c,
// nfnetlink_rcv_msg). The message changes nothing: the socket reads no group.
func (e *Env) loadNFLog() error {
	return e.Do(func() error {
		conn, err := nfnl.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.UnbindLog(0)
	})
}
