package netnsenv

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// programMark is the environment variable with the name of the program of Entry.Programs that this process is.
const programMark = "CTEXP_PROGRAM"

// Program returns a command that runs a function of Entry.Programs in the namespace: as a process of its own, which executes
// the same binary, so that all of its goroutines and threads are inside. Its os.Args are the name and args.
func (e *Env) Program(ctx context.Context, name string, args ...string) *Cmd {
	c := e.Command(ctx, "/proc/self/exe", args...)
	c.Args[0] = name
	c.program = name
	return c
}

// become runs the program that the process was started as, and does not return, if there is one.
func (e Entry) become() {
	name, ok := os.LookupEnv(programMark)
	if !ok {
		return
	}
	main := e.Programs[name]
	if main == nil {
		names := strings.Join(slices.Sorted(maps.Keys(e.Programs)), ", ")
		fmt.Fprintf(os.Stderr, "netnsenv: no program %q in Entry.Programs, which has: %s\n", name, names)
		os.Exit(127)
	}
	if err := os.Unsetenv(programMark); err != nil { // the programs that it starts are not it
		panic("netnsenv: " + err.Error())
	}
	main()
	os.Exit(0)
}

// errNotBecome returns an error in a process that was started as a program but did not become it.
func errNotBecome() error {
	name, ok := os.LookupEnv(programMark)
	if !ok {
		return nil
	}
	return fmt.Errorf("netnsenv: the process was started as the program %q but has not called EnterWith, or ctexp.MainWith, with Entry.Programs", name)
}
