package netnsenv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/patience"
)

// Listing returns a Ruleset that puts the entries and expectations of a text into the conntrack table, as people have them from
// conntrack -L in any form or from /proc/net/nf_conntrack (see nf.ParseListing): an experiment starts from the state of another
// machine. It loads nothing if a line cannot be read, or there is nothing to load (see AllowEmpty), and ends at the first entry that the kernel rejects. What only the kernel
// sets, such as counters and IDs, is left out.
//
// Of several lines about one flow, such as the events of conntrack -E, the last one counts; if that is of its end, the flow is left
// out. What the text lacks is completed: a reply tuple by the inverse of the original one, a timeout by that which the namespace's
// sysctls give to the entry's state, and the entry that an expectation belongs to by a TCP connection or other flow of its master
// tuple. ctexp try, and the log of a test, say so.
func Listing(text string) Ruleset { return listing{text: text} }

type listing struct {
	text       string
	mayBeEmpty bool // see AllowEmpty
}

// Load implements Ruleset.
func (l listing) Load(ctx context.Context, e *Env) error {
	read, err := nf.ParseListing(l.text)
	if err != nil {
		return fmt.Errorf("listing: %w", err)
	}
	state, assumed, err := stateOf(read, func(sysctl string) (time.Duration, error) {
		value, err := e.Sysctl(sysctl)
		if err != nil {
			return 0, err
		}
		seconds, err := strconv.Atoi(value)
		return time.Duration(seconds) * time.Second, err
	})
	if err != nil {
		return fmt.Errorf("listing: %w", err)
	}
	if len(state)+len(read.Expectations) == 0 && !l.mayBeEmpty {
		return errors.New("listing: there is no entry and no expectation that has not ended; if none is meant, leave it out, or say so by AllowEmpty")
	}
	if err := e.Table().begin(ctx, state, read.Expectations); err != nil {
		return fmt.Errorf("listing: %w", err)
	}
	if len(assumed) > 0 {
		patience.Tell(ctx, "assumed, as the listing lacks it: "+strings.Join(assumed, ", "))
	}
	return nil
}

// stateOf returns the entries of a table of which a listing tells, each flow once and complete, and what was assumed for that. The
// function returns the timeout that is the value of a sysctl.
func stateOf(l nf.Listing, timeoutOf func(sysctl string) (time.Duration, error)) (state []nf.Entry, assumed []string, err error) {
	state, masters := lastOfEach(l)
	replies, timeouts := 0, 0
	for i := range state {
		en := &state[i]
		if !en.Reply.Src.IsValid() {
			en.Reply = en.Orig.Reverse()
			replies++
		}
		if en.Timeout > 0 {
			continue
		}
		sysctl, ok := timeoutSysctlOf(*en)
		if !ok {
			return nil, nil, fmt.Errorf("the entry %v has neither a timeout nor a state of which one follows", *en)
		}
		if en.Timeout, err = timeoutOf(sysctl); err != nil {
			return nil, nil, fmt.Errorf("timeout of the entry %v: %w", *en, err)
		}
		timeouts++
	}
	for _, lack := range []struct {
		n    int
		what string
	}{
		{masters, "entries of the masters of expectations (%d)"},
		{replies - masters, "reply tuples as the inverse of the original ones (%d)"},
		{timeouts - masters, "timeouts as those of the states (%d)"},
	} {
		if lack.n > 0 {
			assumed = append(assumed, fmt.Sprintf(lack.what, lack.n))
		}
	}
	return state, assumed, nil
}

// lastOfEach returns the last that a listing tells of each flow that has not ended, and the masters of its expectations, of which
// so many are not in the listing.
func lastOfEach(l nf.Listing) (state []nf.Entry, masters int) {
	type flow struct {
		orig nf.Tuple
		zone uint16
	}
	at := map[flow]int{}
	for _, en := range l.Entries {
		f := flow{en.Orig, en.ZoneOf(nf.Original)}
		if i, known := at[f]; known {
			state[i] = en
			continue
		}
		at[f] = len(state)
		state = append(state, en)
	}
	for _, x := range l.Expectations {
		f := flow{x.Master, x.Zone}
		i, known := at[f]
		if !known || state[i].Status.Has(nf.Dying) {
			if !known {
				i = len(state)
				at[f], state = i, append(state, nf.Entry{})
			}
			state[i] = master(x)
			masters++
		}
		if state[i].Helper == "" {
			state[i].Helper = x.Helper
		}
	}
	return slices.DeleteFunc(state, func(en nf.Entry) bool { return en.Status.Has(nf.Dying) }), masters
}

// master returns an entry that an expectation may belong to: that of a flow that has been answered.
func master(x nf.Expectation) nf.Entry {
	en := nf.Entry{Orig: x.Master, Zone: x.Zone, Status: nf.Confirmed | nf.SeenReply | nf.Assured}
	if en.Orig.Proto == nf.TCP {
		en.State = nf.Established
	}
	return en
}

// timeoutSysctlOf returns the sysctl with the timeout of an entry's state.
func timeoutSysctlOf(en nf.Entry) (name string, ok bool) {
	proto := en.Orig.Proto
	states := TimeoutStates(proto)
	state := strings.ToLower(en.OtherState)
	switch {
	case states == nil:
		return TimeoutSysctl(0, "timeout"), true
	case proto == nf.TCP && en.State == nf.SynSent2: // which has no sysctl of its own
		state = "syn_sent"
	case proto == nf.TCP:
		state = strings.ToLower(en.State.String())
	case slices.Contains(states, "timeout"):
		state = "timeout"
	case slices.Contains(states, "unreplied") && en.Status.Has(nf.SeenReply):
		state = "replied"
	case slices.Contains(states, "unreplied"):
		state = "unreplied"
	}
	if !slices.Contains(states, state) {
		return "", false
	}
	return TimeoutSysctl(proto, state), true
}
