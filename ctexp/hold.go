package ctexp

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/userns"
)

// envHold is the environment variable that keeps a failed test's namespace open.
const envHold = "CTEXP_HOLD"

// hold waits until it is interrupted if the user has asked for that, so that the namespace can be looked at. It speaks
// past the test's log, which go test shows only afterwards. Of several experiments of a test each waits in its turn.
func hold(name string, env *netnsenv.Env) {
	if os.Getenv(envHold) != "1" {
		return
	}
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupt)
	fmt.Fprintf(os.Stderr, "%s failed; its namespace stays until ^C. To enter it (with go test -timeout 0 for as long as you like):\n\t%s\n", name, enterLine(env))
	<-interrupt
}

// enterLine is the command that leads into the namespace of a process that may be in a user namespace. It is for
// the user that runs the tests: another one, root included, has no part in that user namespace.
func enterLine(env *netnsenv.Env) string {
	pid := os.Getpid()
	user := "" // the host's: one cannot enter the user namespace that one is in
	if userns.Own() {
		user = fmt.Sprintf(" --preserve-credentials --user=/proc/%d/ns/user", pid)
	}
	return fmt.Sprintf("nsenter%s --mount=/proc/%d/ns/mnt --net=%s", user, pid, env.Path())
}
