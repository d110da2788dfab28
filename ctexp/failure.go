package ctexp

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// failures is what has gone wrong in a test, as far as the Experiment was told.
type failures struct {
	mu    sync.Mutex
	texts []string
}

func (f *failures) add(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.texts = append(f.texts, strings.TrimRight(text, "\n"))
}

func (f *failures) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.texts, "\n\n")
}

// Errorf is the test's Errorf, whose words the report keeps: report.html and result.json then begin with the difference,
// as the log does. Lines that begin with - and + are shown as what was wanted and what there was.
//
//	if diff := x.Tally().Diff(want); diff != "" {
//		x.Errorf("10 SYNs into a table with room for 7 (-want +got):\n%s", diff)
//	}
//
// The test's own Errorf does as well; of that only the log knows. It may be called from any goroutine of the test. In a
// subtest it is the parent that it fails: there use t.Errorf, or an Experiment of the subtest's own.
func (x *Experiment) Errorf(format string, args ...any) {
	x.t.Helper()
	x.failures.add(fmt.Sprintf(format, args...))
	x.t.Errorf(format, args...)
}

// Fatalf is Errorf that ends the test. Like t.Fatalf it is for the test's own goroutine, and so for no subtest.
func (x *Experiment) Fatalf(format string, args ...any) {
	x.t.Helper()
	x.failures.add(fmt.Sprintf(format, args...))
	x.t.Fatalf(format, args...)
}

// explaining returns the context in which a failure is explained: of a test with a deadline it has half of what is left,
// which operations have kept free for it.
func explaining(t TB) (context.Context, context.CancelFunc) {
	room := longest
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if at, ok := d.Deadline(); ok {
			room = min(room, time.Until(at)/2)
		}
	}
	return context.WithTimeout(context.Background(), room)
}
