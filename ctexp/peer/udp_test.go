package peer_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
)

// crossed returns two links that are one, and their inbox.
func crossed() (tun0, tun1 *host, inbox *peer.Inbox) {
	c := newCable()
	return c.tun0, c.tun1, c.inbox
}

// A server answers whoever comes, and a client takes answers from where it has asked.
func TestUDPPeersAskAndAnswer(t *testing.T) {
	t.Parallel()
	for name, flow := range map[string]packet.Flow{"ipv4": web, "ipv6": web6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			tun0, tun1, inbox := crossed()
			client := peer.NewUDP(inject.New(tun0), "tun0", inbox, flow)
			server := peer.NewUDP(inject.New(tun1), "tun1", inbox, packet.Flow{Src: flow.Dst})
			if _, err := server.Send(ctx, nil); err == nil {
				t.Error("the server has sent to nobody")
			}
			tun0.sends(flow.Nth(1).Reverse().UDP([]byte("not for us")))
			question, err := client.Send(ctx, []byte("question"))
			must(t, err)
			got, err := server.Expect(ctx, []byte("question"))
			must(t, err)
			if diff := packet.Diff(question, got); diff != "" {
				t.Errorf("on its way it has changed:\n%s", diff)
			}
			_, err = server.Send(ctx, []byte("answer"))
			must(t, err)
			_, err = client.Expect(ctx, nil)
			must(t, err, client.ExpectNothing(ctx), server.ExpectNothing(ctx))
			if server.Flow() != flow.Reverse() {
				t.Errorf("the server speaks with %v", server.Flow())
			}
		})
	}
}

// Another datagram than the one that is expected fails at once.
func TestUDPPeersAreStrict(t *testing.T) {
	t.Parallel()
	tun0, _, inbox := crossed()
	client := peer.NewUDP(inject.New(tun0), "tun0", inbox, web)
	tun0.sends(web.Reverse().UDP([]byte("other")))
	_, err := client.Expect(t.Context(), []byte("answer"))
	if err == nil || !strings.Contains(err.Error(), `≠ payload | "answer" (6 bytes) | "other" (5 bytes)`) {
		t.Errorf("got %v", err)
	}
	if err := client.ExpectNothing(t.Context()); err == nil {
		t.Error("the datagram is gone")
	}
}

// An echo goes there and back with its identifier, its number and its payload.
func TestEchoPeersAskAndAnswer(t *testing.T) {
	t.Parallel()
	for name, flow := range map[string]packet.Flow{"ipv4": web, "ipv6": web6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			tun0, tun1, inbox := crossed()
			asks := peer.NewEcho(inject.New(tun0), "tun0", inbox, flow.Src.Addr(), flow.Dst.Addr())
			asks.ID = 77
			answers := peer.NewEcho(inject.New(tun1), "tun1", inbox, flow.Dst.Addr(), netip.Addr{})
			_, noReply := answers.Reply(ctx)
			_, noPing := answers.Ping(ctx, nil)
			if noReply == nil || noPing == nil {
				t.Error("an answer to nobody")
			}
			for _, payload := range []string{"one", "two"} {
				_, err := asks.Ping(ctx, []byte(payload))
				must(t, err)
				_, err = answers.ExpectRequest(ctx, []byte(payload))
				must(t, err)
				_, err = answers.Reply(ctx)
				must(t, err)
				_, err = asks.ExpectReply(ctx, []byte(payload))
				must(t, err)
			}
			must(t, asks.ExpectNothing(ctx), answers.ExpectNothing(ctx))

			_, err := asks.Ping(ctx, []byte("one"))
			must(t, err)
			_, err = answers.ExpectRequest(ctx, []byte("one"))
			must(t, err)
			_, err = answers.Reply(ctx)
			must(t, err)
			if _, err := asks.ExpectReply(ctx, []byte("two")); err == nil || !strings.Contains(err.Error(), "payload") {
				t.Errorf("an answer with other data: %v", err)
			}
			_, err = asks.ExpectReply(ctx, []byte("one")) // it is still there
			must(t, err)

			_, again := answers.Reply(ctx) // the answer to the one before
			_, next := asks.Ping(ctx, nil)
			must(t, again, next)
			_, err = asks.ExpectReply(ctx, nil)
			if err == nil || !strings.Contains(err.Error(), "the sequence number is 3, that of the request was 4") {
				t.Errorf("an old answer: %v", err)
			}
		})
	}
}
