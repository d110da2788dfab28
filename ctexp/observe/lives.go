package observe

import "github.com/ctexp/go-ctexp/ctexp/nf"

// Lives returns the Life of each flow that the events tell of, by both of its tuples, in one pass over the events. What
// Life returns for a flow that they do not tell of, "LOST" for each gap and nothing else, is under the zero Tuple if there
// is a gap.
//
// Like Life it does not look at zones: flows of the same tuple in two zones have one life. Who has such flows hands it the
// events of one zone at a time.
func Lives(events []Event) map[nf.Tuple][]string {
	lives := map[nf.Tuple][]string{}
	var gaps []string
	live := func(t nf.Tuple, what string) {
		life, known := lives[t]
		if !known {
			life = append(life, gaps...) // those that were before it
		}
		lives[t] = append(life, what)
	}
	for _, e := range events {
		switch {
		case e.Kind == EventLost:
			gaps = append(gaps, e.Short())
			for t, life := range lives {
				lives[t] = append(life, e.Short())
			}
		case e.Kind.ofEntry():
			live(e.Entry.Orig, e.Short())
			if e.Entry.Reply != e.Entry.Orig {
				live(e.Entry.Reply, e.Short())
			}
		}
	}
	if gaps != nil {
		lives[nf.Tuple{}] = gaps
	}
	return lives
}
