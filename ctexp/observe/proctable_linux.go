package observe

import (
	"bytes"
	"io"
	"os"
	"sync"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// procTable is /proc/net/nf_conntrack. It says which entries there are, in text and without much of what netlink tells. To read
// it takes 0.2 ms for a few entries, where a dump takes 10: the dump locks each bucket of the hash of all namespaces
// (net/netfilter/nf_conntrack_netlink.c, ctnetlink_dump_table; nf_conntrack_standalone.c, ct_seq_start).
//
// A read returns a page at most. Older kernels begin the next one at the entry whose number, among those of all namespaces, is
// that of the last one (ct_get_idx): if others come or go meanwhile, entries are left out or twice.
type procTable struct {
	mu   sync.Mutex
	file *os.File     // nil where the kernel has none (CONFIG_NF_CONNTRACK_PROCFS)
	text bytes.Buffer // the last text
}

// open must be called on a thread in the namespace.
func (p *procTable) open() { p.file, _ = os.Open("/proc/thread-self/net/nf_conntrack") }

func (p *procTable) close() {
	if p.file != nil {
		_ = p.file.Close()
	}
}

// read returns the entries that procfs lists, each once, but no more than most. ok is false if they cannot be read or are more.
func (p *procTable) read(most int) (keys []liveKey, ok bool) {
	if p.file == nil {
		return nil, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	const (
		line = 512      // bytes, and more than any line has
		page = 64 << 10 // bytes, and as large as any page: so few entries are read at once
	)
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return nil, false
	}
	p.text.Reset()
	p.text.Grow(page)
	if _, err := p.text.ReadFrom(io.LimitReader(p.file, int64((most+1)*line))); err != nil || p.text.Len() > most*line {
		return nil, false
	}
	entries, err := nf.ParseEntries(p.text.String())
	seen := make(map[liveKey]bool, len(entries))
	for _, e := range entries {
		if k := (liveKey{e.Orig, e.ZoneOf(nf.Original)}); !seen[k] {
			seen[k] = true
			keys = append(keys, k)
		}
	}
	return keys, err == nil
}

// findByProc does the same as findByEvents with the entries that procfs lists, if their number shows that they are few.
func (o *Observer) findByProc(f nf.Filter) (l found, ok bool, err error) {
	n, err := o.entries.read()
	if err != nil || n > maxGets || o.cfg.Filler > 0 {
		return l, false, err
	}
	keys, ok := o.proc.read(maxGets)
	if !ok || n > len(keys) {
		return l, false, nil
	}
	return o.getAll(keys, f)
}
