package kubeproxy

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/proxy/apis/config"
	"k8s.io/kubernetes/pkg/proxy/nftables"
	proxyutil "k8s.io/kubernetes/pkg/proxy/util"
	"k8s.io/utils/ptr"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func TestMain(m *testing.M) {
	ctexp.MainWith(m, netnsenv.Entry{Programs: map[string]func(){"kube-proxy": kubeProxy}})
}

// The DNS service of the cluster, and the port of its endpoints.
var (
	service    = netip.MustParseAddrPort("10.96.0.10:53")
	targetPort = uint16(5353)
)

const synced = "rules are in sync"

// kubeProxy is a program that runs the proxier of one node. Each line of its input has the address of the service's only endpoint,
// or nothing if there is none, as the API server would tell it.
func kubeProxy() {
	ctx := context.Background()
	conf := &config.KubeProxyConfiguration{NFTables: config.KubeProxyNFTablesConfiguration{MasqueradeBit: ptr.To[int32](14)}}
	conf.SyncPeriod.Duration = 1 << 40 // it syncs because something has changed
	proxier, err := nftables.NewProxier(ctx, conf, corev1.IPv4Protocol, proxyutil.NewNoOpLocalDetector(), "node", net.ParseIP("203.0.113.1"), nil, nil, false)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	proxier.OnServiceAdd(&corev1.Service{
		ObjectMeta: meta.ObjectMeta{Namespace: "kube-system", Name: "dns"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: service.Addr().String(), ClusterIPs: []string{service.Addr().String()},
			Ports: []corev1.ServicePort{{Name: "dns", Protocol: corev1.ProtocolUDP, Port: int32(service.Port())}},
		},
	})
	slice := func(endpoint string) *discovery.EndpointSlice {
		s := &discovery.EndpointSlice{
			ObjectMeta:  meta.ObjectMeta{Namespace: "kube-system", Name: "dns-1", Labels: map[string]string{discovery.LabelServiceName: "dns"}},
			AddressType: discovery.AddressTypeIPv4,
			Ports:       []discovery.EndpointPort{{Name: ptr.To("dns"), Port: ptr.To(int32(targetPort)), Protocol: ptr.To(corev1.ProtocolUDP)}},
		}
		if endpoint != "" {
			s.Endpoints = []discovery.Endpoint{{Addresses: []string{endpoint}, Conditions: discovery.EndpointConditions{Ready: ptr.To(true)}}}
		}
		return s
	}
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	before := slice(in.Text())
	proxier.OnEndpointSliceAdd(before)
	proxier.OnServiceSynced()
	proxier.OnEndpointSlicesSynced() // writes the rules before it returns
	fmt.Println(synced)
	go proxier.SyncLoop()
	for in.Scan() {
		after := slice(in.Text())
		proxier.OnEndpointSliceUpdate(before, after)
		before = after
	}
}

// A datagram for a Service goes to its endpoint. When the endpoint is replaced, kube-proxy deletes the entry that would still send
// the client's datagrams there, and they go to the new one. When that is gone too, they are refused.
func TestStaleUDPEntryIsDeleted(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{
		Links: []netnsenv.LinkConfig{
			{Name: "tun0", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.0.1/24")}},
			{Name: "tun1", Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/24")}},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
	})
	first, second := endpoint("203.0.113.5"), endpoint("203.0.113.6")
	proxy := x.Env.Program(t.Context(), "kube-proxy")
	api, err := proxy.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(api, first.Addr())
	ctexp.Require(t, "start", proxy.Start())
	if _, err := proxy.AwaitLine(t.Context(), synced); err != nil {
		t.Fatal(err)
	}

	ask := packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:4000"), Dst: service}
	asked := func(wanted netip.AddrPort) {
		t.Helper()
		x.InjectOn("tun0", packet.Packets(ask.UDP([]byte("who?"))))
		x.Expect(packet.Match{Out: "tun1", Proto: nf.UDP, Src: ask.Src, Dst: wanted})
	}
	asked(first)
	x.InjectOn("tun1", packet.Packets(packet.Flow{Src: first, Dst: ask.Src}.UDP([]byte("me"))))
	x.Expect(packet.Match{Out: "tun0", Proto: nf.UDP, Src: service, Dst: ask.Src})

	fmt.Fprintln(api, second.Addr())
	x.Await("the entry of the endpoint that is gone to be deleted", func() bool { return len(x.Flows()) == 0 })
	asked(second)

	fmt.Fprintln(api)
	x.Await("the entry of the last endpoint to be deleted", func() bool { return len(x.Flows()) == 0 })
	x.InjectOn("tun0", packet.Packets(ask.UDP([]byte("who?"))))
	x.Expect(packet.Match{Out: "tun0", Proto: nf.ICMP, About: &packet.Match{Proto: nf.UDP, Src: ask.Src, Dst: service}})
	x.ExpectNothing(packet.Match{Out: "tun1"})

	var told []string
	for _, e := range x.Events() {
		if e.Kind != observe.EventUpdate {
			told = append(told, fmt.Sprint(e.Kind, " ", e.Entry.Reply.Src))
		}
	}
	want := fmt.Sprint([]string{"NEW " + first.String(), "DESTROY " + first.String(), "NEW " + second.String(), "DESTROY " + second.String()})
	if got := fmt.Sprint(told); got != want {
		t.Errorf("the table's events are\n%v, want\n%v", got, want)
	}
}

func endpoint(addr string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), targetPort)
}
