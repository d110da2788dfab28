package netnsenv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/plain"
)

// maxOutput is the number of lines that an Env keeps of what its programs write, and maxOutputLine that of bytes of a line.
const (
	maxOutput     = 10_000
	maxOutputLine = 4096
)

// outputs is what the programs of an Env have written, and how those have ended that nobody waits for.
type outputs struct {
	mu      sync.Mutex
	lines   []outputLine  // the last ones
	failed  []*Cmd        // programs that failed, and whose Wait nobody has called
	changed chan struct{} // closed and replaced when a line is added or a program ends
}

type outputLine struct {
	time time.Time
	by   *Cmd
	text string
	end  bool // the text is how the program ended
}

// Output yields what the programs in the namespace have written, line by line, and how those ended that nobody waited for, in
// order of time: "nginx[812]: bind() to 0.0.0.0:80 failed". It has programs that were started by Start or Run, except what
// goes to an *os.File; Output and CombinedOutput return theirs. Of many lines the last 10,000 are kept.
func (e *Env) Output() iter.Seq2[time.Time, string] {
	return func(yield func(time.Time, string) bool) {
		e.outputs.mu.Lock()
		lines := slices.Clone(e.outputs.lines)
		e.outputs.mu.Unlock()
		for _, l := range lines {
			if !yield(l.time, fmt.Sprintf("%v: %s", l.by, l.text)) {
				return
			}
		}
	}
}

// Failed returns an error for a program that was started by Start and has ended otherwise than by status 0 or by being
// killed or interrupted, as long as nobody has called its Wait. The error has the status and the last lines of output, and
// unwraps to its *exec.ExitError. Without one it returns the error of a function of Go, if its context had not ended, as long as nobody
// has waited for it. What waits for such a program or function waits in vain, and what it did not do shows nothing.
func (e *Env) Failed() error {
	if err := e.outputs.programFailed(); err != nil {
		return err
	}
	e.mu.Lock()
	failed := slices.Clone(e.failedGo)
	e.mu.Unlock()
	for _, g := range failed {
		if err := g.failed(); err != nil {
			return err
		}
	}
	return nil
}

func (o *outputs) programFailed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.failed) == 0 {
		return nil
	}
	return o.ended(o.failed[0])
}

// ended returns the error for a program that has ended, with the lock held.
func (o *outputs) ended(c *Cmd) error {
	const last = 10
	var said []string
	for _, l := range o.lines {
		if l.by == c && !l.end {
			said = append(said, plain.Line(l.text))
		}
	}
	said = said[max(0, len(said)-last):]
	what := "it wrote nothing"
	if len(said) > 0 {
		what = "its last output:\n\t" + strings.Join(said, "\n\t")
	}
	if c.err == nil {
		return fmt.Errorf("%v has ended: exit status 0; %s", c, what)
	}
	return fmt.Errorf("%v has ended: %w; %s", c, c.err, what)
}

// add adds a line.
func (o *outputs) add(by *Cmd, text string, end bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, outputLine{time.Now(), by, text, end})
	if len(o.lines) >= 2*maxOutput {
		o.lines = append([]outputLine(nil), o.lines[len(o.lines)-maxOutput:]...)
	}
	o.wake()
}

// wake wakes what waits for a change, with the lock held.
func (o *outputs) wake() {
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
}

// change returns a channel that is closed at the next change, with the lock held.
func (o *outputs) change() <-chan struct{} {
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	return o.changed
}

// stream reads what a program writes to a pipe.
type stream struct {
	r    *os.File
	raw  syscall.RawConn
	tell func(line string) // nil: nobody is told
	to   io.Writer         // nil: none
	done chan struct{}     // closed at the end of the stream

	mu   sync.Mutex
	part []byte // of a line
	err  error  // of the writer
}

// newStream returns a stream and the end of its pipe for the program.
func newStream(to io.Writer, tell func(string)) (*stream, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	raw, err := r.SyscallConn()
	if err != nil {
		r.Close()
		w.Close()
		return nil, nil, err
	}
	return &stream{r: r, raw: raw, tell: tell, to: to, done: make(chan struct{})}, w, nil
}

// run reads until every process that may write has ended, or the stream is closed.
func (s *stream) run() {
	defer close(s.done)
	_ = s.raw.Read(s.pull) // the error of one that was closed
	s.flush()
	if c, ok := s.to.(*io.PipeWriter); ok {
		c.Close()
	}
	s.r.Close()
}

// drain reads what there is. After the end of a program that is all it wrote, also if others still may write.
func (s *stream) drain() {
	_ = s.raw.Control(func(fd uintptr) { s.pull(fd) })
	s.flush()
}

// pull reads what there is and reports whether that was all there will be.
func (s *stream) pull(fd uintptr) (end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.Read(int(fd), buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return false
		case err != nil || n == 0:
			return true
		default:
			s.take(buf[:n])
		}
	}
}

func (s *stream) take(data []byte) {
	if s.to != nil && s.err == nil {
		_, s.err = s.to.Write(data)
	}
	if s.tell == nil {
		return
	}
	s.part = append(s.part, data...)
	for {
		line, rest, found := bytes.Cut(s.part, []byte("\n"))
		if !found && len(line) <= maxOutputLine {
			return
		}
		if len(line) > maxOutputLine {
			line, rest = s.part[:maxOutputLine], s.part[maxOutputLine:]
		}
		s.tell(strings.TrimSuffix(string(line), "\r"))
		s.part = rest
	}
}

// flush tells what the last line has, if nothing has ended it.
func (s *stream) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.part) > 0 {
		s.tell(string(s.part))
		s.part = nil
	}
}
