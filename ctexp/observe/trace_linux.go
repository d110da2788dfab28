package observe

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/links"
	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// Trace returns which rules each traced packet met, from Open until the iteration begins, in order: the user's rules
// of nftables and of iptables-nft. Tracing must be enabled by netnsenv.Config.Trace or by a rule of the user (meta
// nftrace set 1, TRACE of iptables-nft), from which on the packet is traced. StepsOf assigns the steps to frames.
//
// Rules that no longer exist when the iteration begins have no text. If steps are missing, it ends in ErrTraceLost.
// If a rule ends the trace of packets (meta nftrace set 0), the error is ErrSwitched. If nothing in the namespace enables
// tracing, it is an nf.UnsupportedError.
func (o *Observer) Trace(ctx context.Context) iter.Seq2[Step, error] {
	return recording(ctx, o, "trace", ErrTraceLost, o.readSteps)
}

func (o *Observer) readSteps(ctx context.Context) ([]Step, lostSteps, error) {
	release, err := o.use(ctx)
	if err != nil {
		return nil, lostSteps{}, err
	}
	defer release()
	if err := o.whole(); err != nil {
		return nil, lostSteps{}, err
	}
	if err := o.trace.Drain(); err != nil {
		return nil, lostSteps{}, err
	}
	if err := o.texts.update(o.table); err != nil { // after the last message, so that its rule has a text
		return nil, lostSteps{}, err
	}
	kept, heard, lost := o.trace.log.snapshot()
	if !heard && lost == (lostSteps{}) {
		return nil, lost, o.checkTraced(ctx)
	}
	rules, err := o.texts.of(ctx, o, kept)
	if err != nil {
		return nil, lost, err
	}
	var frames []packet.Record
	if o.capture != nil {
		if err := o.capture.Drain(); err != nil {
			return nil, lost, err
		}
		captured, _ := o.capture.log.snapshot()
		frames = captured.list()
	}
	return makeSteps(kept, frames, o.trace.link, func(m traced) string { return rules.Text(m.Family, m.Table, m.Handle) }), lost, nil
}

// ruleTexts has the texts of rules as long as the ruleset is the same: reading them takes ten milliseconds.
type ruleTexts struct {
	mu         sync.Mutex
	read       bool // the fields below are of a generation
	generation uint32
	met        map[tableOf]bool // the tables in rules
	rules      ruleset.Ruleset
}

// tableOf identifies a table.
type tableOf struct {
	family uint8
	name   string
}

// update forgets the texts if the ruleset has changed. If a rule ends the trace of packets, the error is ErrSwitched.
func (t *ruleTexts) update(conn ruleset.Conn) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	generation, err := ruleset.Generation(conn)
	if err != nil || t.read && generation == t.generation {
		return err
	}
	t.read = false
	if off, ok, err := ruleset.TraceOff(conn); ok || err != nil {
		return cmp.Or(err, fmt.Errorf("%w: a rule ends the trace of packets: %v", ErrSwitched, off))
	}
	t.read, t.generation, t.met, t.rules = true, generation, nil, ruleset.Ruleset{}
	return nil
}

// of returns the rules of the tables that the messages are about, and maybe of others. They are read anew if the ruleset was another
// when the texts were updated, or a table is not among those read.
func (t *ruleTexts) of(ctx context.Context, o *Observer, kept []tracedAt) (ruleset.Ruleset, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	met, more := map[tableOf]bool{}, false
	for _, m := range kept {
		table := tableOf{m.Family, m.Table}
		met[table] = true
		more = more || !t.met[table]
	}
	if !more {
		return t.rules, nil
	}
	maps.Copy(met, t.met)
	rules, err := ruleset.ReadTables(ctx, o.ns, o.table, func(family uint8, name string) bool { return met[tableOf{family, name}] })
	if err == nil {
		t.met, t.rules = met, rules
	}
	return rules, err
}

// checkTraced returns an nf.UnsupportedError if nothing enables tracing.
func (o *Observer) checkTraced(ctx context.Context) error {
	traced, err := ruleset.IsTraced(o.table)
	if traced || err != nil {
		return err
	}
	rules, err := ruleset.Read(ctx, o.ns, o.table)
	if rules.Traces() || err != nil {
		return err
	}
	return turnedOff("trace", "nothing in the namespace enables tracing; set netnsenv.Config.Trace, or add a rule with meta nftrace set 1")
}

// traceWatch records the kernel's messages about traced packets.
type traceWatch struct {
	*mmsg.Pump
	links links.Names // guarded by the Pump's lock
	log   tracelog
}

// traceBuffer holds the messages of several thousand packets if the host's rmem_max allows it.
const traceBuffer = 8 << 20

// watchTrace must be called on a thread in the namespace.
func watchTrace() (*traceWatch, error) {
	conn, err := nfnl.Listen(traceBuffer, nfnl.DropOwnTrace(), unix.NFNLGRP_NFTRACE)
	if err != nil {
		return nil, fmt.Errorf("subscribe to the trace: %w", err)
	}
	w := &traceWatch{links: links.Names{}, log: tracelog{limit: maxTraced}}
	if w.Pump, err = conn.Pump("trace", w.read); err != nil {
		return nil, err
	}
	return w, nil
}

// read records all queued messages.
func (w *traceWatch) read(fd int, _ bool) error {
	return readDatagrams(fd, "the trace", w.log.overrun, w.log.add)
}

// link returns the name of a link, or "" for index 0.
func (w *traceWatch) link(index int32) (name string) {
	_ = w.Control(func(fd int) error {
		w.Lock()
		defer w.Unlock()
		name = w.links.Name(fd, index)
		return nil
	})
	return name
}
