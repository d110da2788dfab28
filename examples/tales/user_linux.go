package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// askUnprivileged takes the word of the child that is an ordinary user, or is asked by one.
func askUnprivileged(b *bench) fields {
	if r, ok := b.hear(roleOrdinary); ok {
		b.must(r.err())
		return r.Got
	}
	return asOrdinaryUser(b)
}

// asOrdinaryUser is asked by an ordinary user who has entered a user namespace.
func asOrdinaryUser(b *bench) fields {
	outer, err := outerUID()
	b.must(err)
	if outer == 0 {
		b.must(b.before.lack(roleOrdinary, "an ordinary user", "started by root it proves nothing: run it as another user"))
	}
	before, err := hostLimit()
	b.must(err)
	cfg := plain()
	cfg.Silent = true
	l := b.open(cfg)
	writable := l.limitWritable()
	l.inject(packet.SYNs(b.packets, web))
	after, err := hostLimit()
	b.must(err)
	return fields{
		{"uid_outside", outer}, {"uid_inside", os.Getuid()}, {"entries", l.tally().Entries},
		{"host_limit_unchanged", !writable && after == before},
	}
}

// hostLimit is the limit, which is the host's and can be read in every namespace.
func hostLimit() (int, error) {
	v, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_max")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, &nf.UnsupportedError{Need: "nf_conntrack", Hint: "load the module: modprobe nf_conntrack", Err: err}
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(v)))
}

// playRole does what a child is for, and reports to stdout. ok is false if this process is no child.
func playRole(ctx context.Context, opts options, stdout io.Writer) (status int, ok bool) {
	var ask func(*bench) fields
	entry := netnsenv.Entry{RealRoot: true}
	switch os.Getenv(roleVariable) {
	case "":
		return 0, false
	case roleOrdinary:
		ask, entry = asOrdinaryUser, netnsenv.Entry{}
	case roleXDP:
		ask = dropByXDP
	case roleLimits:
		ask, entry.HostNetwork = edgesOfTheLimit, true // the limit can be written there alone
	default:
		return statusFailed, true
	}
	netnsenv.EnterWith(entry)
	a := &asker{opts: opts, before: &outside{}}
	got := a.try(ctx, ask, answer{})
	if err := json.NewEncoder(stdout).Encode(got.report()); err != nil {
		fmt.Fprintln(os.Stderr, "tales:", err)
		return statusFailed, true
	}
	return statusFine, true
}

func (a answer) report() report {
	r := report{Got: a.got}
	var lack *nf.UnsupportedError
	switch {
	case errors.As(a.lack, &lack):
		r.Need, r.Hint = lack.Need, lack.Hint
		if lack.Err != nil {
			r.Error = lack.Err.Error()
		}
	case a.lack != nil:
		r.Need = a.lack.Error()
	case a.err != nil:
		r.Error = a.err.Error()
	}
	return r
}
