package observe

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// logMessage is an NFULNL_MSG_PACKET message.
func logMessage(attrs ...[]byte) []byte { return message(msgLogPacket, attrs...) }

func logPrefix(s string) []byte { return attr(nfulaPrefix, append([]byte(s), 0)...) }

func logSeq(n byte) []byte { return attr(nfulaSeq, 0, 0, 0, n) }

func TestDecodeLogged(t *testing.T) {
	t.Parallel()
	msg := logMessage(
		attr(1, 8, 0, 0, 0), // NFULA_PACKET_HDR
		attr(nfulaTimestamp, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9),
		attr(nfulaIndev, 0, 0, 0, 2), attr(nfulaOutdev, 0, 0, 0, 3),
		attr(nfulaPayload, 0x45, 1), logPrefix("nf_ct_proto_6: invalid rst "), logSeq(5), attr(99, 1),
	)
	got, err := decodeLogged(msg[nlmsgHeader:], nlmsgHeader)
	want := logged{
		prefix: "nf_ct_proto_6: invalid rst ", payload: []byte{0x45, 1}, time: time.Unix(7, 9999),
		in: 2, out: 3, seq: 5, hasSeq: true,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(logged{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestDecodeLoggedSaysWhereItIsGarbage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"short":  {[]byte{2, 0}, "offset 16: 2 bytes are shorter"},
		"header": {[]byte{2, 0, 0, 0, 4, 0}, "offset 20: 2 bytes are shorter"},
		"length": {append([]byte{2, 0, 0, 0}, 1, 0, 9, 0), "offset 20: length 1, 4 bytes are there"},
	} {
		if _, err := decodeLogged(c.body, nlmsgHeader); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestMessagesOfADatagram(t *testing.T) {
	t.Parallel()
	b := append(message(1, attr(1, 1)), message(2)...)
	var types []uint16
	var ats []int
	collect := func(typ uint16, at int, _ []byte) error {
		types, ats = append(types, typ), append(ats, at)
		return nil
	}
	if err := messages(b, collect); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]int{{1, 2}, {16, 44}}, [][]int{{int(types[0]), int(types[1])}, ats}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for cut, want := range map[int]string{5: "offset 0: 5 bytes are shorter", 20: "offset 0: length 28, 20 bytes are there", 40: "offset 28: 12 bytes are shorter"} {
		if err := messages(b[:cut], collect); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("cut at %d: %v, want %q", cut, err, want)
		}
	}
}

// Whatever the stream holds, what is kept is whole and what is not is an error.
func FuzzReasonlog(f *testing.F) {
	f.Add(logMessage(logPrefix("nf_ct_proto_6: invalid rst "), logSeq(1), attr(nfulaPayload, 0x45)))
	f.Add(append(logMessage(logSeq(9), attr(nfulaTimestamp, make([]byte, 16)...)), message(3)...))
	f.Add([]byte{20, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		l := reasonlog{limit: 2}
		_ = l.add(b, time.Unix(1, 0), func(int32) string { return "tun0" })
		reasons, lost := l.snapshot()
		for _, r := range reasons {
			_ = r.String()
		}
		if len(reasons) > 2 || lost.beyond > 0 && len(reasons) != 2 {
			t.Errorf("%d reasons, lost %v", len(reasons), lost)
		}
		ReasonsOf([]Frame{{Packet: b, Dir: Out}}, reasons)
	})
}
