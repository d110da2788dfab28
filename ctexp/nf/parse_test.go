package nf_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Lines of all supported forms parse to the same canonical form.
func TestParseEntryReadsEveryForm(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ line, want string }{
		"canonical": {
			"tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000",
			"tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000",
		},
		"conntrack -L": {
			"tcp      6 98 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 packets=7 bytes=8 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 packets=9 bytes=10 [ASSURED] mark=3 zone=4 delta-time=1 use=1",
			"tcp ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 [ASSURED] mark=3 zone=4",
		},
		"conntrack -L -o extended,id,ktimestamp,labels": {
			"ipv4     2 udp      17 97 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 packets=0 bytes=0 [UNREPLIED] src=10.0.0.2 dst=1.2.3.4 sport=2 dport=1 zone-reply=7 packets=0 bytes=0 mark=0 delta-time=2 [start=Tue Nov  3 16:09:55 2026] use=1 id=2992848901 labels=0x05",
			"udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 [UNREPLIED] src=10.0.0.2 dst=1.2.3.4 sport=2 dport=1 zone-reply=7 labels=05",
		},
		"/proc/net/nf_conntrack": {
			"ipv4     2 gre      47 96 timeout=0, stream_timeout=0 src=10.0.0.1 dst=10.0.0.2 srckey=0x1 dstkey=0x2 packets=0 bytes=0 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 srckey=0x2 dstkey=0x1 packets=0 bytes=0 mark=0 zone=0 delta-time=3 use=2",
			"gre src=10.0.0.1 dst=10.0.0.2 srckey=0x1 dstkey=0x2 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 srckey=0x2 dstkey=0x1",
		},
		"an echo with the number of its entry": {
			"icmp     1 7 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=77 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=77 mark=0 use=1 id=524342096",
			"icmp src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=77 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=77",
		},
		"a protocol without a name": {
			"unknown  50 99 src=10.0.0.1 dst=10.0.0.2 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 mark=0 use=1",
			"unknown-50 src=10.0.0.1 dst=10.0.0.2 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1",
		},
		"IPv6": {
			"ipv6     10 icmpv6   58 9 src=fd00::1 dst=fd00::2 type=128 code=0 id=77 src=fd00::2 dst=fd00::1 type=129 code=0 id=77 mark=0 use=1",
			"icmpv6 src=fd00::1 dst=fd00::2 type=128 code=0 id=77 src=fd00::2 dst=fd00::1 type=129 code=0 id=77",
		},
		"SCTP": {
			"sctp     132 99 COOKIE_WAIT src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 mark=0 use=1",
			"sctp COOKIE_WAIT src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1",
		},
		"DCCP": {
			"dccp     33 99 OPEN src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 mark=0 use=1",
			"dccp OPEN src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1",
		},
		"dying": {
			"tcp      6 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1",
			"tcp NONE src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1",
		},
		"all that the canonical form has": {
			"tcp STATE_77 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 zone-orig=4 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 [ASSURED] [OFFLOAD] [HW_OFFLOAD] mark=0x10 helper=ftp labels=0500000000",
			"tcp STATE_77 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 zone-orig=4 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 [ASSURED] [OFFLOAD] [HW_OFFLOAD] mark=16 helper=ftp labels=05",
		},
	} {
		e, err := nf.ParseEntry(tt.line)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, e.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Parsing keeps the values that the canonical form leaves out.
func TestParseEntryReadsAllValues(t *testing.T) {
	t.Parallel()
	const line = "ipv4     2 tcp      6 97 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 packets=5 bytes=60 src=10.0.0.2 dst=192.0.2.9 sport=2 dport=1 packets=7 bytes=80 [ASSURED] mark=3 helper=ftp secctx=system zone=4 delta-time=2 [start=Tue Nov 24 16:09:55 2026] [stop=Tue Nov 24 16:09:57 2026] use=1 id=79406228"
	got, err := nf.ParseEntry(line)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 11, 24, 16, 9, 55, 0, time.Local)
	want := nf.Entry{
		Orig:    nf.Tuple{Proto: nf.TCP, Src: addr("10.0.0.1:1"), Dst: addr("10.0.0.2:2")},
		Reply:   nf.Tuple{Proto: nf.TCP, Src: addr("10.0.0.2:2"), Dst: addr("192.0.2.9:1")},
		Status:  nf.SeenReply | nf.Assured | nf.Confirmed,
		State:   nf.Established,
		Timeout: 97 * time.Second, Mark: 3, Zone: 4, ID: 79406228, Helper: "ftp", SecCtx: "system",
		Packets: nf.DirCounts{Orig: 5, Reply: 7}, Bytes: nf.DirCounts{Orig: 60, Reply: 80},
		Start: start, Stop: start.Add(2 * time.Second),
	}
	if diff := cmp.Diff(want, got, comparable); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

var comparable = cmpopts.EquateComparable(netip.AddrPort{})

func TestParseErrorNamesLineColumnAndWord(t *testing.T) {
	t.Parallel()
	const tuples = "src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1"
	for line, want := range map[string]string{
		"":                                      "line 1, column 1: the protocol is missing",
		"   ":                                   "line 1, column 4: the protocol is missing",
		"tpc SYN_SENT " + tuples:                `line 1, column 1: "tpc" is not a protocol`,
		"tcp":                                   "line 1, column 4: the TCP state is missing",
		"tcp SYN_SNT " + tuples:                 `line 1, column 5: "SYN_SNT" is not a TCP state`,
		"tcp " + tuples:                         `line 1, column 5: "src=10.0.0.1" is not a TCP state`,
		"tcp 17 9 SYN_SENT " + tuples:           `line 1, column 5: "17" is not the number of tcp`,
		"tcp 300 9 SYN_SENT " + tuples:          `line 1, column 5: "300" is not a valid 8-bit number`,
		"ipv4 10 tcp 6 9 CLOSE " + tuples:       `line 1, column 6: "10" is not the number of ipv4`,
		"ipv6 10 udp 17 9 " + tuples:            `line 1, column 18: "src=10.0.0.1" is not of ipv6`,
		"unknown " + tuples:                     `line 1, column 9: "src=10.0.0.1" is not a protocol number`,
		"sctp Open! " + tuples:                  `line 1, column 6: "Open!" is not a state of sctp`,
		"udp ESTABLISHED " + tuples:             `line 1, column 5: "ESTABLISHED" is neither key=value nor in brackets`,
		"udp src=10.0.0":                        `line 1, column 5: "src=10.0.0" is not a valid IPv4 or IPv6 address`,
		"udp dst=10.0.0.1":                      `line 1, column 5: "dst=10.0.0.1" comes before src`,
		"udp src=10.0.0.1 dst=::1":              `line 1, column 18: "dst=::1" is not of ipv4`,
		"udp src=10.0.0.1 src=10.0.0.1":         "line 1, column 18: dst of the original direction is missing",
		"udp src=10.0.0.1 dst=10.0.0.2":         "line 1, column 30: sport of the original direction is missing",
		"udp " + tuples[:41]:                    "line 1, column 46: the tuple of the reply direction is missing",
		"udp " + tuples + " sport=5":            `line 1, column 89: "sport=5" is repeated`,
		"udp " + tuples + " mark=1 mark=1":      `line 1, column 96: "mark=1" is repeated`,
		"udp " + tuples + " src=10.0.0.1":       `line 1, column 89: "src=10.0.0.1" begins a third tuple`,
		"udp " + tuples + " mork=1":             `line 1, column 89: "mork=1" is not known`,
		"udp " + tuples + " mark":               `line 1, column 89: "mark" is neither key=value nor in brackets`,
		"udp " + tuples + " mark=09":            `line 1, column 89: "mark=09" is not a valid 32-bit number`,
		"udp " + tuples + " [ASURED]":           `line 1, column 89: "[ASURED]" is not known`,
		"udp " + tuples + " [ASSURED":           `line 1, column 89: "[ASSURED" has no closing bracket`,
		"udp " + tuples + " [start=now]":        `line 1, column 89: "[start=now]" is not a time like "Mon Jan _2 15:04:05 2006"`,
		"udp " + tuples + " labels=xy":          `line 1, column 89: "labels=xy" is not up to 16 bytes in hexadecimal`,
		"udp " + tuples + " helper=":            `line 1, column 89: "helper=" is empty`,
		"udp " + tuples + " zone=1 zone-orig=2": `line 1, column 96: "zone-orig=2" is a second zone`,
	} {
		_, err := nf.ParseEntry(line)
		var pe *nf.ParseError
		if !errors.As(err, &pe) || err.Error() != want {
			t.Errorf("%s\ngot  %v\nwant %s", line, err, want)
		}
	}
}

// A text may have comments, as in a test's expected table.
func TestParseEntriesReadsATable(t *testing.T) {
	t.Parallel()
	const text = `
		# the first client
		tcp ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 [ASSURED] # answered

		udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 helper=a#b
conntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown.
`
	entries, err := nf.ParseEntries(text)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.String())
	}
	want := []string{
		"tcp ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 [ASSURED]",
		"udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 helper=a#b",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseEntriesNamesTheLine(t *testing.T) {
	t.Parallel()
	_, err := nf.ParseEntries("\n# nothing yet\r\n  tcp SYN_SNT")
	if want := `line 3, column 7: "SYN_SNT" is not a TCP state`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if entries, err := nf.ParseEntries(""); len(entries) != 0 || err != nil {
		t.Errorf("of nothing: %v, %v", entries, err)
	}
}

// Printing an entry and parsing it again gives the same entry.
func FuzzParseEntry(f *testing.F) {
	for _, line := range []string{
		"tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000",
		"ipv4     2 udp      17 97 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 packets=0 bytes=0 [UNREPLIED] src=10.0.0.2 dst=1.2.3.4 sport=2 dport=1 zone-reply=7 packets=0 bytes=0 mark=0 delta-time=2 [start=Tue Nov 24 16:09:55 2026] use=1 id=2992848901",
		"icmpv6 src=fd00::1 dst=fd00::2 type=128 code=0 id=77 src=fd00::2 dst=fd00::1 type=129 code=0 id=77 helper=x labels=01",
		"unknown  50 99 src=10.0.0.1 dst=10.0.0.2 src=10.0.0.2 dst=10.0.0.1 [OFFLOAD]",
		"gre src=10.0.0.1 dst=10.0.0.2 srckey=0x1 dstkey=0x2 src=10.0.0.2 dst=10.0.0.1 srckey=0x2 dstkey=0x1",
		"dccp OPEN src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		e, err := nf.ParseEntry(line)
		if err != nil {
			if pe := new(nf.ParseError); !errors.As(err, &pe) || pe.Column < 1 || pe.Column > len(line)+1 {
				t.Errorf("%q: %v", line, err)
			}
			return
		}
		canonical := e.String()
		again, err := nf.ParseEntry(canonical)
		if err != nil || again.String() != canonical {
			t.Errorf("%q\nread as    %s\nread again %s (%v)", line, canonical, again, err)
		}
		if _, err := nf.ParseEntries(canonical); err != nil {
			t.Errorf("%q as a text: %v", canonical, err)
		}
	})
}

func BenchmarkParseEntry(b *testing.B) {
	const line = "ipv4     2 tcp      6 97 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 packets=0 bytes=0 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 packets=0 bytes=0 [ASSURED] mark=3 zone=4 delta-time=2 use=1"
	for b.Loop() {
		if _, err := nf.ParseEntry(line); err != nil {
			b.Fatal(err)
		}
	}
}
