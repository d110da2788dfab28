package ctexp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/redtest"
)

// A wait for a daemon that has failed ends at once, with its status and output, and the log has the last lines of all programs.
func TestFailedDaemonIsTold(t *testing.T) {
	t.Parallel()
	ctexp.New(t, netnsenv.Config{})
	fake := &redtest.TB{}
	log := fake.Run(func(fake *redtest.TB) {
		x := ctexp.New(fake, netnsenv.Config{})
		ctexp.Require(fake, "start", x.Env.Command(t.Context(), "sh", "-c", "seq 50; echo cannot bind >&2; exit 4").Start())
		x.Await("the daemon listens", func() bool { return false })
	})
	if !fake.Failed() {
		t.Errorf("the test did not fail: %s", log)
	}
	for _, want := range []string{
		"Await the daemon listens: sh[", "exit status 4; its last output:\n", "\tcannot bind",
		"--- output of programs (52)\n", "… 12 earlier\n", "]: 13\n", "]: cannot bind\n", "]: exit status 4\n",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	if strings.Contains(log, "]: 12\n") {
		t.Errorf("the log has more than the last 40 lines:\n%s", log)
	}
}

func TestTimelineHasTheOutputOfPrograms(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	c := x.Env.Command(t.Context(), "sh", "-c", "echo hello")
	ctexp.Require(t, "run", c.Run())
	got := x.Timeline().Of(observe.KindOutput)
	if want := fmt.Sprintf("sh[%d]: hello", c.Process.Pid); len(got) != 1 || got[0].Text != want {
		t.Errorf("moments %v, want %q", got, want)
	}
}

func TestAwaitListenOfAnExperiment(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	l, err := x.Env.Listen(t.Context(), "tcp", ":80")
	ctexp.Require(t, "listen", err)
	defer l.Close()
	x.AwaitListen("tcp", 80)
}

// An expectation of a packet ends, too, when the daemon that should send it has failed.
func TestExpectationOfAFailedDaemonEnds(t *testing.T) {
	t.Parallel()
	ctexp.New(t, netnsenv.Config{})
	fake := &redtest.TB{}
	log := fake.Run(func(fake *redtest.TB) {
		x := ctexp.New(fake, netnsenv.Config{})
		x.Inbox.Patience = 0 // as long as the test may take
		ctexp.Require(fake, "start", x.Env.Command(t.Context(), "sh", "-c", "echo cannot bind; exit 4").Start())
		x.Expect(packet.Match{Flags: packet.FlagRST})
	})
	for _, want := range []string{"exit status 4; its last output:\n", "\tcannot bind", "no such packet"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
}
