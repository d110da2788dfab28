package observer

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// noWeb drops what comes to port 80.
const noWeb = "table ip user { chain in { type filter hook input priority 0; tcp dport 80 counter drop; }; }"

// Where packets went missing, and by which rule, is in the path.
func TestPathNamesWhatDroppedPackets(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(noWeb)}})

	x.Inject(packet.Concat(packet.SYNs(3, web), packet.UDPs(7, web)))

	const want = "3 of 10 lost between filter/input and security/input: dropped by nft ip user in: tcp dport 80 counter drop [packets 3 bytes 120]"
	if losses := x.Path().Losses(); len(losses) != 1 || losses[0].String() != want {
		x.Errorf("losses %v, want\n%s\n%v", losses, want, x.Path())
	}
}

// The rules that a packet met, one by one, with their verdicts.
func TestTraceTellsTheRulesOfAPacket(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Trace: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(noWeb)}})

	x.Inject(packet.Packets(packet.SYN(web), web.UDP(nil)))

	type step struct {
		Packet        int
		Rule, Verdict string
	}
	want := []step{{0, "tcp dport 80 counter drop", "drop"}, {1, "", "accept"}} // the policy has no text
	var got []step
	for _, s := range x.Trace() {
		got = append(got, step{s.Packet, s.Rule, s.Verdict})
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		x.Errorf("trace (-want +got):\n%s", diff)
	}
}

// Why conntrack calls a packet INVALID it says itself, next to the packet.
func TestReasonSaysWhyAPacketIsInvalid(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router())

	x.States(flow, packet.Packets(handshake()...))
	far := web.TCP(packet.TCP{Flags: packet.FlagACK, Seq: 1 << 20, Ack: 2, Payload: []byte("far away")})
	x.Inject(packet.Packets(far))

	reasons := x.Reasons()
	if len(reasons) != 1 || !strings.Contains(reasons[0].Text, "over the window of the receiver") || !bytes.Equal(reasons[0].Packet, far) {
		x.Errorf("reasons: %v", reasons)
	}
}

// What went over a link was captured, and can be asked for by what it should be.
func TestClosedPortIsAnsweredByARST(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})

	x.Inject(packet.Packets(packet.SYN(web)))

	rst := packet.Match{Out: "tun0", Proto: nf.TCP, Src: netip.AddrPortFrom(netip.Addr{}, 80), Flags: packet.FlagRST | packet.FlagACK}
	if !slices.ContainsFunc(x.Frames(), rst.Match) {
		x.Errorf("there was no RST:\n%v", x.Frames())
	}
	var capture bytes.Buffer // for Wireshark, with a comment for each packet
	if err := observe.WritePcapng(&capture, x.Frames(), func(f packet.Record) string { return f.TCPFlags() }); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(capture.Bytes(), []byte("tun0")) {
		x.Errorf("the capture has no tun0: %q", capture.Bytes())
	}
}

// All of it in the order of time, below each frame what belongs to it.
func TestTimelineTellsTheStoryOfAPacket(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting}})

	nonsense := web.TCP(packet.TCP{Flags: packet.FlagSYN | packet.FlagFIN, Seq: 1})
	x.Inject(packet.Packets(nonsense, packet.SYN(web)))

	want := []string{
		"frame  #1 tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [FS], seq 1, win 65535, length 0",
		"reason    tcp: invalid tcp flag combination",
		"frame  #2 tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0",
		"event     NEW tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000",
		"count  2 packets by tun0: raw/prerouting +2, entries +1, invalid +1",
	}
	var got []string
	for _, m := range x.Timeline().Moments {
		_, line, _ := strings.Cut(m.String(), " ") // behind the time
		got = append(got, line)
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		x.Errorf("timeline (-want +got):\n%s", diff)
	}
}
