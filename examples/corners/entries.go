//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ti-mo/conntrack"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

const netlinkSource = "nf_conntrack_netlink.c, "

var tableCorners = []corner{
	{
		ID: "dump-zone", Asks: "entries in a dump filtered by zone, of 1 in that zone and 2 elsewhere", Source: netlinkSource + "ctnetlink_alloc_filter (eff3c558bb7e)",
		ask: experiment(dumpBy(conntrack.NewFilter().Zone(5))).between(),
	},
	{
		ID: "dump-status", Asks: "entries in a dump filtered by status, of 1 with that status and 2 without", Source: netlinkSource + "ctnetlink_filter_match_status",
		ask: experiment(dumpBy(conntrack.NewFilter().Status(conntrack.StatusAssured))).between(),
	},
	{
		ID: "flush-zone", Asks: "entries that a flush filtered by zone leaves, of 1 in that zone and 2 elsewhere", Source: netlinkSource + "ctnetlink_flush_conntrack",
		ask: experiment(flushByZone).between(),
	},
	{
		ID: "unconfirmed", Asks: "entries in the dump of unconfirmed ones while 1 packet of a new flow is held", Source: netlinkSource + "ctnetlink_dump_unconfirmed",
		ask: experiment(unconfirmed).between(),
	},
	{
		ID: "destroy-state", Asks: "state in the event of the end of a connection", Source: netlinkSource + "ctnetlink_conntrack_event",
		ask: experiment(stateOfTheEnd).between(),
	},
}

// fillThree makes three entries, of which one is in zone 5 and one is assured.
func fillThree(ctx context.Context, lab *ctexp.Lab) error {
	entry := func(n int) nf.Entry {
		t := question.Nth(n).Tuple(nf.UDP)
		return nf.Entry{Orig: t, Reply: t.Reverse(), Timeout: time.Minute}
	}
	plain, zoned, assured := entry(0), entry(1), entry(2)
	zoned.Zone = 5
	assured.Status = nf.Confirmed | nf.SeenReply | nf.Assured
	_, err := lab.Env.Table().CreateAll(ctx, func(yield func(nf.Entry) bool) {
		_ = yield(plain) && yield(zoned) && yield(assured)
	})
	return err
}

// netlink does something with a socket of ctnetlink in the namespace.
func netlink(lab *ctexp.Lab, do func(*conntrack.Conn) error) error {
	return lab.Env.Do(func() (err error) {
		c, err := conntrack.Dial(nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		return do(c)
	})
}

func dumpBy(f conntrack.Filter) experiment {
	return func(ctx context.Context, lab *ctexp.Lab) (string, error) {
		if err := fillThree(ctx, lab); err != nil {
			return "", err
		}
		var flows []conntrack.Flow
		err := netlink(lab, func(c *conntrack.Conn) (err error) {
			flows, err = c.DumpFilter(f, nil)
			return err
		})
		return count(len(flows), err)
	}
}

func count(n int, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return fmt.Sprint(n), nil
}

func flushByZone(ctx context.Context, lab *ctexp.Lab) (string, error) {
	if err := fillThree(ctx, lab); err != nil {
		return "", err
	}
	err := netlink(lab, func(c *conntrack.Conn) error { return c.FlushFilter(conntrack.NewFilter().Zone(5)) })
	if err != nil {
		return "", err
	}
	return count(lab.Env.Table().Count())
}

func unconfirmed(ctx context.Context, lab *ctexp.Lab) (string, error) {
	if _, err := lab.Hold(ctx, nf.Probe{Hook: nf.Forward, Match: nf.Match{In: "client"}}); err != nil {
		return "", err
	}
	if _, err := lab.InjectOn(ctx, "client", packet.Packets(question.UDP([]byte("one")))); err != nil {
		return "", err
	}
	entries, err := collect(lab.Observer.Unconfirmed(ctx))
	return count(len(entries), err)
}

func stateOfTheEnd(ctx context.Context, lab *ctexp.Lab) (string, error) {
	if _, err := lab.Inject(ctx, packet.Packets(established()[:1]...)); err != nil {
		return "", err
	}
	if _, err := lab.Flush(ctx); err != nil {
		return "", err
	}
	events, err := collect(lab.Observer.Events(ctx))
	if err != nil {
		return "", err
	}
	if len(events) == 0 {
		return "", errors.New("no event")
	}
	if state := events[len(events)-1].Entry.State; state != 0 {
		return state.String(), nil
	}
	return "none", nil
}
