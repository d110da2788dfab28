package cni

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func TestMain(m *testing.M) { ctexp.Main(m) }

// plugins is where Debian installs them.
const plugins = "/usr/lib/cni"

// add has a plugin add the pod to a network of the node, and returns its result.
func add(t *testing.T, node, pod *ctexp.Experiment, name, config string) string {
	t.Helper()
	path := filepath.Join(plugins, name)
	if _, err := os.Stat(path); err != nil {
		ctexp.Require(t, "find the plugin", &nf.UnsupportedError{
			Need: "containernetworking-plugins", Hint: "apt-get install containernetworking-plugins", Err: err,
		})
	}
	c := node.Env.Command(t.Context(), path)
	c.Env = append(os.Environ(), "CNI_COMMAND=ADD", "CNI_CONTAINERID=pod", "CNI_IFNAME=eth0", "CNI_NETNS="+pod.Env.Path(), "CNI_PATH="+plugins)
	c.Stdin = strings.NewReader(config)
	result, err := c.Output() // of an error the plugin writes to its standard output
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, result)
	}
	return string(result)
}

// network is a pod on a node: behind a bridge with masquerading, and with a port of the node.
func network(t *testing.T) (node, pod *ctexp.Experiment) {
	t.Helper()
	node = ctexp.New(t, netnsenv.Config{Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}})
	pod = ctexp.New(t, netnsenv.Config{Links: []netnsenv.LinkConfig{}, Conntrack: netnsenv.Off})
	result := add(t, node, pod, "bridge", fmt.Sprintf(`{
		"cniVersion": "1.0.0", "name": "pods", "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
		"ipam": {"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": "10.22.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
	}`, t.TempDir()))
	add(t, node, pod, "portmap", fmt.Sprintf(`{
		"cniVersion": "1.0.0", "name": "pods", "type": "portmap", "capabilities": {"portMappings": true},
		"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}, "prevResult": %s
	}`, result))
	return node, pod
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// A client reaches the pod through the node's port, and the pod sees the client's address.
func TestPortOfTheNodeLeadsToThePod(t *testing.T) {
	t.Parallel()
	node, pod := network(t)
	l, err := pod.Env.Listen(t.Context(), "tcp", ":80")
	ctexp.Require(t, "listen in the pod", err)
	client := packet.Flow{Src: addrPort("198.18.0.2:4000"), Dst: addrPort("192.0.2.1:8080")}

	node.TCP("tun0", client).Connect()
	c, err := l.Accept()
	ctexp.Require(t, "accept in the pod", err)
	defer c.Close()

	entry := node.Flow(nf.Tuple{Proto: nf.TCP, Src: client.Src, Dst: client.Dst})
	got := [2]string{c.RemoteAddr().String(), entry.Reply.Src.String()}
	if want := [2]string{"198.18.0.2:4000", "10.22.0.2:80"}; got != want {
		t.Errorf("the pod sees %s, and the node translates to %s; want %v", got[0], got[1], want)
	}
}

// What the pod sends leaves the node under the address of the node.
func TestPodIsMasqueraded(t *testing.T) {
	t.Parallel()
	node, pod := network(t)
	server := node.TCP("tun0", packet.Flow{Src: addrPort("198.18.0.9:443")})
	dialled := make(chan error, 1)
	go func() {
		c, err := pod.Env.Dial(t.Context(), "tcp", "198.18.0.9:443")
		if err == nil {
			err = c.Close()
		}
		dialled <- err
	}()

	server.Accept()
	ctexp.Require(t, "dial in the pod", <-dialled)

	frames := node.Frames(packet.Match{Out: "tun0", Dst: addrPort("198.18.0.9:443")})
	if len(frames) < 2 { // the SYN and the ACK
		t.Errorf("%d packets left the node: %v", len(frames), frames)
	}
	for _, f := range frames {
		if got, want := f.Tuple().Src.Addr(), netip.MustParseAddr("192.0.2.1"); got != want {
			t.Errorf("a packet left the node from %v, want %v: %v", got, want, f)
		}
	}
}
