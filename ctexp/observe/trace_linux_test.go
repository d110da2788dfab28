package observe_test

import (
	"fmt"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

func (l lab) steps() []observe.Step {
	l.Helper()
	var steps []observe.Step
	for s, err := range l.o.Trace(l.Context()) {
		if err != nil {
			need(l, err)
		}
		steps = append(steps, s)
	}
	return steps
}

func TestTryTrace(t *testing.T) {
	x := open(t, netnsenv.Config{Trace: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(`table ip u {
	chain pre { type filter hook prerouting priority -300; tcp dport 80 counter; }
	chain web { ct state new counter; jump empty; tcp dport 80 drop; }
	chain empty { tcp dport 9 drop; }
	chain in { type filter hook input priority 0; tcp dport 80 jump web; tcp dport 81 reject; tcp dport 82 return; }
	chain out { type filter hook output priority 0; policy accept; counter;  }
}`)}})
	f := web
	for _, p := range []string{"192.0.2.1:80", "192.0.2.1:81", "192.0.2.1:82"} {
		f.Dst = addrPort(p)
		x.send(inject.SYN(f))
	}
	steps := x.steps()
	for _, s := range steps {
		fmt.Println(s, s.State, s.Status)
	}
	of, rest := observe.StepsOf(x.captured(), steps)
	for i, f := range x.captured() {
		fmt.Println(f, len(of[i]))
	}
	fmt.Println(rest)
}
