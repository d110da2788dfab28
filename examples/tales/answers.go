package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	pages "github.com/ctexp/go-ctexp/internal/report"
)

// longestRow bounds one row. It is for a machine that is very busy: half a second is usual.
const longestRow = 3 * time.Minute

// answers asks the rows and yields their results in the order of the rows, each as soon as those before it are there.
//
// Two rows are asked at a time: one with a full table, one without. Of those with a full table the parts come first that need a table which
// nobody has overflowed for a while, then the one that needs the kernel to say so for the first time.
func answers(ctx context.Context, opts options, rows []row, before *outside, progress func(asking []string, done int)) iter.Seq[result] {
	return func(yield func(result) bool) {
		ctx, cancel := context.WithCancel(ctx)
		pool := newPool(ctx, opts)
		a := &asker{opts: opts, before: before, pool: pool, progress: progress}
		results := make([]chan result, len(rows))
		for i := range rows {
			results[i] = make(chan result, 1)
		}
		var workers sync.WaitGroup
		defer func() {
			cancel()
			workers.Wait()
			pool.close()
		}()
		workers.Go(func() {
			early := map[string]answer{}
			for _, r := range rows {
				if r.early != nil {
					early[r.id] = a.askEarly(ctx, r)
				}
			}
			pool.start(rows)
			for _, i := range fullOnes(rows) {
				results[i] <- a.ask(ctx, rows[i], early[rows[i].id])
			}
		})
		workers.Go(func() {
			for _, i := range otherOnes(rows) {
				results[i] <- a.ask(ctx, rows[i], answer{})
			}
		})
		for i := range rows {
			if !yield(<-results[i]) {
				return
			}
		}
	}
}

// fullOnes returns the rows with full tables in the order in which they are asked.
func fullOnes(rows []row) []int {
	var order []int
	for i, r := range rows {
		if r.full {
			order = append(order, i)
		}
	}
	first := slices.IndexFunc(order, func(i int) bool { return rows[i].id == kernelLog })
	if first > 0 {
		i := order[first]
		order = slices.Insert(slices.Delete(order, first, first+1), 0, i)
	}
	return order
}

func otherOnes(rows []row) []int {
	var order []int
	for i, r := range rows {
		if !r.full {
			order = append(order, i)
		}
	}
	return order
}

// asker asks rows.
type asker struct {
	opts     options
	before   *outside
	pool     *pool
	progress func(asking []string, done int)

	mu     sync.Mutex
	asking []string
	done   int
}

// answer is what an experiment came to: what it measured, and what could not be had, or went wrong.
type answer struct {
	got   fields
	notes []string
	lack  error // answers to errors.ErrUnsupported
	err   error
	runs  []pages.Data // for the page
}

func (a *asker) askEarly(ctx context.Context, r row) answer {
	a.tell(r.id, 0)
	defer a.tell(r.id, 0)
	return a.try(ctx, r.early, answer{})
}

// mostTries bounds how often a row is asked where the garbage collector takes entries away in the middle of it.
const mostTries = 3

// ask asks a row and judges the answer.
func (a *asker) ask(ctx context.Context, r row, early answer) result {
	a.tell(r.id, 0)
	defer a.tell(r.id, 1)
	got := a.try(ctx, r.ask, early)
	for try := 1; try < mostTries && got.err == nil && got.got.number("collected") > 0; try++ {
		got = a.try(ctx, r.ask, early)
		got.notes = append(got.notes, "asked again, since the garbage collector took entries in the middle of it")
	}
	out := result{
		ID: r.id, Claim: a.opts.size.fill(r.claim), Article: r.article, Got: got.got,
		Kernel: kernelRelease(), Backend: a.opts.backend, Runs: got.runs,
	}
	if got.err != nil {
		out.Error = got.err.Error()
		return out
	}
	out.Verdict, out.Why = r.judge(a.opts.size, got.got, got.notes, got.lack)
	return out
}

// try runs one experiment and cleans up behind it.
func (a *asker) try(ctx context.Context, f func(*bench) fields, early answer) (out answer) {
	ctx, cancel := context.WithTimeout(ctx, longestRow)
	defer cancel()
	b := &bench{ctx: ctx, size: a.opts.size, backend: a.opts.backend, before: a.before, pool: a.pool, early: early, draw: a.opts.html != ""}
	defer func() {
		if r := recover(); r != nil {
			bail, ok := r.(bailOut)
			if !ok {
				panic(r)
			}
			out = answer{notes: b.notes}
			if errors.Is(bail.err, errors.ErrUnsupported) {
				out.lack = bail.err
			} else {
				out.err = bail.err
			}
		}
		if err := b.close(); err != nil && out.err == nil {
			out.err = fmt.Errorf("clean up: %w", err)
		}
	}()
	out = answer{got: f(b), notes: b.notes, lack: b.lack}
	if b.draw {
		out.runs = append(early.runs[:len(early.runs):len(early.runs)], b.runs()...)
	}
	return out
}

// tell lets the progress be seen: that a row is begun or ended.
func (a *asker) tell(id string, done int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.asking, id); i >= 0 {
		a.asking = slices.Delete(a.asking, i, i+1)
	} else {
		a.asking = append(a.asking, id)
	}
	a.done += done
	a.progress(slices.Clone(a.asking), a.done)
}
