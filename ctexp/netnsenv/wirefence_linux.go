package netnsenv

import (
	"context"
	"fmt"
	"time"
)

// mostHops bounds how often the fence follows packets over wires while others keep on sending. A packet crosses no more
// than 255, nor does the answer to it.
const mostHops = 512

// settleWires returns when what is under way on the wires, and what it brings about, has come to its end in all the Envs
// that are joined to this one.
//
// A packet on a wire is counted by the end that sends it, once it is in the other's queue, and there at ingress, when its
// host begins with it. In one round, the fence reads what was sent, waits until as much has arrived, and visits every CPU, so
// that all hosts are done with all of it; what they sent meanwhile is counted, too, by then. When a round begins and ends
// with the same counts there is no packet left.
func (e *Env) settleWires(ctx context.Context) error {
	for range mostHops {
		wires := e.joined()
		if len(wires) == 0 {
			return nil
		}
		before, err := sentOn(wires)
		if err != nil {
			return err
		}
		for _, w := range wires {
			if err := w.arrive(ctx, before[w]); err != nil {
				return err
			}
		}
		if err := visitCPUs(); err != nil {
			return err
		}
		after, err := sentOn(wires)
		if err != nil {
			return err
		}
		still := true
		for _, w := range wires {
			still = still && before[w] == after[w]
		}
		if still {
			return nil
		}
	}
	return nil // what was there at the beginning is long done
}

// joined returns the wires that can be reached from the Env.
func (e *Env) joined() []*wire {
	var wires []*wire
	seen := map[*wire]bool{}
	visited := map[*Env]bool{}
	for todo := []*Env{e}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if visited[at] {
			continue
		}
		visited[at] = true
		at.mu.Lock()
		for _, w := range at.wires {
			if !seen[w] {
				seen[w] = true
				wires = append(wires, w)
				todo = append(todo, w.ends[0].env, w.ends[1].env)
			}
		}
		at.mu.Unlock()
	}
	return wires
}

// sentOn returns what each wire's ends have sent. A wire that is cut has sent nothing.
func sentOn(wires []*wire) (map[*wire][2]uint64, error) {
	sent := map[*wire][2]uint64{}
	for _, w := range wires {
		var n [2]uint64
		for i, end := range w.ends {
			is, err := end.env.route.Link.Get(end.index)
			if w.cut.Load() {
				n = [2]uint64{}
				break
			}
			if err != nil {
				return nil, fmt.Errorf("link %q: read what it has sent: %w", end.cfg.Name, err)
			}
			if is.Attributes.Stats64 != nil {
				n[i] = is.Attributes.Stats64.TXPackets
			}
		}
		sent[w] = n
	}
	return sent, nil
}

// arrive waits until as much has arrived at each end as the other had sent.
func (w *wire) arrive(ctx context.Context, sent [2]uint64) error {
	w.arriving.Lock()
	defer w.arriving.Unlock()
	for i := range w.ends {
		from, to := &w.ends[i], &w.ends[1-i]
		want := sent[i] - min(sent[i], w.lost[i])
		got, err := to.ingress()
		if err == nil && got < want {
			f := fence{count: to.ingress}
			got, err = f.wait(ctx, got, want)
		}
		if w.cut.Load() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wire from %q to %q: %w", from.cfg.Name, to.cfg.Name, err)
		}
		if got < want {
			w.lost[i] += want - got
			return fmt.Errorf("wire from %q to %q: %d of %d packets did not arrive in %v", from.cfg.Name, to.cfg.Name, want-got, want, patience.Truncate(time.Second))
		}
	}
	return nil
}
