package nf_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// listed returns the entries and expectations of a text as lines, and what is wrong with it.
func listed(text string) string {
	l, err := nf.ParseListing(text)
	var b strings.Builder
	for _, e := range l.Entries {
		b.WriteString(e.String() + "\n")
	}
	for _, x := range l.Expectations {
		b.WriteString("expected: " + x.String() + "\n")
	}
	if err != nil {
		b.WriteString("wrong: " + err.Error() + "\n")
	}
	return b.String()
}

// A line whose first entry cannot be read is not that of another one behind it, and its family is that of its addresses.
func TestHalfALineIsNoEntry(t *testing.T) {
	t.Parallel()
	const entry = "udp 17 29 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1"
	for _, line := range []string{
		strings.Replace(entry, "dport=1", "dprt=1", 1) + " " + entry, "ipv6 10 " + entry,
		entry + " [start=Tue Dec  1 12:00:00 2026] [start=Tue Dec  1 13:00:00 2026]", entry + " [ASSURED] [ASSURED]",
	} {
		if l, err := nf.ParseListing(line); err == nil || len(l.Entries) > 0 {
			t.Errorf("%s: got %v, %v", line, l.Entries, err)
		}
	}
	if l, err := nf.ParseListing("12:00 ipv4 2 " + entry); err != nil || len(l.Entries) != 1 {
		t.Errorf("got %v, %v", l.Entries, err)
	}
}

// The same flow is read from each form in which conntrack and /proc print it.
func TestListingsOfEveryFormAreRead(t *testing.T) {
	t.Parallel()
	const flow = "udp src=198.18.0.2 dst=192.0.2.1 sport=1 dport=2 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=2 dport=1"
	const tuples = "src=198.18.0.2 dst=192.0.2.1 sport=1 dport=2 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=2 dport=1"
	for name, text := range map[string]string{
		"list":               "udp      17 26 " + tuples + " mark=0 use=1",
		"extended":           "ipv4     2 udp      17 26 " + tuples + " mark=0 zone=0 use=2",
		"event":              "    [NEW] udp      17 30 " + tuples,
		"event with time":    "[1700000000.123456]\t    [NEW] udp      17 30 " + tuples + " id=3",
		"event of a socket":  " [DESTROY] udp      17 " + tuples + " portid=4711",
		"event by ctnetlink": " [UPDATE] udp      17 99 " + tuples + " [USERSPACE] portid=2379940308",
		"saved event":        "-U -t 99 -u UNSET -s 198.18.0.2 -d 192.0.2.1 -r 192.0.2.1 -q 198.18.0.2 -p udp --sport 1 --dport 2 --reply-port-src 2 --reply-port-dst 1 [USERSPACE] portid=4",
		"log":                "Nov 29 12:00:00 gateway conntrack[12]: [UPDATE] udp 17 30 " + tuples,
		"with prompts":       "root@gw:~# conntrack -L\nudp 17 26 " + tuples + "\n^Cconntrack v1.4.7 (conntrack-tools): 1 flow entries have been shown.\n$ sudo cat /proc/net/nf_conntrack\r\n",
		"save":               "-A -t 26 -u UNSET -s 198.18.0.2 -d 192.0.2.1 -r 192.0.2.1 -q 198.18.0.2 -p udp --sport 1 --dport 2 --reply-port-src 2 --reply-port-dst 1",
		"xml": `<?xml version="1.0" encoding="utf-8"?>
<conntrack>
<flow><meta direction="original"><layer3 protonum="2" protoname="ipv4"><src>198.18.0.2</src><dst>192.0.2.1</dst></layer3><layer4 protonum="17" protoname="udp"><sport>1</sport><dport>2</dport></layer4></meta><meta direction="reply"><layer3 protonum="2" protoname="ipv4"><src>192.0.2.1</src><dst>198.18.0.2</dst></layer3><layer4 protonum="17" protoname="udp"><sport>2</sport><dport>1</dport></layer4></meta><meta direction="independent"><timeout>26</timeout><mark>0</mark><use>1</use><id>7</id><unreplied/></meta></flow>
</conntrack>`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(flow+"\n", withoutID(listed(text))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// tuple returns the tuple between two addresses with ports.
func tuple(p nf.Proto, src, dst string) nf.Tuple {
	return nf.Tuple{Proto: p, Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst)}
}

// withoutID removes the numbers of entries.
func withoutID(s string) string {
	for _, id := range []string{" id=3", " id=7"} {
		s = strings.ReplaceAll(s, id, "")
	}
	return s
}

// All values of a saved entry and of one in XML are read, and of another protocol than TCP the state, too.
func TestListingsHaveAllValues(t *testing.T) {
	t.Parallel()
	saved, err := nf.ParseEntries("-A -t 112 -u SEEN_REPLY,ASSURED -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.9 -q 10.0.0.1 -p tcp --sport 1 --dport 2 " +
		"--reply-port-src 3 --reply-port-dst 1 --state ESTABLISHED -m 5 --orig-zone 6 -l 0x01")
	if err != nil {
		t.Fatal(err)
	}
	inXML, err := nf.ParseEntries(`<flow><meta direction="original"><layer3><src>10.0.0.1</src><dst>10.0.0.2</dst></layer3>` +
		`<layer4 protonum="6"><sport>1</sport><dport>2</dport></layer4><counters><packets>3</packets><bytes>120</bytes></counters></meta>` +
		"\n" + `<meta direction="reply"><layer3><src>10.0.0.9</src><dst>10.0.0.1</dst></layer3><layer4 protonum="6"><sport>3</sport><dport>1</dport></layer4></meta>` +
		`<meta direction="independent"><state>ESTABLISHED</state><timeout>112</timeout><mark>5</mark><zone>6</zone><assured/></meta></flow>`)
	if err != nil {
		t.Fatal(err)
	}
	want := nf.Entry{
		Orig: tuple(nf.TCP, "10.0.0.1:1", "10.0.0.2:2"), Reply: tuple(nf.TCP, "10.0.0.9:3", "10.0.0.1:1"),
		Status: nf.Confirmed | nf.SeenReply | nf.Assured, State: nf.Established, Timeout: 112 * time.Second, Mark: 5, Zone: 6,
	}
	ofXML := want
	ofXML.Packets.Orig, ofXML.Bytes.Orig = 3, 120
	want.ZoneDir, want.Labels = nf.Original, "01"
	if diff := cmp.Diff([]nf.Entry{want, ofXML}, append(saved, inXML...), comparable); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Ports that a line of /proc does not have are zero: up to 6.12 it names DCCP, later kernels do not know it.
func TestUnknownProtocolHasNoPorts(t *testing.T) {
	t.Parallel()
	got := listed("ipv4     2 unknown  33 595 src=198.18.0.2 dst=192.0.2.1 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 mark=0 zone=0 use=2")
	want := "dccp src=198.18.0.2 dst=192.0.2.1 sport=0 dport=0 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=0 dport=0\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Expectations are listed for themselves, with or without the name of an event.
func TestExpectationsAreRead(t *testing.T) {
	t.Parallel()
	const line = "300 proto=6 src=198.18.0.2 dst=192.0.2.1 sport=0 dport=20001 mask-src=255.255.255.255 mask-dst=255.255.255.255 sport=0 dport=65535 " +
		"master-src=198.18.0.2 master-dst=192.0.2.1 sport=1 dport=21 class=1 helper=ftp"
	want := nf.Expectation{
		Tuple:  tuple(nf.TCP, "198.18.0.2:0", "192.0.2.1:20001"),
		Mask:   tuple(nf.TCP, "255.255.255.255:0", "255.255.255.255:65535"),
		Master: tuple(nf.TCP, "198.18.0.2:1", "192.0.2.1:21"), Timeout: 300 * time.Second, Class: 1, Helper: "ftp",
	}
	for _, text := range []string{line, "    [NEW] " + line} {
		l, err := nf.ParseListing(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(nf.Listing{Expectations: []nf.Expectation{want}}, l, comparable); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// A line that cannot be read is named, and those behind it are read.
func TestListingGoesOnBehindWrongLines(t *testing.T) {
	t.Parallel()
	const good = "udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1"
	entries, err := nf.ParseEntries("hello\n" + good + "\n[NEW] tcp 6 30 SYN_SNT src=10.0.0.1\n-A -p udp -s 10.0.0.1\n-A -p udp -x 1\n" +
		"300 mask-src=x\n<flow><meta direction=\"original\"></meta></flow>\n" + good +
		"\n-A -t 1 -u ASSURED,WHAT -s 10.0.0.1\n")
	want := `line 1, column 1: "hello" is not a protocol
line 3, column 16: "SYN_SNT" is not a TCP state
line 4, column 22: -s, -d or -p is missing
line 5, column 14: "1" is the value of -x, which is not known
line 6, column 5: "mask-src=x" is not a valid IPv4 or IPv6 address
line 7, column 1: the flow in XML: " > " are not two addresses
line 9, column 12: "ASSURED,WHAT" has "WHAT", which is no status: want ASSURED, EXPECTED, FIXED_TIMEOUT, HW_OFFLOAD, OFFLOAD, SEEN_REPLY, UNSET`
	if err == nil || err.Error() != want || len(entries) != 2 {
		t.Errorf("got %d entries and\n%v\nwant 2 and\n%s", len(entries), err, want)
	}
	var first *nf.ParseError
	if !errors.As(err, &first) || first.Line != 1 {
		t.Errorf("got %+v as the first", first)
	}
}

// The entry of an event that tells of its end is dying.
func TestEndedEntriesAreDying(t *testing.T) {
	t.Parallel()
	const tuples = "src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1"
	const flow = `<meta direction="original"><layer3><src>10.0.0.1</src><dst>10.0.0.2</dst></layer3><layer4 protonum="17"/></meta></flow>`
	entries, err := nf.ParseEntries("[1700000000.1]\t [UPDATE] udp 17 30 " + tuples + "\n[1700000000.2]\t[DESTROY] udp 17 " + tuples +
		"\n-D -s 10.0.0.1 -d 10.0.0.2 -p udp" +
		"\n<flow type=\"new\">" + flow + "\n<flow type=\"destroy\">" + flow + " [USERSPACE] portid=3")
	if err != nil {
		t.Fatal(err)
	}
	var got []bool
	for _, e := range entries {
		got = append(got, e.Status.Has(nf.Dying))
	}
	if diff := cmp.Diff([]bool{false, true, false, true, true}, got); diff != "" { // those in XML first
		t.Errorf("which are dying (-want +got):\n%s", diff)
	}
}

// A state in XML that is none of TCP's is an error for TCP alone.
func TestStatesInXMLAreChecked(t *testing.T) {
	t.Parallel()
	flow := func(proto string) string {
		return `<flow><meta direction="original"><layer3><src>10.0.0.1</src><dst>10.0.0.2</dst></layer3><layer4 protonum="` + proto +
			`"/></meta><meta direction="independent"><state>COOKIE_WAIT</state></meta></flow>`
	}
	if l, err := nf.ParseEntries(flow("132")); err != nil || l[0].OtherState != "COOKIE_WAIT" {
		t.Errorf("SCTP: got %v, %v", l, err)
	}
	if _, err := nf.ParseEntries(flow("6")); err == nil || !strings.Contains(err.Error(), `"COOKIE_WAIT" is not a TCP state`) {
		t.Errorf("TCP: got %v", err)
	}
}
