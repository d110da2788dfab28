// Package mutate changes a program in small ways, one at a time, and looks whether its tests notice. A change that no test
// notices (a mutant that survives) is a line whose effect nothing asserts, or one without effect.
//
// All mutants of a sample are compiled into one test binary per package, each behind a switch (package mutant), by an
// overlay of go test, so that the tree is not touched. Each test of the package is first executed alone and without a mutant:
// this tells how long it takes, and which mutants it reaches. Then, for each mutant, the tests that reach it are executed,
// until the first one fails.
//
//	go run ./internal/mutate/cmd/mutate -n 40 -seed 7 ./ctexp/packet ./ctexp/nf
package mutate

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Kind is how a mutant differs from the program.
type Kind string

// Kinds of mutants.
const (
	Negated   Kind = "negated"   // a condition or a comparison, true or false
	Bound     Kind = "bound"     // < for <=, >= for >
	Joined    Kind = "joined"    // && for ||
	Swallowed Kind = "swallowed" // nil is returned instead of an error
	Removed   Kind = "removed"   // a call, an assignment
	Constant  Kind = "constant"  // an integer is one more
	Swapped   Kind = "swapped"   // - for +
)

// Mutant is one change of one place.
type Mutant struct {
	ID     int    // from 1 on, in the order of the sample; 0 if it is not part of one
	File   string // from the root of the module
	Line   int
	Func   string
	Kind   Kind
	Change string // of the source, as in "a < b → a <= b"

	pkg   *Package
	file  *file
	order int // in its function: outer ones first
	edits []edit
}

// String returns place and change in a line.
func (m Mutant) String() string {
	return fmt.Sprintf("%3d  %s:%d  %s: %s: %s", m.ID, m.File, m.Line, m.Func, m.Kind, m.Change)
}

// Sample draws n mutants of the packages (all, if there are not so many), each with the same chance, and numbers them by file
// and line. It depends on the packages' source, n and seed alone.
func Sample(pkgs []*Package, n int, seed uint64) []Mutant {
	var all []Mutant
	for _, p := range pkgs {
		all = append(all, p.Mutants()...)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	sample := all[:min(n, len(all))]
	slices.SortStableFunc(sample, func(a, b Mutant) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.edits[0].at, b.edits[0].at), cmp.Compare(a.order, b.order))
	})
	for i := range sample {
		sample[i].ID = i + 1
	}
	return sample
}
