//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

var protocolCorners = []corner{
	{
		ID: "udplite", Asks: "class of UDP-Lite with the right checksum", Source: "nf_conntrack_proto_udp.c, udplite_error",
		ask: classOf(question.UDPLite(0, []byte("x"))).between(),
	},
	{
		ID: "dccp", Asks: "entry of a DCCP request", Source: "nf_conntrack_proto_dccp.c, which is gone since 6.17 (fd72f265bb00)",
		ask: experiment(dccp).between(),
	},
	{
		ID: "sctp", Asks: "entry of an SCTP INIT", Source: "nf_conntrack_proto_sctp.c, sctp_new",
		ask: entryAfter(question.SCTP(0, packet.SCTPInit(1, 1))).between(),
	},
	{
		ID: "udp-clash", Asks: "statistics after two unconfirmed packets of one flow of UDP", Source: "nf_conntrack_core.c, nf_ct_resolve_clash",
		ask: experiment(udpClash).between(),
	},
	switchOf("tcp-ignore-rst", "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst", "nf_conntrack_standalone.c"),
	switchOf("helper-switch", "net.netfilter.nf_conntrack_helper", "nf_conntrack_helper.c; automatic helpers are gone since 6.0 (b118509076b3)"),
	switchOf("dccp-switch", "net.netfilter.nf_conntrack_dccp_loose", "nf_conntrack_standalone.c"),
	switchOf("udp-stream", "net.netfilter.nf_conntrack_udp_timeout_stream", "nf_conntrack_proto_udp.c, udp_timeouts"),
}

// dccp asks for the entry of a protocol that not every kernel tracks by its states.
func dccp(ctx context.Context, lab *ctexp.Lab) (string, error) {
	request := question.DCCP(packet.DCCP{Type: packet.DCCPRequest, Seq: 1})
	if _, err := lab.Inject(ctx, packet.Packets(request)); err != nil {
		return "", err
	}
	entries, err := collect(lab.Observer.Flows(ctx, nf.Filter{}))
	switch {
	case err != nil:
		return "", err
	case len(entries) == 0:
		return "none", nil
	case entries[0].OtherState == "":
		return "as of any protocol", nil
	}
	return entries[0].OtherState, nil
}

func udpClash(ctx context.Context, lab *ctexp.Lab) (string, error) {
	queue, err := lab.Hold(ctx, nf.Probe{Hook: nf.Forward, Match: nf.Match{In: "client"}})
	if err != nil {
		return "", err
	}
	if _, err := lab.InjectOn(ctx, "client", packet.Packets(question.UDP([]byte("one")), question.UDP([]byte("two")))); err != nil {
		return "", err
	}
	held, err := queue.Held(ctx)
	if err != nil {
		return "", err
	}
	if err := queue.Release(ctx, held...); err != nil {
		return "", err
	}
	stats, err := lab.Observer.Stats(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d resolved, %d dropped", stats.ClashResolve, stats.Drop), nil
}

// switchOf asks for the value of a sysctl in a fresh namespace.
func switchOf(id, name, source string) corner {
	return corner{ID: id, Asks: name + " of a fresh namespace", Source: source, ask: experiment(func(_ context.Context, lab *ctexp.Lab) (string, error) {
		value, err := lab.Env.Sysctl(name)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, errors.ErrUnsupported) {
			return "absent", nil
		}
		return value, err
	}).between()}
}
