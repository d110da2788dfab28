//go:build linux

package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// execute runs a program in an Env.
func execute(b *bench, e *netnsenv.Env, stdout io.Writer, name string, args ...string) {
	cmd := e.Command(b.ctx, name, args...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = stdout, &said
	if err := cmd.Run(); err != nil {
		b.must(fmt.Errorf("%s %q: %w: %s", name, args, err, said.String()))
	}
}

// writeScapy builds packets and writes each to a tun of its own. It prints how long that took, without the start of Python.
//
//go:embed writetun.py
var writeScapy string

func againstScapy(b *bench, raw bool) contender {
	const n = 1000
	needScapy(b)
	e := openEnv(b, raw)
	return contender{
		ours: flooding(b, e),
		theirs: func() amount {
			var out strings.Builder
			execute(b, e, &out, "python3", "-c", writeScapy, "scapy", fmt.Sprint(n), "0")
			seconds := 0.0
			if _, err := fmt.Sscan(out.String(), &seconds); err != nil {
				b.must(fmt.Errorf("scapy said %q: %w", out.String(), err))
			}
			return amount{n, time.Duration(seconds * float64(time.Second))}
		},
		before: emptied(b, e),
	}
}

// needScapy asks for scapy, and for the tun to which its scripts write.
func needScapy(b *bench) {
	needTun(b)
	if said, err := exec.CommandContext(b.ctx, "python3", "-c", "import scapy").CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(said)), "\n")
		err = fmt.Errorf("python3: %w: %s", err, lines[len(lines)-1])
		b.must(&nf.UnsupportedError{Need: "scapy", Hint: "apt-get install python3-scapy", Err: err})
	}
}

// needTun asks for what only peers open: where it is missing, the Env's links are veth.
func needTun(b *bench) {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		b.must(&nf.UnsupportedError{Need: "/dev/net/tun", Hint: "sudo chmod 0666 /dev/net/tun", Err: err})
	}
	b.must(f.Close())
}

// needGroups asks for what tcpdump does when it gives up the privileges of root.
func needGroups(b *bench) {
	if allowed, err := os.ReadFile("/proc/self/setgroups"); err == nil && strings.TrimSpace(string(allowed)) == "deny" {
		b.must(&nf.UnsupportedError{Need: "setgroups, which tcpdump calls", Hint: "run it as root", Err: errors.New("the user namespace denies it")})
	}
}

// againstHping lets hping3 send for a while from a raw socket of the host, and counts the flows.
func againstHping(b *bench) contender {
	const while = 300 * time.Millisecond
	e := openEnv(b, false)
	return contender{
		ours: flooding(b, e),
		theirs: func() amount {
			ctx, cancel := context.WithTimeout(b.ctx, while)
			defer cancel()
			began := time.Now()
			cmd := e.Command(ctx, "hping3", "-q", "-n", "--flood", "-S", "-p", "80", "-s", "1024", web.Dst.Addr().String())
			cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
			_ = cmd.Run() // it is killed
			took := time.Since(began)
			n, err := e.Table().Count()
			b.must(err)
			return amount{float64(n), took}
		},
		before: emptied(b, e),
	}
}

// againstTcpreplay replays a recording on the far end of a veth.
func againstTcpreplay(b *bench) contender {
	e, far := openEnv(b, false), openEnv(b, false, netnsenv.LinkConfig{Kind: netnsenv.Veth})
	link := far.Links()[0]
	to, from := link.HardwareAddr(), link.PeerHardwareAddr()
	ethernet := append(append(to[:], from[:]...), 8, 0)
	var frames []packet.Record
	for p := range packet.SYNs(packets, web) {
		r := p.On(link.Name(), packet.In)
		r.Ethernet, r.EtherType, r.Time, r.Length = ethernet, 0x0800, time.Unix(int64(len(frames)), 0), len(p)
		frames = append(frames, r)
	}
	file := filepath.Join(tempDir(b), "syns.pcapng")
	f, err := os.Create(file)
	b.must(err)
	b.must(observe.WritePcapng(f, frames, nil))
	b.must(f.Close())
	ours := flooding(b, e)
	return contender{
		ours: ours,
		theirs: func() amount {
			execute(b, far, nil, "tcpreplay", "-q", "--topspeed", "-i", farEnd(b, far), file)
			n, err := far.Table().Count()
			b.must(err)
			return done(n)
		},
		before: func() {
			emptied(b, e)()
			emptied(b, far)()
		},
	}
}

// farEnd returns the interface from which the packets of an Env's only link are injected.
func farEnd(b *bench, e *netnsenv.Env) (name string) {
	b.must(e.Do(func() error {
		all, err := net.Interfaces()
		for _, i := range all {
			if strings.HasPrefix(i.Name, ours.FarPrefix) {
				name = i.Name
			}
		}
		return err
	}))
	return name
}

// script is the article's experiment as it was published (github.com/cloudflare/cloudflare-blog, 2020-04-conntrack-syn): a tun, rules
// that count, a capture for which it waits, ten SYNs one after the other, the table and the counters.
//
//go:embed script.sh
var script string

func againstScript(b *bench) contender {
	needScapy(b)
	needGroups(b)
	return contender{
		ours: func() amount { return experiment(b) },
		theirs: func() amount {
			cmd := exec.CommandContext(b.ctx, "unshare", "-n", "bash", "-c", script, "bash", writeScapy)
			out, err := cmd.CombinedOutput()
			if err != nil || strings.Count(string(out), "SYN_SENT") != 10 {
				b.must(fmt.Errorf("the script: %v:\n%s", err, out))
			}
			return done(1)
		},
	}
}
