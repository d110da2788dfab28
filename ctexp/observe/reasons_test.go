package observe

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

func (l *reasonlog) mustAdd(t *testing.T, msgs ...[]byte) {
	t.Helper()
	for _, m := range msgs {
		if err := l.add(m, time.Unix(3, 0), func(i int32) string { return map[int32]string{1: "lo", 2: "tun0"}[i] }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReasonlogStoresReasonsOfConntrack(t *testing.T) {
	t.Parallel()
	l := reasonlog{limit: 10}
	l.mustAdd(t,
		logMessage(logSeq(0), logPrefix("nf_ct_proto_6: invalid rst "), attr(logPayload, 0x45, 0), attr(logInDev, 0, 0, 0, 2),
			attr(logTimestamp, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9)),
		logMessage(logSeq(1), logPrefix("a user's own"), attr(logPayload, 0x45, 0)),
		logMessage(logSeq(2), logPrefix("nf_ct_proto_58: bad checksum "), attr(logPayload, 0x60, 0), attr(logOutDev, 0, 0, 0, 1)),
		message(2, attr(1, 1)),
	)
	got, lost := l.snapshot()
	want := []Reason{
		{Time: time.Unix(7, 9999), Link: "tun0", Packet: []byte{0x45, 0}, Text: "invalid rst", Proto: nf.TCP},
		{Time: time.Unix(3, 0), Link: "lo", Packet: []byte{0x60, 0}, Text: "bad checksum", Proto: nf.ICMPv6},
	}
	if diff := cmp.Diff(want, got); diff != "" || lost != (lostReasons{}) {
		t.Errorf("lost %v (-want +got):\n%s", lost, diff)
	}
}

func TestReasonlogCountsWhatIsMissing(t *testing.T) {
	t.Parallel()
	said := logPrefix("nf_ct_proto_6: invalid rst ")
	l := reasonlog{limit: 2}
	l.mustAdd(t, logMessage(logSeq(0), said))
	l.overrun()
	if _, lost := l.snapshot(); lost.String() != "the latest found the receive buffer full" {
		t.Errorf("after an overrun: %v", lost)
	}
	l.mustAdd(t, logMessage(logSeq(5), said), logMessage(logSeq(6), said))
	got, lost := l.snapshot()
	if want := "4 found the receive buffer full, 1 exceeded the limit"; len(got) != 2 || lost.String() != want {
		t.Errorf("%d reasons, lost %v; want %s", len(got), lost, want)
	}
	counts := []ReasonCount{{Proto: nf.TCP, Text: "invalid rst", Packets: 3}}
	if diff := cmp.Diff(counts, l.counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// Packets that conntrack called something, and those that it called INVALID without a reason, are logged to a group of their own.
func TestReasonlogStoresClasses(t *testing.T) {
	t.Parallel()
	own := func(attrs ...[]byte) []byte {
		b := logMessage(attrs...)
		binary.BigEndian.PutUint16(b[nfnl.HeaderSize+2:], ours.InvalidGroup)
		return b
	}
	in, out := attr(logInDev, 0, 0, 0, 1), attr(logOutDev, 0, 0, 0, 2)
	syn := attr(logPayload, packet.SYN(visit)...)
	l := reasonlog{limit: 2}
	l.mustAdd(t,
		own(logSeq(0), logPrefix("NEW"), syn, in),
		own(logSeq(1), logPrefix("ESTABLISHED_REPLY"), syn, out),
		own(logSeq(2), syn, in),                         // INVALID
		own(logSeq(3), logPrefix("NEW"), syn, in),       // more than the limit
		own(logSeq(4), logPrefix("something"), syn, in), // of no class
		own(logSeq(7), syn, in),                         // two are missing
	)

	classes, lost := l.classifiedPackets()
	invalid, _ := l.invalidPackets()

	var got []string
	for _, c := range classes {
		got = append(got, fmt.Sprintf("%v %s %v", c.Dir, c.Link, c.Class))
	}
	want := []string{fmt.Sprintf("%v lo NEW", packet.In), fmt.Sprintf("%v tun0 ESTABLISHED_REPLY", packet.Out)}
	if diff := cmp.Diff(want, got); diff != "" || lost != 4 || len(invalid) != 2 {
		t.Errorf("%d are lost, want 4; %d INVALID ones, want 2; classes (-want +got):\n%s", lost, len(invalid), diff)
	}
	frames := []packet.Record{{Time: classes[0].Time, Link: "lo", Dir: packet.In, Packet: packet.SYN(visit)}}
	without := withClasses(slices.Clone(frames), nil)
	if with := withClasses(frames, classes); with[0].Class != classes[0].Class || without[0].Class != 0 {
		t.Errorf("frames have the classes %v, and without any %v", with[0].Class, without[0].Class)
	}
}

func TestTextsThatDifferInNumbersCountTogether(t *testing.T) {
	t.Parallel()
	var l reasonlog
	for _, s := range []ReasonCount{
		{Proto: nf.TCP, Text: "SEQ is over upper bound 12 (over the window of the receiver)"},
		{Proto: nf.TCP, Text: "SEQ is over upper bound 345 (over the window of the receiver)"},
		{Proto: nf.TCP, Text: "packet (index 0) in dir 0 ignored, state ESTABLISHED"},
		{Family: nf.IPv6, Proto: nf.TCP, Text: "invalid rst"},
	} {
		s.Packets = 1
		l.count(s)
	}
	before := l.counts()
	l.count(ReasonCount{Proto: nf.TCP, Text: "SEQ is over upper bound 6 (over the window of the receiver)", Packets: 1})
	var got []string
	for _, s := range append(before, subList(l.counts(), before, ReasonCount.key, (*ReasonCount).sub)...) {
		got = append(got, s.String())
	}
	want := []string{
		"2 × tcp: SEQ is over upper bound N (over the window of the receiver)",
		"tcp: packet (index 0) in dir 0 ignored, state ESTABLISHED",
		"tcp: invalid rst",
		"tcp: SEQ is over upper bound N (over the window of the receiver)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOnlyConntracksPrefixIsAReason(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{
		"nf_ct_proto_6: invalid rst ":                     "invalid rst",
		"nf_ct_proto_17: bad checksum":                    "bad checksum",
		"nf_ct_proto_1: outer daddr 1.2.3.4 != inner ::1": "outer daddr 1.2.3.4 != inner ::1",
		"nf_ct_proto_300: x":                              "",
		"nf_ct_proto_6 x":                                 "",
		"my nf_ct_proto_6: x":                             "",
		"":                                                "",
	} {
		if _, text, ok := splitReason(prefix); text != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", prefix, text, ok)
		}
	}
}

// frameAt returns a frame whose packet is identified by its last byte.
func frameAt(usec int64, link string, dir packet.Dir, id byte) packet.Record {
	return packet.Record{Time: time.UnixMicro(usec), Link: link, Dir: dir, EtherType: header.EtherTypeIPv4, Packet: []byte{0x45, id}}
}

func TestReasonsFindTheirFrames(t *testing.T) {
	t.Parallel()
	reason := func(usec int64, link string, id byte, text string) Reason {
		return Reason{Time: time.UnixMicro(usec).Add(999), Link: link, Packet: []byte{0x45, id}, Text: text}
	}
	frames := []packet.Record{
		frameAt(10, "tun0", packet.In, 1), frameAt(11, "tun0", packet.In, 1), frameAt(12, "tun0", packet.In, 1),
		frameAt(20, "tun1", packet.In, 1), frameAt(30, "tun0", packet.Out, 2),
	}
	of, rest := ReasonsOf(frames, []Reason{
		reason(11, "tun0", 1, "of the second"), // the same microsecond
		reason(99, "tun0", 1, "of the first"),  // in order
		reason(99, "tun0", 1, "of the first"),  // no twice
		reason(12, "tun0", 1, "of the first"),
		reason(99, "tun0", 1, "of the first"), // there is none left
		reason(20, "tun1", 1, "of the other link"),
		reason(30, "tun0", 2, "of the host's own"),
		reason(40, "tun0", 9, "of what was not captured"),
		reason(20, "", 1, "of a link that is not told"),
		reason(30, "", 2, "of a link that is not told"),
	})
	var got [][]string
	for _, reasons := range append(of, rest) {
		var texts []string
		for _, r := range reasons {
			texts = append(texts, r.Text)
		}
		got = append(got, texts)
	}
	want := [][]string{
		{"of the first"}, {"of the second", "of the first"}, {"of the first"}, {"of the other link", "of a link that is not told"},
		{"of the host's own", "of a link that is not told"},
		{"of the first", "of what was not captured"},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReasonPrintsAsALine(t *testing.T) {
	t.Parallel()
	r := Reason{
		Time: time.Date(2026, 1, 2, 12, 0, 0, 1999, time.UTC), Link: "tun0", Proto: nf.TCP, Text: "invalid tcp flag combination",
		Packet: []byte("\x45\x00\x00\x28\x00\x00\x40\x00\x40\x06\x00\x00\xc6\x12\x00\x02\xc0\x00\x02\x01\x27\x10\x00\x50\x00\x00\x00\x01\x00\x00\x00\x00\x50\x03\xff\xff\x00\x00\x00\x00"),
	}
	want := "12:00:00.000001 tun0 IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [FS], seq 1, win 65535, length 0: tcp: invalid tcp flag combination"
	if r.String() != want {
		t.Errorf("got  %s\nwant %s", r, want)
	}
	r.Link = "" // the kernel does not report it
	if want := strings.Replace(want, " tun0", "", 1); r.String() != want {
		t.Errorf("got  %s\nwant %s", r, want)
	}
}

// For any input, what is kept is complete, and everything else is an error.
func FuzzReasonlog(f *testing.F) {
	f.Add(logMessage(logPrefix("nf_ct_proto_6: invalid rst "), logSeq(1), attr(logPayload, 0x45)))
	f.Add(append(logMessage(logSeq(9), attr(logTimestamp, make([]byte, 16)...)), message(3)...))
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
		ReasonsOf([]packet.Record{{Packet: b, Dir: packet.Out}}, reasons)
	})
}

func BenchmarkReasonlog(b *testing.B) {
	msg := logMessage(logSeq(0), logPrefix("nf_ct_proto_6: SEQ is over upper bound 66537 (over the window of the receiver) "),
		attr(logPayload, append([]byte{0x45}, make([]byte, 39)...)...))
	l := reasonlog{limit: 1 << 20}
	b.ReportAllocs()
	for b.Loop() {
		l.next = 0
		if err := l.add(msg, time.Time{}, nil); err != nil {
			b.Fatal(err)
		}
	}
}
