package observe

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// event returns a message with flags of its header, and who asked for it.
func event(typ, flags uint16, asked uint32, attrs ...[]byte) []byte {
	m := message(typ, attrs...)
	binary.NativeEndian.PutUint16(m[6:], flags)
	binary.NativeEndian.PutUint32(m[12:], asked)
	return m
}

// tupleAttrs are those of a tuple from 198.18.0.2 to 192.0.2.1 with these ports.
func tupleAttrs(typ uint16, sport, dport byte) []byte {
	return attr(typ|nested, append(
		attr(1|nested, append(attr(1, 198, 18, 0, 2), attr(2, 192, 0, 2, 1)...)...),
		attr(2|nested, append(append(attr(1, byte(nf.TCP)), attr(2, 0, sport)...), attr(3, 0, dport)...)...)...)...)
}

var synSent = attr(4|nested, attr(1|nested, attr(1, byte(nf.SynSent))...)...)

func TestDecodeEvents(t *testing.T) {
	t.Parallel()
	read := time.Unix(100, 0)
	tuple := tupleAttrs(1, 7, 80)
	for _, c := range []struct {
		name  string
		msg   []byte
		kind  EventKind
		asked bool
		at    time.Time
		want  string
	}{
		{
			"new", event(msgEntryNew, flagCreate|flagExcl, 0, tuple, synSent), EventNew, false, read,
			"NEW tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=7 dport=80",
		},
		{"update by somebody", event(msgEntryNew, 0, 77, tuple, synSent), EventUpdate, true, read, "UPDATE tcp SYN_SENT src=198.18.0.2"},
		{
			"destroy with its time", event(msgEntryDelete, 0, 0, tuple, attr(27, 0, 0, 0, 0, 0x3b, 0x9a, 0xca, 0)),
			EventDestroy, false, time.Unix(1, 0), "DESTROY tcp NONE src=198.18.0.2",
		},
		{
			"expectation", event(msgExpectNew, flagCreate, 0, tupleAttrs(2, 0, 99), tupleAttrs(1, 7, 21), attr(6, 'f', 't', 'p', 0)),
			EventExpectNew, false, read,
			"EXPECT_NEW tcp src=198.18.0.2 dst=192.0.2.1 sport=0 dport=99 master src=198.18.0.2 dst=192.0.2.1 sport=7 dport=21 helper=ftp",
		},
		{"end of an expectation", event(msgExpectDelete, 0, 0, tupleAttrs(2, 0, 99)), EventExpectDestroy, false, read, "EXPECT_DESTROY tcp"},
	} {
		var d eventDecoder
		e, ok, err := d.decode(c.msg, read)
		if !ok || err != nil || d.err() != nil {
			t.Errorf("%s: %v, %v, %v", c.name, ok, err, d.err())
			continue
		}
		if e.Kind != c.kind || e.Asked != c.asked || !e.Time.Equal(c.at) || !strings.HasPrefix(e.String(), c.want) {
			t.Errorf("%s: %v at %v, asked %v: %v\nwant it to begin %q", c.name, e.Kind, e.Time, e.Asked, e, c.want)
		}
	}
}

func TestEventsInShort(t *testing.T) {
	t.Parallel()
	tcp := func(s nf.TCPState, st nf.Status) nf.Entry {
		return nf.Entry{Orig: nf.Tuple{Proto: nf.TCP}, State: s, Status: st}
	}
	var got []string
	for _, e := range []Event{
		{Kind: EventNew, Entry: tcp(nf.SynSent, nf.Confirmed)},
		{Kind: EventUpdate, Entry: tcp(nf.Established, nf.SeenReply|nf.Assured)},
		{Kind: EventUpdate, Entry: nf.Entry{Orig: nf.Tuple{Proto: nf.UDP}, Status: nf.SeenReply | nf.Assured}},
		{Kind: EventDestroy, Entry: tcp(nf.Close, nf.SeenReply|nf.Assured)},
		{Kind: EventResync, Entry: tcp(nf.Established, nf.SeenReply)},
		{Kind: EventLost},
		{Kind: EventExpectNew},
		{},
	} {
		got = append(got, e.Short())
	}
	want := []string{
		"NEW SYN_SENT", "UPDATE ESTABLISHED [ASSURED]", "UPDATE [ASSURED]", "DESTROY", "RESYNC ESTABLISHED", "LOST", "EXPECT_NEW", "UNKNOWN",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What is not an event is passed over; what is not whole, or unknown, says where.
func TestDecodeEventSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	var d eventDecoder
	if _, ok, err := d.decode(message(2), time.Time{}); ok || err != nil {
		t.Errorf("another message: %v, %v", ok, err)
	}
	whole := event(msgEntryNew, 0, 0, tupleAttrs(1, 7, 80))
	cut := append([]byte(nil), whole[:len(whole)-3]...)
	binary.NativeEndian.PutUint32(cut, uint32(len(cut)))
	for name, c := range map[string]struct {
		msg  []byte
		want string
	}{
		"header":            {whole[:15], "shorter than its header"},
		"length":            {whole[:len(whole)-1], "bytes, and has"},
		"cut":               {cut, "offset"},
		"size of a mark":    {event(msgEntryNew, 0, 0, attr(8, 1)), "type 8, value at offset 24: 1 bytes, want 4"},
		"unknown in tuples": {event(msgEntryNew, 0, 0, attr(1|nested, attr(9, 1)...)), "type 9, value at offset 28: unknown among those of the tuple"},
	} {
		if _, ok, err := d.decode(c.msg, time.Time{}); ok || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %q", name, ok, err, c.want)
		}
	}
	if _, ok, err := d.decode(event(msgEntryNew, 0, 0, attr(8, 0, 0, 0, 1), attr(99, 1)), time.Time{}); !ok || err != nil {
		t.Errorf("an unknown attribute: %v, %v", ok, err)
	}
	var unknown *nfnl.UnknownError
	if !errors.As(d.err(), &unknown) || unknown.Type != 99 || unknown.Offset != 32 {
		t.Errorf("unknown: %v", d.err())
	}
}

func FuzzDecodeEvent(f *testing.F) {
	f.Add(event(msgEntryNew, flagCreate, 0, tupleAttrs(1, 7, 80), tupleAttrs(2, 80, 7), synSent, attr(27, 0, 0, 0, 0, 0, 0, 0, 1)))
	f.Add(event(msgEntryDelete, 0, 5, tupleAttrs(1, 7, 80), attr(20|nested, attr(1, 0, 0, 0, 0, 0, 0, 0, 1)...)))
	f.Add(event(msgExpectNew, flagCreate, 0, tupleAttrs(1, 0, 99), tupleAttrs(2, 7, 21), tupleAttrs(3, 255, 255), attr(10|nested, attr(1, 0, 0, 0, 1)...)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var d eventDecoder
		e, ok, err := d.decode(b, time.Time{})
		if err != nil && (ok || e != (Event{})) {
			t.Errorf("%v and %v", e, err)
		}
		_, _ = e.String(), e.Short()
	})
}

func BenchmarkDecodeEvent(b *testing.B) {
	msg := event(msgEntryNew, flagCreate, 0, tupleAttrs(1, 7, 80), tupleAttrs(2, 80, 7), attr(3, 0, 0, 0, 8), attr(7, 0, 0, 0, 120), synSent)
	b.ReportAllocs()
	for b.Loop() {
		var d eventDecoder
		if _, ok, err := d.decode(msg, time.Time{}); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
