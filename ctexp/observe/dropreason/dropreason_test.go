package dropreason

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// record returns a record of the BPF program.
func record(packet string) []byte {
	b := make([]byte, eventSize)
	binary.NativeEndian.PutUint64(b[atTime:], 1000)
	binary.NativeEndian.PutUint64(b[atLocation:], 0xffffffff81000010)
	binary.NativeEndian.PutUint32(b[atReason:], 3)
	binary.NativeEndian.PutUint32(b[atLength:], 1500)
	binary.NativeEndian.PutUint32(b[atCaptured:], uint32(len(packet)))
	copy(b[atLink:], "tun0")
	copy(b[atPacket:], packet)
	return b
}

func TestRecordIsDecoded(t *testing.T) {
	t.Parallel()
	got, err := decode(record("abc"))
	if err != nil {
		t.Fatal(err)
	}
	want := event{1000, 0xffffffff81000010, 3, 1500, "tun0", []byte("abc")}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(event{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBrokenRecordsAreErrors(t *testing.T) {
	t.Parallel()
	long := record("")
	binary.NativeEndian.PutUint32(long[atCaptured:], packetSize+1)
	for name, c := range map[string]struct {
		record []byte
		want   string
	}{
		"cut":           {record("abc")[:eventSize-1], "drop of 175 bytes: want 176"},
		"more than fit": {long, "drop at offset 24: 129 bytes of a packet, want at most 128"},
	} {
		if _, err := decode(c.record); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestReasonsHaveNames(t *testing.T) {
	t.Parallel()
	n := names{}
	n.add(3, "SKB_DROP_REASON_NO_SOCKET")
	n.add(1, "SKB_CONSUMED")
	got := []string{n.name(3), n.name(1), n.name(999), n.name(1<<16 + 7)}
	want := []string{"NO_SOCKET", "SKB_CONSUMED", "reason(999)", "reason(subsystem 1, 7)"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAddressesHaveFunctions(t *testing.T) {
	t.Parallel()
	s, err := parseSymbols(strings.NewReader("0000000000000000 A fixed\n00000200 T ip_rcv\n00000100 t helper\nsomething else\n00000180 D data\n00000300 T last [nf_tables]\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, at := range []uint64{0xff, 0x100, 0x1ff, 0x200, 0x2ff, 0x5000} {
		got = append(got, s.name(at))
	}
	want := []string{"", "helper", "helper", "ip_rcv", "ip_rcv", "last"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := (symbols)(nil).name(1); got != "" {
		t.Errorf("without functions: %q", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(record("abc"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := decode(b); err == nil && len(e.packet) > packetSize {
			t.Errorf("%d bytes of a packet", len(e.packet))
		}
	})
}

func FuzzParseSymbols(f *testing.F) {
	f.Add("00000200 T ip_rcv\n00000100 t helper\n", uint64(0x180))
	f.Fuzz(func(t *testing.T, text string, at uint64) {
		s, err := parseSymbols(strings.NewReader(text))
		if err == nil && s.name(at) == "" && len(s) > 0 && s[0].at <= at {
			t.Errorf("%#x is in no function of %v", at, s)
		}
	})
}
