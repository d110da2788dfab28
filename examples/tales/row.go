package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/patience"
	pages "github.com/ctexp/go-ctexp/internal/report"
)

// says is the name of the field with the words of the article.
const says = "says"

// row is one claim of the article and the experiment that puts it to the kernel.
type row struct {
	id string
	// claim and why may have {N}, {M} and {N-M} in them, which stand for the size of the experiment.
	claim   string
	article fields  // what the author saw: numbers under the names of the measured ones, and his words as "says"
	verdict verdict // what it is when the kernel does what is expected here
	why     string

	// full says that the experiment has a full table: such rows are asked one after the other.
	full bool
	// early is asked before any row overflows a table, and hands its result to ask.
	early func(*bench) fields
	ask   func(*bench) fields
	// expect returns what a kernel of today measures. More may be measured than is expected.
	expect func(question) expectations
}

// verdict is the word for what became of a claim.
type verdict string

const (
	confirmed   verdict = "confirmed"
	changed     verdict = "changed"
	refined     verdict = "refined"
	refuted     verdict = "refuted"
	unsupported verdict = "unsupported"
)

// verdicts are all of them in the order of the summary.
var verdicts = []verdict{confirmed, changed, refined, refuted, unsupported}

// rows returns all claims, in the order in which they are printed.
func rows() []row {
	var all []row
	for _, group := range [][]row{tableRows, ruleRows, modeRows, dropRows, errnoRows, floodRows, adviceRows, reverseRows, edgeRows} {
		all = append(all, group...)
	}
	return all
}

// result is the answer to a row, and a line of JSON.
type result struct {
	ID      string  `json:"id"`
	Claim   string  `json:"claim"`
	Article fields  `json:"article"`
	Got     fields  `json:"got"`
	Verdict verdict `json:"verdict,omitempty"`
	Why     string  `json:"why"`
	Kernel  string  `json:"kernel"`
	Backend backend `json:"backend"`
	// Error says what kept the row from an answer: a fault of this program, no finding about the kernel.
	Error string `json:"error,omitempty"`
	// Runs are its experiments, for the page to draw.
	Runs []pages.Data `json:"-"`
}

// question is what expectations are drawn up from: the size of the experiment, and what was measured, because where a
// table overflows chance has a hand in it.
type question struct {
	n, m int
	got  fields
}

// dice returns how many entries left a full table by chance: early_drop evicted them for a new flow, or the garbage
// collector took them. Each of them may have let one packet more through.
func (q question) dice() int { return q.got.number("evicted") + q.got.number("collected") }

// through is how many of N new flows get through where M entries are free: M, and more for the dice.
func (q question) through() between { return between{min(q.n, q.m), min(q.n, q.m+q.dice())} }

// stay is how many entries there are afterwards.
func (q question) stay() between { return between{max(0, q.m-q.dice()), q.m} }

// lost is how many of N new flows are dropped.
func (q question) lost() between {
	return between{max(0, q.n-q.m-q.dice()), q.n - q.m}
}

// expectations say what is expected under each name.
type expectations []expectation

type expectation struct {
	name string
	want any // the value itself, or something that holds
}

// holder is an expectation that more than one value meets.
type holder interface {
	holds(got any) bool
}

// between is met by a number from lo to hi.
type between struct{ lo, hi int }

func (w between) holds(got any) bool {
	n, ok := got.(int)
	return ok && w.lo <= n && n <= w.hi
}

func (w between) String() string {
	if w.lo == w.hi {
		return fmt.Sprint(w.lo)
	}
	return fmt.Sprintf("%d to %d", w.lo, w.hi)
}

// atLeast is met by a number that is not smaller.
type atLeast int

func (w atLeast) holds(got any) bool {
	n, ok := got.(int)
	return ok && n >= int(w)
}

func (w atLeast) String() string { return fmt.Sprintf("at least %d", int(w)) }

// each is met by three numbers, each of which meets it.
type each struct{ between }

func (w each) holds(got any) bool {
	list, ok := got.([]int)
	for _, n := range list {
		ok = ok && w.between.holds(n)
	}
	return ok && len(list) == 3
}

func (w each) String() string { return w.between.String() + " each" }

// differences says where got is not as expected. With partial, what is not there is not expected.
func (e expectations) differences(got fields, partial bool) []string {
	var out []string
	for _, x := range e {
		v := got.get(x.name)
		switch h, ok := x.want.(holder); {
		case v == nil && partial, ok && h.holds(v), reflect.DeepEqual(v, x.want):
		case v == nil:
			out = append(out, fmt.Sprintf("%s was not measured", x.name))
		default:
			out = append(out, fmt.Sprintf("%s is %s, expected %s", x.name, show(v), show(x.want)))
		}
	}
	return out
}

// judge compares what was measured with what is expected, and gives the verdict. lack is what could not be had.
func (r row) judge(n size, got fields, notes []string, lack error) (verdict, string) {
	diff := r.expect(question{n.packets, n.free, got}).differences(got, lack != nil)
	switch {
	case len(diff) > 0:
		return refuted, sentence(append([]string{strings.Join(diff, "; ")}, notes...)...)
	case lack != nil:
		var need *nf.UnsupportedError
		if errors.As(lack, &need) {
			lack = need // whoever passed it on has nothing to add for the reader
		}
		return unsupported, sentence(append([]string{lack.Error()}, notes...)...)
	}
	return r.verdict, sentence(append([]string{n.fill(r.why)}, notes...)...)
}

// sentence joins remarks.
func sentence(parts ...string) string {
	var s []string
	for _, p := range parts {
		if p != "" {
			s = append(s, p)
		}
	}
	return strings.Join(s, "; ")
}

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
		Kernel: kernel.Name(), Backend: a.opts.backend, Runs: got.runs,
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
	ctx, cancel := patience.WithTimeout(ctx, longestRow, context.DeadlineExceeded)
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
