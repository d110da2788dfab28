package observe

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// attr returns a netlink attribute.
func attr(typ uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(nlaHeader+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, typ), value...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

// message returns a netlink message of netfilter.
func message(typ uint16, attrs ...[]byte) []byte {
	b := make([]byte, nlmsgHeader+nfgenmsg)
	for _, a := range attrs {
		b = append(b, a...)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], typ)
	return b
}

const nested = 1 << 15

func TestDecodeDestroyed(t *testing.T) {
	t.Parallel()
	got, ok, err := decodeDestroyed(message(msgCTDelete,
		attr(ctaStatus, 0, 0, 0, 14),
		attr(ctaProtoInfo|nested, attr(ctaProtoInfoTCP|nested, attr(ctaTCPState, byte(nf.TimeWait))...)...),
		attr(ctaTimeout, 0, 0, 1, 2),
		attr(ctaZone, 255, 255),
		attr(99, 1),
	))
	want := destroyed{
		zone: 65535, status: nf.SeenReply | nf.Assured | nf.Confirmed, state: nf.TimeWait, timed: true, left: 258,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(destroyed{})); diff != "" || !ok || err != nil {
		t.Errorf("%v, %v (-want +got):\n%s", ok, err, diff)
	}
}

func TestDecodeDestroyedPassesOverOthers(t *testing.T) {
	t.Parallel()
	if _, ok, err := decodeDestroyed(message(1 << 8)); ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
}

func TestDecodeDestroyedSaysWhereItIsGarbage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string
		msg        []byte
	}{
		{"short", "shorter than its header", make([]byte, 19)},
		{"length", "says that it has 24 bytes, and has 20", append([]byte{24, 0, 0, 0}, make([]byte, 16)...)},
		{"attribute header", "offset 20: 2 bytes are shorter", message(msgCTDelete, []byte{4, 0})},
		{"attribute length", "offset 28: length 9, 4 bytes are there", message(msgCTDelete, attr(ctaZone, 0, 1), []byte{9, 0, 1, 0})},
		{"nested", "offset 24: length 3, 4 bytes are there", message(msgCTDelete, attr(ctaProtoInfo, 3, 0, 1, 0))},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
				t.Skip("needs a little-endian machine: the bytes are written so")
			}
			if _, ok, err := decodeDestroyed(c.msg); ok || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v, want %q", ok, err, c.want)
			}
		})
	}
}

func TestFateOfDestroyedEntries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		d    destroyed
		want fate
	}{
		{"time over", destroyed{timed: true, state: nf.Close}, unasked},
		{"no time told", destroyed{state: nf.TCPNone}, unasked},
		{"evicted", destroyed{timed: true, left: 100, state: nf.SynSent}, unasked},
		{"collected while closing", destroyed{timed: true, left: 10, state: nf.LastAck, status: nf.Assured | nf.SeenReply}, unasked},
		{"UDP evicted", destroyed{timed: true, left: 30}, unasked},
		{"RST to a SYN", destroyed{timed: true, left: 119, state: nf.Close}, byPacket},
		{"opened again or collected", destroyed{timed: true, left: 100, state: nf.TimeWait, status: nf.SeenReply}, replacedOr},
		{"opened again or collected after a RST", destroyed{timed: true, left: 9, state: nf.Close, status: nf.SeenReply}, replacedOr},
	} {
		if got := c.d.fate(); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

func FuzzDecodeDestroyed(f *testing.F) {
	f.Add(message(msgCTDelete, attr(ctaStatus, 0, 0, 0, 14), attr(ctaZone, 255, 255)))
	f.Add(message(msgCTDelete, attr(ctaProtoInfo|nested, attr(ctaProtoInfoTCP|nested, attr(ctaTCPState, 7)...)...)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, ok, err := decodeDestroyed(b); ok && err != nil {
			t.Errorf("%+v and %v", d, err)
		}
	})
}

func BenchmarkDecodeDestroyed(b *testing.B) {
	msg := message(msgCTDelete,
		attr(1|nested, make([]byte, 48)...), attr(2|nested, make([]byte, 48)...), attr(ctaStatus, 0, 0, 0, 14),
		attr(ctaTimeout, 0, 0, 0, 100), attr(ctaProtoInfo|nested, attr(ctaProtoInfoTCP|nested, attr(ctaTCPState, 2)...)...))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := decodeDestroyed(msg); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
