package inject_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
)

// crossed returns two links that are one, and their inbox.
func crossed() (tun0, tun1 *host, inbox *inject.Inbox) {
	c := newCable()
	return c.tun0, c.tun1, c.inbox
}

// A server answers whoever comes, and a client takes answers from where it has asked.
func TestUDPPeersAskAndAnswer(t *testing.T) {
	t.Parallel()
	for name, flow := range map[string]inject.Flow{"ipv4": web, "ipv6": web6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			tun0, tun1, inbox := crossed()
			client := inject.NewUDP(inject.New(tun0), "tun0", inbox, flow)
			server := inject.NewUDP(inject.New(tun1), "tun1", inbox, inject.Flow{Src: flow.Dst})
			if err := server.Send(ctx, nil); err == nil {
				t.Error("the server has sent to nobody")
			}
			tun0.sends(flow.Nth(1).Reverse().UDP([]byte("not for us")))
			must(t, client.Send(ctx, []byte("question")))
			_, err := server.Expect(ctx, []byte("question"))
			must(t, err, server.Send(ctx, []byte("answer")))
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
	client := inject.NewUDP(inject.New(tun0), "tun0", inbox, web)
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
	for name, flow := range map[string]inject.Flow{"ipv4": web, "ipv6": web6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			tun0, tun1, inbox := crossed()
			asks := inject.NewEcho(inject.New(tun0), "tun0", inbox, flow.Src.Addr(), flow.Dst.Addr())
			asks.ID = 77
			answers := inject.NewEcho(inject.New(tun1), "tun1", inbox, flow.Dst.Addr(), netip.Addr{})
			if answers.Reply(ctx) == nil || answers.Ping(ctx, nil) == nil {
				t.Error("an answer to nobody")
			}
			for _, payload := range []string{"one", "two"} {
				must(t, asks.Ping(ctx, []byte(payload)))
				_, err := answers.ExpectRequest(ctx, []byte(payload))
				must(t, err, answers.Reply(ctx))
				_, err = asks.ExpectReply(ctx, []byte(payload))
				must(t, err)
			}
			must(t, asks.ExpectNothing(ctx), answers.ExpectNothing(ctx))

			must(t, answers.Reply(ctx), asks.Ping(ctx, nil)) // the answer to the one before
			_, err := asks.ExpectReply(ctx, nil)
			if err == nil || !strings.Contains(err.Error(), "the sequence number is 2, that of the request was 3") {
				t.Errorf("an old answer: %v", err)
			}
		})
	}
}
