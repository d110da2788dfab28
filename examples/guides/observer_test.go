package guides

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Watch writes what happens to the connection table of a namespace until ctx is done: a line for each event, and the table at the end.
// The path is that of a namespace, as /proc/1234/ns/net or /run/netns/blue.
func Watch(ctx context.Context, path string, ready func(), w io.Writer) error {
	place, err := observe.At(path)
	if err != nil {
		return err
	}
	defer place.Close()
	o, err := observe.Open(ctx, place, observe.Config{})
	if err != nil {
		return err
	}
	defer o.Close()
	ready()
	<-ctx.Done()
	ctx = context.WithoutCancel(ctx)
	for e, err := range o.Events(ctx) {
		if err != nil {
			return err
		}
		fmt.Fprintln(w, e.Kind, e.Entry)
	}
	for e, err := range o.Flows(ctx, nf.Filter{}) {
		if err != nil {
			return err
		}
		fmt.Fprintln(w, "left", e)
	}
	return nil
}

// The tool is tested with a namespace that the test makes, which stands for a container.
func TestWatch(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out strings.Builder

	err := Watch(ctx, x.Env.Path(), func() {
		x.Inject(packet.Packets(packet.MustParse("udp 198.18.0.2:1 > 192.0.2.1:53")))
		stop()
	}, &out)

	ctexp.Require(t, "watch", err)
	want := `NEW udp src=198.18.0.2 dst=192.0.2.1 sport=1 dport=53 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=53 dport=1
left udp src=198.18.0.2 dst=192.0.2.1 sport=1 dport=53 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=53 dport=1
`
	if diff := ctexp.Diff(want, out.String()); diff != "" {
		x.Errorf("what the tool printed (-want +got):\n%s", diff)
	}
}
