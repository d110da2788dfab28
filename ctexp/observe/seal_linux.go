package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/links"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// seal knows what must stay as it was for the answers of an Observer to be whole: switches of the kernel, and counters,
// which must not go back. What it once found broken stays broken. It is looked at by each question, and around each
// change of the namespace that the Namespace reports (see Watched). docs/trust.md says which answer depends on what, and
// what cannot be seen.
type seal struct {
	mu       sync.Mutex
	switches map[string]*kernelSwitch // by the file below net/netfilter
	counters map[string]uint64        // the highest value of each counter
	reset    error                    // a counter went back
	limit    error                    // nf_conntrack_max was changed
	filler   error                    // an entry of the experiment was in the filler's zone
	links    map[string]bool          // that exist or existed
	inet6    *os.File                 // the addresses of IPv6; nil: the kernel has no IPv6
	ipv6     bool                     // there is or was one
	masked   struct {                 // whether rules keep entries from having events
		looked     bool
		generation uint32 // of the ruleset, when it was looked for last
		by         error  // a rule does, or did
	}
}

// kernelSwitch is a file of /proc/sys on which answers depend.
type kernelSwitch struct {
	name   string // "net.netfilter.nf_conntrack_events"
	file   *os.File
	was    string
	broken error
	only1  bool // it matters only if the value was 1: what is recorded since it was switched on is whole
}

// The switches by the answers that depend on them.
var (
	eventSwitches  = []string{"nf_conntrack_events"}
	entrySwitches  = []string{"nf_conntrack_acct", "nf_conntrack_timestamp"} // counters and times of entries
	reasonSwitches = []string{"nf_conntrack_log_invalid", "nf_log/2", "nf_log/10"}
)

// open must be called on a thread in the namespace.
func (s *seal) open() error {
	for _, names := range [][]string{eventSwitches, entrySwitches, reasonSwitches} {
		for _, name := range names {
			f, err := os.Open("/proc/sys/net/netfilter/" + name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // not in this kernel's configuration
			}
			if err != nil {
				return err
			}
			w := &kernelSwitch{name: "net.netfilter." + strings.ReplaceAll(name, "/", "."), file: f, only1: !slices.Contains(reasonSwitches, name)}
			if s.switches == nil {
				s.switches = map[string]*kernelSwitch{}
			}
			s.switches[name] = w
			if w.was, err = w.read(); err != nil {
				return err
			}
		}
	}
	var err error
	if s.inet6, err = os.Open("/proc/thread-self/net/if_inet6"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *seal) close() {
	if s.inet6 != nil {
		_ = s.inet6.Close()
	}
	for _, w := range s.switches {
		_ = w.file.Close()
	}
}

func (w *kernelSwitch) read() (string, error) {
	var b [64]byte
	n, err := w.file.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	return strings.TrimSpace(string(b[:n])), nil
}

// look reads the switch.
func (w *kernelSwitch) look() {
	if w.broken != nil || w.only1 && w.was == "0" {
		return
	}
	if now, err := w.read(); err != nil {
		w.broken = err
	} else if now != w.was {
		w.broken = fmt.Errorf("%w: %s was %s when the Observer was opened, and then %s", ErrSwitched, w.name, w.was, now)
	}
}

// intact returns an error if one of the switches is not, or was not, as it was when the Observer was opened.
func (s *seal) intact(names []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if w := s.switches[name]; w != nil {
			if w.look(); w.broken != nil {
				return w.broken
			}
		}
	}
	return nil
}

// count checks that no counter is lower than before. The counters of several tables are told apart by of.
func (s *seal) count(of string, counters []ruleset.Counter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counters == nil {
		s.counters = make(map[string]uint64, 2*len(counters))
	}
	for _, c := range counters {
		s.atLeast(of+c.Name, c.Packets)
	}
	return s.reset
}

// atLeast notes the value of a counter.
func (s *seal) atLeast(counter string, n uint64) {
	if before := s.counters[counter]; n < before && s.reset == nil {
		s.reset = fmt.Errorf("%w: %s went back from %d to %d", ErrCountersReset, counter, before, n)
	}
	s.counters[counter] = max(n, s.counters[counter])
}

// breaks notes that an entry of the experiment was in the filler's zone.
func (s *seal) breaks(filler error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.filler == nil {
		s.filler = filler
	}
}

// spared returns an error if an entry of the experiment was in the filler's zone.
func (s *seal) spared() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.filler
}

// look notes what has changed in the namespace.
func (o *Observer) look() {
	release, err := o.use(context.Background())
	if err != nil {
		return
	}
	defer release()
	for _, names := range [][]string{eventSwitches, entrySwitches, reasonSwitches} {
		_ = o.seal.intact(names) // the question that depends on it reports the error, like the following ones
	}
	_ = o.checkLimit()
	_ = o.checkEventMask()
	_, _ = o.readPackets()
	_, _ = o.readOnLinks()
	_ = o.checkLinks()
}

// checkLimit returns ErrLimitChanged if the limit is not, or was not, that of the Config.
func (o *Observer) checkLimit() error {
	if o.cfg.Limit == 0 {
		return nil
	}
	limit, err := o.limit.read()
	if err != nil {
		return err
	}
	o.seal.mu.Lock()
	defer o.seal.mu.Unlock()
	if limit != o.cfg.Limit && o.seal.limit == nil {
		o.seal.limit = fmt.Errorf("%w: it was %d and then %d", ErrLimitChanged, o.cfg.Limit, limit)
	}
	return o.seal.limit
}

// checkEventMask returns ErrSwitched if a rule says, or said, which events entries have, unless that is meant: what did not happen is
// not seen then, such as that an entry was never there.
func (o *Observer) checkEventMask() error {
	if o.VacuousAllowed() || o.cfg.NoEvents {
		return nil
	}
	m := &o.seal.masked
	o.seal.mu.Lock()
	defer o.seal.mu.Unlock()
	if m.by != nil {
		return m.by
	}
	generation, err := ruleset.Generation(o.table)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.EINVAL) { // no nftables
		return nil
	}
	if err != nil || m.looked && generation == m.generation {
		return err
	}
	rule, ok, err := ruleset.EventsMasked(o.table)
	if err != nil {
		return err
	}
	m.looked, m.generation = true, generation
	if ok {
		m.by = fmt.Errorf("%w: a rule keeps entries from having events: %v; if that is meant, call AllowVacuous", ErrSwitched, rule)
	}
	return m.by
}

// whole checks the limit and the switches on which an answer depends.
func (o *Observer) whole(switches ...[]string) error {
	if err := o.checkLimit(); err != nil {
		return err
	}
	for _, names := range switches {
		if err := o.seal.intact(names); err != nil {
			return err
		}
	}
	return nil
}

// checkLinks returns ErrNoLink if a probe of the Config matches packets of a link that does not exist and did not exist
// when the namespace was looked at: it can count nothing.
func (o *Observer) checkLinks() error {
	var none error
	for _, p := range o.cfg.Probes {
		for _, name := range []string{p.Match.In, p.Match.Out} {
			if name != "" && !o.hasLink(name) && none == nil {
				none = fmt.Errorf("%w: the probe %s is about %q", ErrNoLink, probeName(p), name)
			}
		}
		if isOfIPv6(p) && !o.hasIPv6() && none == nil {
			none = fmt.Errorf("%w: the probe %s is about IPv6, of which no link has an address", ErrNoLink, probeName(p))
		}
	}
	return none
}

// isOfIPv6 reports whether a probe counts nothing but packets of IPv6.
func isOfIPv6(p nf.Probe) bool {
	for _, a := range []netip.Prefix{p.Match.Src, p.Match.Dst} {
		if a.IsValid() {
			return nf.FamilyOf(a.Addr()) == nf.IPv6
		}
	}
	return p.Family == nf.IPv6
}

// hasIPv6 reports whether the namespace has, or had when it was looked at, an address of IPv6.
func (o *Observer) hasIPv6() bool {
	s := &o.seal
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ipv6 && s.inet6 != nil {
		n, err := s.inet6.ReadAt(make([]byte, 1), 0)
		s.ipv6 = n > 0 || err != io.EOF // what cannot be read is not known to be missing
	}
	return s.ipv6
}

// hasLink reports whether the namespace has, or had when it was looked at, a link of this name.
func (o *Observer) hasLink(name string) bool {
	o.seal.mu.Lock()
	defer o.seal.mu.Unlock()
	if o.seal.links[name] {
		return true
	}
	err := o.events.Control(func(fd int) error { // any socket of the namespace does
		_, err := links.Index(fd, name)
		return err
	})
	if err != nil {
		return false
	}
	if o.seal.links == nil {
		o.seal.links = map[string]bool{}
	}
	o.seal.links[name] = true
	return true
}
