package inject_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Every constructor's packet has right checksums, and its bytes and its line are those of the golden file.
func TestPacketsAreTheSameBytesEachTime(t *testing.T) {
	t.Parallel()
	mss := []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionData: []byte{5, 180}}}
	ping := func(f inject.Flow, build func(src, dst netip.Addr, id, seq uint16, payload []byte) inject.Packet) inject.Packet {
		return build(f.Src.Addr(), f.Dst.Addr(), 1, 2, []byte("ping!"))
	}
	for name, f := range map[string]inject.Flow{"ipv4": web, "ipv6": web6} {
		var w strings.Builder
		for _, p := range []inject.Packet{
			inject.SYN(f), inject.SYNACK(f.Reverse()), inject.ACK(f), inject.FIN(f), inject.RST(f),
			f.TCP(inject.TCP{
				Flags: inject.FlagPSH | inject.FlagACK, Seq: 2, Ack: 2, Window: 512, Options: mss, Payload: []byte("hello"),
			}),
			f.UDP(nil), f.UDP([]byte("hello")), ping(f, inject.Echo), ping(f.Reverse(), inject.EchoReply),
		} {
			if err := checkSums(p); err != nil {
				t.Errorf("%v: %v", p, err)
			}
			fmt.Fprintf(&w, "%v\n%s\n", p, hex.Dump(p))
		}
		golden(t, name+".golden", w.String())
	}
}

func TestAPacketCutAnywhereHasALineAndATuple(t *testing.T) {
	t.Parallel()
	p := inject.SYN(web)
	got := []nf.Tuple{p[:10].Tuple(), p[:20].Tuple(), p.Tuple()}
	want := []nf.Tuple{
		{},
		{Proto: nf.TCP, Src: netip.AddrPortFrom(web.Src.Addr(), 0), Dst: netip.AddrPortFrom(web.Dst.Addr(), 0)},
		{Proto: nf.TCP, Src: web.Src, Dst: web.Dst},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("tuples of a SYN of 10, 20 and 40 bytes (-want +got):\n%s", diff)
	}
}

func ExamplePacket() {
	p := inject.SYN(web)
	fmt.Println(p)
	fmt.Println(p.Tuple())
	// Output:
	// IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
	// src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80
}

func ExampleDecode() {
	d := inject.Decode(inject.SYN(web))
	fmt.Println(d.Layer(layers.LayerTypeTCP).(*layers.TCP).SYN)
	// Output: true
}

// FuzzPacket checks that whatever bytes there are can be printed, decoded and asked for their tuple.
func FuzzPacket(f *testing.F) {
	for _, p := range []inject.Packet{
		nil, inject.SYN(web), inject.SYN(web6), web.UDP([]byte("hello")), web6.UDP(nil),
		inject.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, nil), inject.Echo(web6.Src.Addr(), web6.Dst.Addr(), 1, 1, nil),
	} {
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := inject.Packet(b)
		d, tuple := inject.Decode(p), p.Tuple()
		if p.String() == "" {
			t.Errorf("%x has no line", b)
		}
		if d.NetworkLayer() == nil && tuple != (nf.Tuple{}) {
			t.Errorf("%x has the tuple %v and no network layer", b, tuple)
		}
	})
}

// golden compares got with a file in testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}
