package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func askKernelLog(b *bench) fields {
	l := b.full(b.free, script...)
	log := b.before.opened[logFile]
	if log != nil {
		b.must(readLog(log, nil)) // what is older is not ours
	}
	l.inject(packet.SYNs(b.packets, web))
	t := l.tally()
	got := append(fields{{"dropped", int(t.Dropped)}}, dice(t)...)
	if log == nil {
		b.lacks(b.before.lack(logFile, "/dev/kmsg", "run it as root of the host, or with kernel.dmesg_restrict=0"))
		return got
	}

	inode, err := l.inode()
	b.must(err)
	line, suppressed := "", false
	b.must(readLog(log, func(text string) {
		switch {
		case strings.Contains(text, "callbacks suppressed"):
			suppressed = true
		case strings.Contains(text, "table full") && isAbout(text, inode):
			line = text
		}
	}))
	if line == "" {
		hint := "the kernel says it ten times in five seconds at most, for the whole host: ask again when it is quiet"
		if suppressed {
			hint = "it was suppressed: " + hint
		}
		b.lacks(&nf.UnsupportedError{Need: "the kernel's word", Hint: hint})
		return got
	}
	b.note("%s", line)
	return append(fields{{"logged", true}}, got...)
}

// isAbout reports whether a line of the log may mean the namespace: since 6.17 it names another one than the first by
// its inode (aa5840167780).
func isAbout(text string, inode uint64) bool {
	_, named, ok := strings.Cut(text, "in netns ")
	return !ok || strings.HasPrefix(named, fmt.Sprintf("%d,", inode))
}

// inode is the number of the lab's network namespace.
func (l *lab) inode() (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(l.Env.FD(), &st)
	return st.Ino, err
}

// readLog reads what there is of the kernel's log, one record at a time, and calls each with its text.
func readLog(f *os.File, each func(text string)) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	record := make([]byte, 8<<10)
	cerr := raw.Control(func(fd uintptr) {
		if err = unix.SetNonblock(int(fd), true); err != nil {
			return
		}
		if each == nil {
			_, err = unix.Seek(int(fd), 0, unix.SEEK_END)
			return
		}
		for {
			var n int
			n, err = unix.Read(int(fd), record)
			switch {
			case err == syscall.EPIPE: // older records were overwritten meanwhile
				continue
			case err == syscall.EAGAIN:
				err = nil
				return
			case err != nil || n == 0:
				return
			}
			// 4,1234,5678901,-;the text, then lines of key=value
			_, text, _ := strings.Cut(string(record[:n]), ";")
			text, _, _ = strings.Cut(text, "\n")
			each(text)
		}
	})
	return errors.Join(cerr, err)
}

// edgesOfTheLimit is asked by the root of a virtual machine: it writes the limit, which is the whole machine's, and
// puts it back.
func edgesOfTheLimit(b *bench) fields {
	const limit = "/proc/sys/net/netfilter/nf_conntrack_max"
	set := func(n int) error { return os.WriteFile(limit, []byte(strconv.Itoa(n)), 0) }
	before, err := hostLimit()
	b.must(err)
	b.atEnd(func() error { return set(before) })

	cfg := plain()
	cfg.Silent = true
	l := b.open(cfg)
	bounded := b.open(cfg)
	zero := set(0)
	l.inject(packet.SYNs(b.packets, web))
	got := fields{{"zero_means_none", zero == nil && l.tally().Entries == b.packets}}
	if zero != nil {
		got = append(got, field{"zero_refused", true}) // since 6.19 (2b749f257645)
	}

	b.must(set(before))
	l = bounded
	l.fill(2 * b.packets) // assured: a flow of which only the SYN is known might be evicted by chance
	b.must(set(b.packets))
	l.inject(packet.SYNs(b.packets, web))
	t := l.tally()
	return append(got, field{"dropped_below_count", int(t.Dropped)}, field{"evicted", int(t.Evicted + t.Collected)},
		field{"entries_below_count", t.Entries})
}
