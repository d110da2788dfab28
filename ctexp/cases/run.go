package cases

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// Result is what became of a Suite.
type Result struct {
	Suite  string  // its name
	Blocks [][]Got // as in the Suite
	// Reach is which rules the packets of all blocks got to, by which Compare knows what it proves. Suite.Run leaves it zero.
	Reach ctexp.Reach
}

// Got is what became of a case.
type Got struct {
	Case    Case          // the case itself
	Outcome ctexp.Outcome // what became of its packet; without the rules if Explained is false
	// Explained reports that the Outcome has the rules that the packet met, its class and its entry: that of a case that failed, or
	// that expects nothing.
	Explained bool
	// Differs is how the Outcome differs from what is expected: "want drop, got accept". Empty if it does not.
	Differs string
}

// Run tries the packets of a suite in namespaces of cfg, a new one for each block, and returns what became of them. Blocks run
// at the same time. First only what is needed for a verdict is read; blocks with failures run again with everything that explains
// them. Where the two disagree, the explained one counts.
//
// An error is one of the machine or the rules; it says at which line. If this machine lacks something, it is an
// errors.ErrUnsupported. That cases failed is no error: see Result.Failures.
func (s Suite) Run(ctx context.Context, cfg netnsenv.Config) (Result, error) {
	return s.each(ctx, func(ctx context.Context, b Block) ([]Got, error) { return b.run(ctx, s.Name, cfg) })
}

// Explain is Run with all cases explained, which takes twenty times as long. It calls inspect with the Lab of each block, before that
// is closed, and what became of its cases; one call at a time, in no order. A nil inspect is not called.
func (s Suite) Explain(ctx context.Context, cfg netnsenv.Config, inspect func(*ctexp.Lab, []Got) error) (Result, error) {
	var mu sync.Mutex // of reach, and while inspect runs
	var reach ctexp.Reach
	r, err := s.each(ctx, func(ctx context.Context, b Block) ([]Got, error) {
		return b.explain(ctx, s.Name, cfg, func(lab *ctexp.Lab, got []Got, entries int) error {
			of, err := lab.Reach(ctx, entries)
			mu.Lock()
			defer mu.Unlock()
			reach = reach.With(of)
			if inspect == nil || err != nil {
				return err
			}
			return inspect(lab, got)
		})
	})
	r.Reach = reach
	return r, err
}

// each runs f for each block, as many at the same time as there are CPUs.
func (s Suite) each(ctx context.Context, f func(context.Context, Block) ([]Got, error)) (Result, error) {
	r := Result{Suite: s.Name, Blocks: make([][]Got, len(s.Blocks))}
	errs := make([]error, len(s.Blocks))
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(s.Blocks)) {
		wg.Go(func() {
			for i := range next {
				if r.Blocks[i], errs[i] = f(ctx, s.Blocks[i]); errs[i] != nil {
					stop()
				}
			}
		})
	}
	for i := range s.Blocks {
		next <- i
	}
	close(next)
	wg.Wait()
	return r, firstCause(errs)
}

// firstCause returns the first error that is not that others had stopped before.
func firstCause(errs []error) (first error) {
	for _, err := range errs {
		if first == nil || errors.Is(first, context.Canceled) && err != nil {
			first = err
		}
	}
	return first
}

// run tries the packets of the block.
func (b Block) run(ctx context.Context, name string, cfg netnsenv.Config) ([]Got, error) {
	if !slices.ContainsFunc(b.Cases, Case.needsExplanation) {
		quick := cfg
		quick.NoFrames, quick.NoEvents, quick.NoReasons, quick.Classes = true, true, true, false
		got, err := b.try(ctx, name, quick, (*ctexp.Lab).TryQuickly, nil)
		if err != nil || !slices.ContainsFunc(got, func(g Got) bool { return g.Differs != "" }) {
			return got, err
		}
	}
	return b.explain(ctx, name, cfg, nil)
}

// explain tries the packets of the block with everything that explains them.
func (b Block) explain(ctx context.Context, name string, cfg netnsenv.Config, inspect inspectFunc) ([]Got, error) {
	cfg.Trace, cfg.Classes = true, cfg.Conntrack == netnsenv.On && !cfg.NoReasons
	got, err := b.try(ctx, name, cfg, (*ctexp.Lab).Try, inspect)
	for i := range got {
		got[i].Explained = true
	}
	return got, err
}

// needsExplanation reports whether a quick verdict does not do: that a packet was lost for another reason than rules is what
// only the rules can tell for certain.
func (c Case) needsExplanation() bool {
	return c.Want.Kind == WantNothing || c.Want.Kind == WantVerdict && c.Want.Verdict == ctexp.VerdictLost
}

type (
	tryFunc func(*ctexp.Lab, context.Context, ...ctexp.Trial) ([]ctexp.Outcome, error)
	// inspectFunc is called with the Lab of a block, what became of its packets, and how many entries there were before these.
	inspectFunc func(lab *ctexp.Lab, got []Got, entries int) error
)

func (b Block) try(ctx context.Context, name string, cfg netnsenv.Config, try tryFunc, inspect inspectFunc) (got []Got, err error) {
	lab, err := ctexp.Open(ctx, unlimited(cfg))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	var trials []ctexp.Trial
	for _, c := range b.Cases {
		if c.Trial.Link != "" && lab.Env.Link(c.Trial.Link) == nil || c.Want.Link != "" && lab.Env.Link(c.Want.Link) == nil {
			return nil, fmt.Errorf("%s:%d: the host has no link %q; it has %s", name, c.Line, missing(lab, c), linkNames(lab))
		}
		trials = append(trials, c.Trial)
	}
	entries := 0
	if inspect != nil {
		if entries, err = lab.Observer.Count(ctx); err != nil {
			return nil, err
		}
	}
	outcomes, err := try(lab, ctx, trials...)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, b.Cases[min(len(outcomes), len(b.Cases)-1)].Line, err)
	}
	for i, c := range b.Cases {
		got = append(got, Got{Case: c, Outcome: outcomes[i], Differs: c.Want.Differs(outcomes[i])})
	}
	if inspect != nil {
		err = inspect(lab, got, entries)
	}
	return got, err
}

// missing returns the link that a case names and that is not there.
func missing(lab *ctexp.Lab, c Case) string {
	if c.Trial.Link != "" && lab.Env.Link(c.Trial.Link) == nil {
		return c.Trial.Link
	}
	return c.Want.Link
}

func linkNames(lab *ctexp.Lab) (s string) {
	for i, l := range lab.Env.Links() {
		if i > 0 {
			s += ", "
		}
		s += l.Name()
	}
	return s
}

// All returns what became of all cases, in the order of the file.
func (r Result) All() []Got { return slices.Concat(r.Blocks...) }

// Failures returns the cases of which became something else than what was expected.
func (r Result) Failures() []Got {
	return slices.DeleteFunc(r.All(), func(g Got) bool { return g.Differs == "" })
}
