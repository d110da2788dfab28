//go:build !linux

package observe

import (
	"context"
	"iter"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Observer observes a network namespace of Linux. On other systems its methods return an nf.UnsupportedError.
type Observer struct{}

var errNotLinux = &nf.UnsupportedError{Need: "Linux", Hint: "conntrack is a part of the Linux kernel"}

// Open returns an nf.UnsupportedError.
func Open(context.Context, Namespace, Config) (*Observer, error) { return nil, errNotLinux }

// Close does nothing.
func (*Observer) Close() error { return nil }

// Earned returns nil.
func (*Observer) Earned() error { return nil }

// IPv6Off returns an nf.UnsupportedError.
func (*Observer) IPv6Off(context.Context) (bool, error) { return false, errNotLinux }

// AllowVacuous does nothing.
func (*Observer) AllowVacuous() {}

// VacuousAllowed returns false.
func (*Observer) VacuousAllowed() bool { return false }

// CheckLinks returns an nf.UnsupportedError.
func (*Observer) CheckLinks(context.Context, ...string) error { return errNotLinux }

// ZonesOf returns an nf.UnsupportedError.
func (*Observer) ZonesOf(context.Context, nf.Tuple) ([]uint16, error) { return nil, errNotLinux }

// CheckLimit returns an nf.UnsupportedError.
func (*Observer) CheckLimit(context.Context) error { return errNotLinux }

// NoteAged does nothing.
func (*Observer) NoteAged(int) {}

// Drain does nothing.
func (*Observer) Drain() {}

// Tally returns an nf.UnsupportedError.
func (*Observer) Tally(context.Context) (Tally, error) { return Tally{}, errNotLinux }

// Path returns an nf.UnsupportedError.
func (*Observer) Path(context.Context) (Path, error) { return Path{}, errNotLinux }

// PathCounts returns an nf.UnsupportedError.
func (*Observer) PathCounts(context.Context) (Path, error) { return Path{}, errNotLinux }

// Flows yields an nf.UnsupportedError.
func (*Observer) Flows(context.Context, nf.Filter) iter.Seq2[nf.Entry, error] {
	return func(yield func(nf.Entry, error) bool) { yield(nf.Entry{}, errNotLinux) }
}

// SortedFlows returns an nf.UnsupportedError.
func (*Observer) SortedFlows(context.Context, nf.Filter) ([]nf.Entry, error) { return nil, errNotLinux }

// Get returns an nf.UnsupportedError.
func (*Observer) Get(context.Context, nf.Tuple, uint16) (nf.Entry, error) {
	return nf.Entry{}, errNotLinux
}

// Count returns an nf.UnsupportedError.
func (*Observer) Count(context.Context) (int, error) { return 0, errNotLinux }

// Expectations yields an nf.UnsupportedError.
func (*Observer) Expectations(context.Context) iter.Seq2[nf.Expectation, error] {
	return func(yield func(nf.Expectation, error) bool) { yield(nf.Expectation{}, errNotLinux) }
}

// Dying yields an nf.UnsupportedError.
func (*Observer) Dying(context.Context) iter.Seq2[nf.Entry, error] {
	return func(yield func(nf.Entry, error) bool) { yield(nf.Entry{}, errNotLinux) }
}

// Unconfirmed yields an nf.UnsupportedError.
func (*Observer) Unconfirmed(context.Context) iter.Seq2[nf.Entry, error] {
	return func(yield func(nf.Entry, error) bool) { yield(nf.Entry{}, errNotLinux) }
}

// Stats returns an nf.UnsupportedError.
func (*Observer) Stats(context.Context) (Stats, error) { return Stats{}, errNotLinux }

// Rules returns an nf.UnsupportedError.
func (*Observer) Rules(context.Context) ([]Rule, error) { return nil, errNotLinux }

// Frames yields an nf.UnsupportedError.
func (*Observer) Frames(context.Context) iter.Seq2[packet.Record, error] {
	return func(yield func(packet.Record, error) bool) { yield(packet.Record{}, errNotLinux) }
}

// Reasons yields an nf.UnsupportedError.
func (*Observer) Reasons(context.Context) iter.Seq2[Reason, error] {
	return func(yield func(Reason, error) bool) { yield(Reason{}, errNotLinux) }
}

// Classes yields an nf.UnsupportedError.
func (*Observer) Classes(context.Context) iter.Seq2[packet.Record, error] {
	return func(yield func(packet.Record, error) bool) { yield(packet.Record{}, errNotLinux) }
}

// SetDropSource does nothing.
func (*Observer) SetDropSource(DropSource) {}

// Record returns an nf.UnsupportedError.
func (*Observer) Record(context.Context) (Record, error) { return Record{}, errNotLinux }

// RecordFirst returns an nf.UnsupportedError.
func (*Observer) RecordFirst(context.Context, int) (Record, error) { return Record{}, errNotLinux }

// Timeline returns an nf.UnsupportedError.
func (*Observer) Timeline(context.Context) (Timeline, error) { return Timeline{}, errNotLinux }

// Mark does nothing.
func (*Observer) Mark(context.Context, string) {}

// Events yields an nf.UnsupportedError.
func (*Observer) Events(context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) { yield(Event{}, errNotLinux) }
}

// Follow yields an nf.UnsupportedError.
func (*Observer) Follow(context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) { yield(Event{}, errNotLinux) }
}

// NextEvent returns nil.
func (*Observer) NextEvent() <-chan struct{} { return nil }

// Trace yields an nf.UnsupportedError.
func (*Observer) Trace(context.Context) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) { yield(Step{}, errNotLinux) }
}

// Place is a network namespace that another program created. On other systems than Linux there are none.
type Place struct{}

// At returns an nf.UnsupportedError.
func At(string) (*Place, error) { return nil, errNotLinux }

// AtPID returns an nf.UnsupportedError.
func AtPID(int) (*Place, error) { return nil, errNotLinux }

// AtFD returns an nf.UnsupportedError.
func AtFD(int) (*Place, error) { return nil, errNotLinux }

// Host returns an nf.UnsupportedError.
func Host() (*Place, error) { return nil, errNotLinux }

// Do returns an nf.UnsupportedError.
func (*Place) Do(func() error) error { return errNotLinux }

// FD returns -1.
func (*Place) FD() int { return -1 }

// Close does nothing.
func (*Place) Close() error { return nil }
