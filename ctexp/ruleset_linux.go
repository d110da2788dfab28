package ctexp

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/report"
	"github.com/ctexp/go-ctexp/internal/xtables"
)

// rulesetTexts lists the rules by the programs that speak their languages: nft, and the iptables-save of those that made
// some. A program that is not there is done without; the report then has the rules in words of its own.
func (l *Lab) rulesetTexts(ctx context.Context, rules []observe.Rule) (texts []rulesetText, errs []error) {
	seen := map[string]bool{}
	for _, r := range rules {
		if r.Backend == "nft" {
			r.Family = "" // one listing has them all
		}
		if key := r.Backend + " " + r.Family; seen[key] {
			continue
		} else {
			seen[key] = true
		}
		t, err := l.rulesetText(ctx, r.Backend, r.Family)
		switch {
		case err == nil:
			texts = append(texts, t)
		case !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, exec.ErrNotFound):
			errs = append(errs, err)
		}
	}
	return texts, errs
}

func (l *Lab) rulesetText(ctx context.Context, backend, family string) (rulesetText, error) {
	if backend == "nft" {
		nft, err := xtables.LookPath("nft")
		if err != nil {
			return rulesetText{}, err
		}
		text, err := l.list(ctx, nft, "-a", "list", "ruleset")
		return rulesetText{report.NameNFT, withoutOurs(text)}, err
	}
	of := nf.IPv4
	if family == "ip6" {
		of = nf.IPv6
	}
	save, err := xtables.Path(xtables.Variant(backend), of, "-save")
	if err != nil {
		return rulesetText{}, err
	}
	text, err := l.list(ctx, save, "-c")
	return rulesetText{report.NameIPTables, text}, err
}

// list runs a program in the namespace.
func (l *Lab) list(ctx context.Context, name string, args ...string) (string, error) {
	out, err := l.Env.Command(ctx, name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("list the rules by %s: %w", name, err)
	}
	return string(out), nil
}
