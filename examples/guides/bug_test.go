package guides

import (
	"net/netip"
	"os"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// reported is what conntrack -L printed on the machine of the report.
const reported = `
tcp      6 431998 ESTABLISHED src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=443 src=192.0.2.1 dst=198.18.0.2 sport=443 dport=10000 [ASSURED] mark=0 use=1
`

// A connection of which conntrack knows only the entry goes on, and is closed by a reset.
func TestReportedConnectionGoesOn(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{
		Silent: true,
		Rules:  []netnsenv.Ruleset{netnsenv.Listing(reported)},
	})
	flow := packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:443")}

	got := x.States(flow.Tuple(nf.TCP), packet.Packets(
		packet.MustParse("IP 198.18.0.2.10000 > 192.0.2.1.443: Flags [.], seq 100, ack 200, win 501, length 0"),
		packet.MustParse("IP 198.18.0.2.10000 > 192.0.2.1.443: Flags [R], seq 100, win 0, length 0"),
	))

	if diff := ctexp.Diff([]string{"ESTABLISHED [ASSURED]", "CLOSE [ASSURED]"}, got); diff != "" {
		x.Errorf("an ACK and a RST (-want +got):\n%s", diff)
	}
}

// What came in on the machine of the report comes in here; its own packets are left out.
func TestReportedCapture(t *testing.T) {
	t.Parallel()
	file, err := os.Open("report.pcap")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	x := ctexp.New(t, netnsenv.Config{Silent: true})

	done := x.Replay(packet.ReadRecording(file), inject.Replay{FixChecksums: true})

	flow := packet.MustParse("tcp 198.18.0.2:10000 > 192.0.2.1:443 S").Tuple()
	got := x.Flow(flow).Brief()
	if want := "SYN_SENT [UNREPLIED]"; done.Sent != 1 || got != want {
		x.Errorf("of %d packets the flow is %s, want %s", done.Sent, got, want)
	}
}
