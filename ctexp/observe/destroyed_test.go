package observe

import (
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestFateOfDestroyedEntries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		e    nf.Entry
		want fate
	}{
		{"time over", nf.Entry{State: nf.Close}, removed},
		{"no time told", nf.Entry{State: nf.TCPNone}, removed},
		{"evicted", nf.Entry{Timeout: 100 * time.Second, State: nf.SynSent}, removed},
		{"collected while closing", nf.Entry{Timeout: 10 * time.Second, State: nf.LastAck, Status: nf.Assured | nf.SeenReply}, removed},
		{"UDP evicted", nf.Entry{Timeout: 30 * time.Second}, removed},
		{"RST to a SYN", nf.Entry{Timeout: 119 * time.Second, State: nf.Close}, endedByPacket},
		{"opened again or collected", nf.Entry{Timeout: 100 * time.Second, State: nf.TimeWait, Status: nf.SeenReply}, maybeReplaced},
		{"opened again or collected after a RST", nf.Entry{Timeout: 9 * time.Second, State: nf.Close, Status: nf.SeenReply}, maybeReplaced},
	} {
		if got := fateOf(c.e); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}
