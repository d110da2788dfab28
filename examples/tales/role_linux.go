package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

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
		ask = edgesOfTheLimit
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
