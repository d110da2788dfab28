package guides

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// queued is the gateway, whose rules ask a daemon about names, and remember what it says in the mark.
func queued(flags string) netnsenv.Config {
	cfg := gateway
	cfg.Rules = append(cfg.Rules[:1:1], netnsenv.IPTables(netnsenv.IPTablesNFT,
		"-A FORWARD -p udp --dport 53 -m mark --mark 1 -j ACCEPT",
		"-A FORWARD -p udp --dport 53 -j NFQUEUE --queue-num 5"+flags,
	))
	return cfg
}

// The test is the daemon: it sees what the rules send to it, and decides about each packet.
func TestRulesAskTheDaemon(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, queued(""))
	queue := x.Queue(5)

	x.InjectOn("lan", packet.Packets(
		packet.MustParse(`udp 10.0.0.2:4000 > 198.51.100.7:53 payload "good.example"`),
		packet.MustParse(`udp 10.0.0.2:4001 > 198.51.100.7:53 payload "evil.example"`),
		packet.MustParse(`udp 10.0.0.2:4002 > 198.51.100.7:123`), // not asked about
	))

	held := queue.Held()
	if len(held) != 2 {
		x.Fatalf("the daemon was asked about %v", held)
	}
	held[0].Mark = 1
	queue.Repeat(held[0]) // NF_REPEAT: the rules are met again, with the mark
	queue.Drop(held[1])
	var left []uint16
	for _, p := range x.Received() {
		left = append(left, p.Tuple().Src.Port())
	}
	if diff := ctexp.Diff([]uint16{4002, 4000}, left); diff != "" {
		x.Errorf("ports of what left (-want +got):\n%s", diff)
	}
}

// Without a daemon packets are lost, unless the rule lets them bypass it.
func TestDaemonIsAway(t *testing.T) {
	t.Parallel()
	for flags, want := range map[string]ctexp.Verdict{"": ctexp.VerdictDrop, " --queue-bypass": ctexp.VerdictAccept} {
		cfg := queued(flags)
		cfg.Silent, cfg.Trace = true, true
		x := ctexp.New(t, cfg)

		outcomes, err := x.Lab.Try(t.Context(), ctexp.Trial{Packet: packet.MustParse("udp 10.0.0.2:4000 > 198.51.100.7:53")})

		ctexp.Require(t, "try", err)
		if got := outcomes[0].Verdict(); got != want {
			x.Errorf("queue%s: got %v, want %v: %v", flags, got, want, outcomes[0])
		}
	}
}

// The same with the library's own hold: packets wait in a hook without any rule of yours, and go on in any order.
func TestOrderOfAnswers(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, gateway)
	queue := x.Hold(nf.Probe{Hook: nf.Forward, Match: nf.Match{In: "lan", Proto: nf.UDP}})

	x.InjectOn("lan", packet.Packets(packet.MustParse("udp 10.0.0.2:1 > 198.51.100.7:53"), packet.MustParse("udp 10.0.0.2:2 > 198.51.100.7:53")))

	held := queue.Held()
	queue.Release(held[1], held[0])
	if got := x.Received(); len(got) != 2 || got[0].Tuple().Src.Port() != 2 {
		x.Errorf("what left: %v", got)
	}
}

// The daemon runs inside, says when it is ready, and ends with the Env. Here a shell stands for it.
func TestDaemonRunsInside(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, gateway)
	daemon := x.Env.Command(t.Context(), "sh", "-c", "echo ready; exec cat")
	stdin, err := daemon.StdinPipe() // cat goes on until it is closed
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.AwaitLine(t.Context(), "ready"); err != nil {
		t.Fatal(err)
	}

	x.InjectOn("lan", packet.Packets(packet.MustParse("udp 10.0.0.2:1 > 198.51.100.7:53")))

	x.Expect(packet.Match{Out: "wan", Proto: nf.UDP}) // waits for a verdict, and ends at once if the daemon has failed
}
