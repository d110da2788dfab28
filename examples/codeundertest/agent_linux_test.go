package codeundertest

import (
	"context"
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func TestMain(m *testing.M) {
	ctexp.MainWith(m, netnsenv.Entry{Programs: map[string]func(){"agent": Main}})
}

// router is a host between clients behind tun0 and servers behind tun1.
func router(t *testing.T) *ctexp.Experiment {
	t.Helper()
	return ctexp.New(t, netnsenv.Config{
		Links: []netnsenv.LinkConfig{
			{Name: "tun0", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, Routes: []netip.Prefix{netip.MustParsePrefix("198.18.0.0/16")}},
			{Name: "tun1", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
	})
}

func to(server string) packet.Flow {
	return packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:4000"), Dst: netip.AddrPortFrom(netip.MustParseAddr(server), 80)}
}

// passes asserts that a new connection to the server passes, or that it does not.
func passes(x *ctexp.Experiment, server string, want bool) {
	flow := to(server)
	x.InjectOn("tun0", packet.Packets(packet.SYN(flow)))
	match := packet.Match{Out: "tun1", Dst: flow.Dst}
	if want {
		x.Expect(match)
	} else {
		x.ExpectNothing(match)
	}
}

// The agent runs in the test's process, which changes its policy while packets pass.
func TestPolicyChangesWhileTheAgentRuns(t *testing.T) {
	t.Parallel()
	x := router(t)
	ready := make(chan struct{})
	agent := &Agent{Ready: func() { close(ready) }}
	agent.Allow(netip.MustParseAddr("10.0.0.7"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	wait := x.Env.Go(ctx, agent.Run)
	ended := make(chan error, 1)
	go func() { ended <- wait() }()
	select {
	case <-ready:
	case err := <-ended:
		ctexp.Require(t, "run the agent", err)
	}

	passes(x, "10.0.0.7", true)
	passes(x, "10.0.0.8", false)
	agent.Allow(netip.MustParseAddr("10.0.0.8"))
	passes(x, "10.0.0.8", true)

	stop()
	if err := <-ended; err != nil {
		t.Errorf("the agent: %v", err)
	}
	passes(x, "10.0.0.9", true) // its rules are gone
}

// The agent runs as a process of its own, all of whose threads are in the namespace.
func TestAgentAsAProgram(t *testing.T) {
	t.Parallel()
	x := router(t)
	agent := x.Env.Program(t.Context(), "agent", "10.0.0.7")
	ctexp.Require(t, "start the agent", agent.Start())
	_, err := agent.AwaitLine(t.Context(), "ready")
	ctexp.Require(t, "await the agent", err)

	passes(x, "10.0.0.7", true)
	passes(x, "10.0.0.8", false)
}
