package header_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
)

func TestSumOfTheRFC(t *testing.T) {
	t.Parallel()
	example := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7} // RFC 1071, 3
	if got := header.Sum(example); got != 0xddf2 {
		t.Errorf("got %#x, want 0xddf2", got)
	}
	if got := header.Sum(example[:2], example[2:], nil); got != 0xddf2 {
		t.Errorf("in parts: got %#x, want 0xddf2", got)
	}
	if got := header.Sum([]byte{1, 2, 3}); got != 0x0402 {
		t.Errorf("of an odd number of bytes: got %#x, want 0x402", got)
	}
}

// An adjusted checksum equals a recalculated one. The first example is from RFC 1624, 4.
func TestAdjustedChecksumsAreRight(t *testing.T) {
	t.Parallel()
	if got := header.Adjust(0xdd2f, header.Delta(0x5555, 0x3285)); got != 0x0000 {
		t.Errorf("got %#x, want 0", got)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		b := make([]byte, 40)
		for i := range b {
			b[i] = byte(r.UintN(256))
		}
		b[0] |= 1 // a sum of ones' complement is zero only where all words are
		was, at := ^header.Sum(b), 2+2*r.IntN(17)
		field := b[at : at+4]
		before := header.Sum(field)
		binary.BigEndian.PutUint32(field, r.Uint32())
		if got, want := header.Adjust(was, header.Delta(before, header.Sum(field))), ^header.Sum(b); got != want {
			t.Fatalf("% x: got %#x, want %#x", b, got, want)
		}
	}
}

func TestHeaderSums(t *testing.T) {
	t.Parallel()
	p := []byte(packet.SYN(web).With(packet.IPOptions(packet.RouterAlert())))
	right := binary.BigEndian.Uint16(p[header.HeaderSumAt:])
	wrong := set(p, header.HeaderSumAt, 1, 2)
	if !header.IsHeaderSumRight(p) || header.IsHeaderSumRight(wrong) || header.HeaderSum(wrong) != right || header.HeaderSum(p) != right {
		t.Errorf("% x: %#x and %#x", p, header.HeaderSum(p), header.HeaderSum(wrong))
	}
	if header.SetHeaderSum(wrong); string(wrong) != string(p) {
		t.Errorf("got % x, want % x", wrong, p)
	}
	short := set(p, 0, 0x41) // the receiver takes 20 bytes
	if header.SetHeaderSum(short); header.Sum(short[:20]) != 0xffff {
		t.Errorf("% x", short)
	}
}

// The expected checksums are gopacket's, or the examples of the RFC.
func TestTransportSums(t *testing.T) {
	t.Parallel()
	for _, f := range []packet.Flow{web, web6} {
		for _, p := range []packet.Packet{
			packet.SYN(f), f.UDP([]byte("odd")), packet.Echo(f.Src.Addr(), f.Dst.Addr(), 1, 2, []byte("hello")),
			f.SCTP(0, packet.SCTPInit(1, 100)), f.UDPLite(8, []byte("hello")), f.DCCP(packet.DCCP{Service: 1}),
			f.GRE(packet.GRE{Checksum: true, Payload: packet.SYN(f)}),
		} {
			v := header.Parse(p)
			l4 := v.Body(p)
			at, size := header.SumField(v.Proto, l4)
			field := l4[at : at+size]
			want := header.TransportSum(v.Proto, v.AddrBytes(p), l4)
			if size == 0 || !header.IsSum(field, want) {
				t.Errorf("%v: % x, want %#x", p, field, want)
			}
			again := append([]byte(nil), l4...)
			clear(again[at : at+size])
			if header.SetTransportSum(v.Proto, v.AddrBytes(p), again); string(again) != string(l4) {
				t.Errorf("%v: % x written is % x", p, l4, again)
			}
			if at, size := header.SumField(v.Proto, l4[:at+size-1]); at != 0 || size != 0 {
				t.Errorf("%v: a checksum that is cut has %d bytes at %d", p, size, at)
			}
		}
	}
	if header.NonZero(header.ProtoUDP, 0) != 0xffff || header.NonZero(header.ProtoTCP, 0) != 0 || header.NonZero(header.ProtoUDP, 7) != 7 {
		t.Error("zero is written as zero in UDP, or not in TCP")
	}
}
