//go:build !linux

package netnsenv

import (
	"context"
	"iter"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Table is the conntrack table of an Env; here there is none.
type Table struct{}

// Count says that this is no Linux.
func (t *Table) Count() (int, error) { return 0, errLinux }

// Create says that this is no Linux.
func (t *Table) Create(nf.Entry) error { return errLinux }

// Update says that this is no Linux.
func (t *Table) Update(nf.Entry) error { return errLinux }

// Delete says that this is no Linux.
func (t *Table) Delete(nf.Entry) error { return errLinux }

// Flush says that this is no Linux.
func (t *Table) Flush(context.Context, nf.Filter) (int, error) { return 0, errLinux }

// FlushWith says that this is no Linux.
func (t *Table) FlushWith(context.Context, nf.Filter, func()) (int, error) { return 0, errLinux }

// CreateAll says that this is no Linux.
func (t *Table) CreateAll(context.Context, iter.Seq[nf.Entry], func()) (int, error) {
	return 0, errLinux
}

// AgeWith says that this is no Linux.
func (t *Table) AgeWith(context.Context, time.Duration, func(nf.Filter) ([]nf.Entry, error), func(), ...nf.Filter) (int, error) {
	return 0, errLinux
}
