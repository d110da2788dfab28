package ctexp

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/ctexp/go-ctexp/ctexp/inject"
)

// Replay sends a recording, inject.ReadRecording(file) or what was made of it, by the links of the Env and returns what came of
// its packets, when the kernel is done with all of them.
//
// Unless the Replay has a rule of its own (By), only what came in where it was recorded is sent: left out is what the
// recording host sent itself (DirOut) and, where the recording knows no directions, what has an address of the Env's host as its
// source. A packet goes by the link whose name is that of the recorded one, or else by the link that its source is behind, going
// by the prefixes and routes of the links, or else by the first.
func (l *Lab) Replay(ctx context.Context, recording iter.Seq2[inject.Recorded, error], r inject.Replay) (inject.Replayed, error) {
	if recording == nil {
		return inject.Replayed{}, errors.New("ctexp: replay: the sequence is nil")
	}
	var links []inject.Link
	for _, link := range l.Env.Links() {
		links = append(links, link)
	}
	if r.By == nil {
		r.By = l.linkOfRecorded
	}
	done, err := r.Send(ctx, l.draining(recording), links...)
	l.sent.Add(uint64(done.Sent))
	l.Observer.Mark(ctx, fmt.Sprintf("%s of a recording", packets(done.Sent)))
	return done, err
}

// linkOfRecorded is the rule for a Replay that has none.
func (l *Lab) linkOfRecorded(r inject.Recorded) string {
	if r.Dir == inject.DirOut || r.Dir == inject.DirUnknown && l.isOwn(r.Packet) {
		return ""
	}
	if l.Env.Link(r.Link) != nil {
		return r.Link
	}
	return l.linkOf(r.Packet)
}

// isOwn reports whether the source of a packet is an address of the Env's host.
func (l *Lab) isOwn(p inject.Packet) bool {
	src := p.Tuple().Src.Addr()
	for _, link := range l.Env.Links() {
		for _, prefix := range link.Prefixes() {
			if prefix.Addr() == src {
				return true
			}
		}
	}
	return false
}

// draining lets the Observer take what it has seen once in a while.
func (l *Lab) draining(recording iter.Seq2[inject.Recorded, error]) iter.Seq2[inject.Recorded, error] {
	return func(yield func(inject.Recorded, error) bool) {
		n := 0
		for r, err := range recording {
			if !yield(r, err) {
				return
			}
			if n++; n <= mostDrained || n%mostDrained == 0 {
				l.Observer.Drain()
			}
		}
	}
}

// Replay sends a recording by the links; see Lab.Replay.
func (x *Experiment) Replay(recording iter.Seq2[inject.Recorded, error], r inject.Replay) inject.Replayed {
	x.t.Helper()
	return ask(x, "Replay", func(ctx context.Context) (inject.Replayed, error) { return x.Lab.Replay(ctx, recording, r) })
}
