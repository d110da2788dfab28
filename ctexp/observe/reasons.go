package observe

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
	"github.com/ctexp/go-ctexp/internal/pktline"
	"github.com/ctexp/go-ctexp/internal/plain"
)

// Reason is a log message of conntrack about a packet: almost always why the packet is INVALID, sometimes why it
// passed anyway ("packet (index 0) in dir 0 ignored, state ESTABLISHED").
type Reason struct {
	// Time is the kernel's receive time of the packet, rounded up to the end of its microsecond so that a reason
	// sorts after the frame of its packet. If the kernel does not report it, it is when the Observer read the reason.
	Time time.Time
	// Link is the link by which the packet came in, or by which a packet of the host itself would leave. It is empty if the
	// kernel does not report it, as in 5.10 (net/netfilter/nf_conntrack_proto.c, nf_ct_l4proto_log_invalid).
	Link string
	// Packet begins at the network layer, as conntrack saw it: reassembled if it was fragmented, and before any NAT.
	Packet []byte
	Text   string   // in the kernel's words: "SEQ is over upper bound 66537 (over the window of the receiver)"
	Proto  nf.Proto // the protocol whose tracker logged it
}

// String prints the reason on one line, after its packet:
//
//	12:00:00.000001 tun0 IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [none], win 65535, length 0: tcp: invalid tcp flag combination
func (r Reason) String() string {
	at := r.Time.Format("15:04:05.000000")
	if r.Link != "" {
		at += " " + r.Link
	}
	return fmt.Sprintf("%s %s: %v: %s", at, pktline.Format(r.Packet), r.Proto, plain.Line(r.Text))
}

// Passed reports whether the kernel logs this reason for packets that it does not mark INVALID and that leave the
// entry as it is (net/netfilter/nf_conntrack_proto_tcp.c, NFCT_TCP_IGNORE, and the packets that the state table
// ignores). With nf_conntrack_tcp_be_liberal other packets pass as well, which the text does not show.
func (r Reason) Passed() bool {
	// Kernels that mark packets below the lower bound INVALID log "under the lower bound".
	for _, s := range []string{"ignored", "under lower bound", "bytes more than expected"} {
		if strings.Contains(r.Text, s) {
			return true
		}
	}
	return false
}

// ReasonCount is how often conntrack logged a reason (see Reason).
type ReasonCount struct {
	Family nf.Family // of the packets; zero if it is not known
	Proto  nf.Proto  // the protocol whose tracker logged it
	// Text is the reason. Texts that differ only in numbers are counted together, with N in place of each number.
	Text    string
	Packets uint64 // how many packets had the reason
}

// String prints the count as "2 × tcp: SEQ is over upper bound N (over the window of the receiver)", without a number
// if it is one.
func (s ReasonCount) String() string {
	times := ""
	if s.Packets != 1 {
		times = fmt.Sprintf("%d × ", s.Packets)
	}
	return fmt.Sprintf("%s%v: %s", times, s.Proto, s.Text)
}

// passed is Reason.Passed of the text.
func (s ReasonCount) passed() bool { return Reason{Text: s.Text}.Passed() }

// reasonKey is what reasons are counted by.
type reasonKey struct {
	family nf.Family
	proto  nf.Proto
	text   string // as numberless returns it
}

// key returns what s is counted by.
func (s ReasonCount) key() reasonKey { return reasonKey{s.Family, s.Proto, numberless(s.Text)} }

// compare orders by frequency, the most frequent first.
func (s ReasonCount) compare(t ReasonCount) int {
	return cmp.Or(
		cmp.Compare(t.Packets, s.Packets), cmp.Compare(s.Family, t.Family), cmp.Compare(s.Proto, t.Proto), cmp.Compare(s.Text, t.Text))
}

// sub subtracts the count of t, and reports whether anything is left.
func (s *ReasonCount) sub(t ReasonCount) bool {
	s.Packets = saturatingSub(s.Packets, t.Packets)
	return s.Packets > 0
}

// numberless replaces each number with N.
func numberless(text string) string {
	var b strings.Builder
	number := false
	for _, r := range text {
		digit := r >= '0' && r <= '9'
		switch {
		case !digit:
			b.WriteRune(r)
		case !number:
			b.WriteByte('N')
		}
		number = digit
	}
	return b.String()
}

// NoReason is the Text of the reasons in Record.Unexplained.
const NoReason = "the kernel gives no reason"

// ReasonsOf assigns reasons to frames: of[i] has the reasons of frames[i], in their order. A reason belongs to the
// frame of the same packet that came in by the same link, or, for packets of the host itself, left by it; if its link is
// not known, to that on any link. Of several such frames it belongs to the one of the same microsecond, otherwise to the first one without a reason of the same
// text. rest has the reasons without a frame: of packets that were fragmented, changed by a rule before conntrack, or
// not captured.
func ReasonsOf(frames []packet.Record, reasons []Reason) (of [][]Reason, rest []Reason) {
	of = make([][]Reason, len(frames))
	same := framesByPacket(frames, reasons)
	next := map[reasonOn]int{} // index of the first frame of that packet that may lack that text
	for _, r := range reasons {
		i := -1
		// The bytes may differ in the checksums of the host's own packets.
		for _, p := range []packetOn{{r.Link, string(r.Packet)}, {r.Link, string(withoutChecksums(r.Packet))}} {
			about := reasonOn{p, r.Text, r.Proto}
			i = frameAtTime(of, same[p], r)
			for ; i < 0 && next[about] < len(same[p].order); next[about]++ {
				if j := same[p].order[next[about]]; !hasReason(of[j], r) {
					i = j
				}
			}
			if i >= 0 {
				break
			}
		}
		if i < 0 {
			rest = append(rest, r)
			continue
		}
		of[i] = append(of[i], r)
	}
	return of, rest
}

// packetOn identifies a packet on a link, or on any if link is empty.
type packetOn struct{ link, packet string }

type reasonOn struct {
	packetOn
	text  string
	proto nf.Proto
}

// frameIndex has the indices of the frames of one packet.
type frameIndex struct {
	order []int
	at    map[int64][]int // by microsecond
}

// framesByPacket returns the frames of the packets that have reasons; those that left also without checksums.
func framesByPacket(frames []packet.Record, reasons []Reason) map[packetOn]*frameIndex {
	same := make(map[packetOn]*frameIndex, len(reasons))
	for _, r := range reasons {
		for _, p := range []packetOn{{r.Link, string(r.Packet)}, {r.Link, string(withoutChecksums(r.Packet))}} {
			if same[p] == nil {
				same[p] = &frameIndex{at: map[int64][]int{}}
			}
		}
	}
	add := func(i int, packet []byte) {
		f := frames[i]
		for _, link := range []string{f.Link, ""} {
			if a := same[packetOn{link, string(packet)}]; a != nil {
				a.order = append(a.order, i)
				a.at[f.Time.UnixMicro()] = append(a.at[f.Time.UnixMicro()], i)
			}
		}
	}
	for i, f := range frames {
		add(i, f.Packet)
		if f.Dir == packet.Out {
			add(i, withoutChecksums(f.Packet))
		}
	}
	return same
}

// frameAtTime returns the frame of the reason's microsecond that lacks the reason, or -1.
func frameAtTime(of [][]Reason, a *frameIndex, r Reason) int {
	for _, i := range a.at[r.Time.UnixMicro()] {
		if !hasReason(of[i], r) {
			return i
		}
	}
	return -1
}

// hasReason reports whether reasons has one with the same text as r.
func hasReason(reasons []Reason, r Reason) bool {
	for _, s := range reasons {
		if s.Text == r.Text && s.Proto == r.Proto {
			return true
		}
	}
	return false
}

// withoutChecksums returns a copy of a packet without what may differ between the host's own packet in the hooks and
// on the wire: the transport checksum, which may be offloaded to the link, and the IPv4 checksum and time to live,
// which a router changes.
func withoutChecksums(packet []byte) []byte {
	p := bytes.Clone(packet)
	v := header.Parse(p)
	l4 := v.Body(p)
	at, size := header.SumField(v.Proto, l4)
	clear(l4[at : at+size])
	if v.HasAddrs() {
		header.ClearHop(p)
	}
	return p
}

// unexplained returns the packets of frames that conntrack called INVALID without a reason.
func unexplained(frames []packet.Record, reasons, invalid []Reason) []Reason {
	if len(invalid) == 0 {
		return nil
	}
	explained, _ := ReasonsOf(frames, reasons)
	ofInvalid, _ := ReasonsOf(frames, invalid)
	var without []Reason
	for i := range frames {
		if len(ofInvalid[i]) > 0 && len(explained[i]) == 0 {
			r := ofInvalid[i][0]
			r.Text = NoReason
			without = append(without, r)
		}
	}
	return without
}

// reasonlog stores what conntrack logged.
type reasonlog struct {
	mu          sync.Mutex
	limit       int // of reasons kept
	reasons     []Reason
	classes     []packet.Record            // packets with what conntrack called them, if that is logged
	invalid     []Reason                   // packets that conntrack called INVALID, without a text
	counted     map[reasonKey]*ReasonCount // of all reasons, stored or not
	helpers     map[reasonKey]*ReasonCount // of packets that helpers dropped
	lost        lostReasons
	next        uint32 // sequence number of the next packet logged with a reason
	invalidLost uint64 // INVALID packets that found the receive buffer full
	nextInvalid uint32 // sequence number of the next INVALID packet
}

// maxReasons is the largest number of reasons that are kept. A flood of INVALID packets logs one each.
const maxReasons = 100_000

// add stores the packets of one datagram. link returns the name of a link; now is the time of a packet without one.
func (l *reasonlog) add(datagram []byte, now time.Time, link func(index int32) string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return nfnl.EachLogged(datagram, func(p nfnl.Logged) error {
		if p.Group == ours.InvalidGroup {
			if p.HasSeq {
				l.invalidLost += uint64(p.Seq - l.nextInvalid)
				l.nextInvalid = p.Seq + 1
			}
			if class, ok := nf.ClassNamed(p.Prefix); ok && len(l.classes) < l.limit {
				l.classes = append(l.classes, classified(reasonOf(p, now, link), p.In != 0, class))
				return nil
			}
			if p.Prefix != "" || len(l.invalid) >= l.limit {
				l.invalidLost++
				return nil
			}
			l.invalid = append(l.invalid, reasonOf(p, now, link))
			return nil
		}
		if p.HasSeq && p.Seq != l.next {
			l.lost.unread += uint64(p.Seq - l.next) // sequence numbers wrap like the kernel's
			l.lost.tail = false
		}
		l.next = p.Seq + 1
		if text, ok := splitHelper(p.Prefix); ok {
			l.countHelper(ReasonCount{Family: familyOf(p.Payload), Proto: nf.Proto(header.Parse(p.Payload).Proto), Text: text, Packets: 1})
			return nil
		}
		proto, text, ok := splitReason(p.Prefix)
		if !ok {
			return nil
		}
		l.count(ReasonCount{Family: familyOf(p.Payload), Proto: proto, Text: text, Packets: 1})
		if len(l.reasons) >= l.limit {
			l.lost.beyond++
			return nil
		}
		r := reasonOf(p, now, link)
		r.Text, r.Proto = text, proto
		l.reasons = append(l.reasons, r)
		return nil
	})
}

// reasonOf returns a logged packet as a Reason without a text.
func reasonOf(p nfnl.Logged, now time.Time, link func(index int32) string) Reason {
	r := Reason{Time: p.Time, Packet: bytes.Clone(p.Payload)}
	if r.Time.IsZero() {
		r.Time = now
	}
	switch {
	case p.In != 0:
		r.Link = link(p.In)
	case p.Out != 0:
		r.Link = link(p.Out)
	}
	return r
}

// classified returns a logged packet as a record of its class.
func classified(r Reason, in bool, class nf.Class) packet.Record {
	dir := packet.Out
	if in {
		dir = packet.In
	}
	rec := packet.Packet(r.Packet).On(r.Link, dir)
	rec.Time, rec.Class = r.Time, class
	return rec
}

// classifiedPackets returns the packets whose class was logged so far, and how many are missing.
func (l *reasonlog) classifiedPackets() ([]packet.Record, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.classes[:len(l.classes):len(l.classes)], l.invalidLost
}

// withClasses sets in frames the classes of their packets, as far as these can be joined: see ReasonsOf. It returns frames.
func withClasses(frames, classes []packet.Record) []packet.Record {
	texts := make([]Reason, len(classes)) // all of one text, so that a frame gets one
	class := map[*byte]nf.Class{}
	for i, c := range classes {
		texts[i] = Reason{Time: c.Time, Link: c.Link, Packet: c.Packet}
		if len(c.Packet) > 0 {
			class[&c.Packet[0]] = c.Class
		}
	}
	of, _ := ReasonsOf(frames, texts)
	for i := range frames {
		if len(of[i]) > 0 && len(of[i][0].Packet) > 0 {
			frames[i].Class = class[&of[i][0].Packet[0]]
		}
	}
	return frames
}

// splitReason splits the prefix of a logged packet into protocol and text. ok is false if it is not from conntrack
// (net/netfilter/nf_conntrack_proto.c, nf_ct_l4proto_log_invalid).
func splitReason(prefix string) (proto nf.Proto, text string, ok bool) {
	rest, ok := strings.CutPrefix(prefix, "nf_ct_proto_")
	if !ok {
		return 0, "", false
	}
	number, text, ok := strings.Cut(rest, ": ")
	n, err := strconv.ParseUint(number, 10, 8)
	if !ok || err != nil {
		return 0, "", false
	}
	return nf.Proto(n), strings.TrimSpace(text), true
}

// splitHelper returns the helper and the text of the prefix of a packet that it drops: "ftp: cannot add expectation"
// (net/netfilter/nf_conntrack_helper.c, nf_ct_helper_log). ok is false for any other.
func splitHelper(prefix string) (text string, ok bool) {
	rest, ok := strings.CutPrefix(prefix, "nf_ct_")
	helper, why, found := strings.Cut(rest, ": dropping packet: ")
	return helper + ": " + strings.TrimSpace(why), ok && found
}

// familyOf returns the family of a packet that begins at the network layer, or 0 if it is not IP.
func familyOf(packet []byte) nf.Family {
	switch header.Version(packet) {
	case 4:
		return nf.IPv4
	case 6:
		return nf.IPv6
	}
	return 0
}

// overrun records that messages were lost. The next sequence number shows how many.
func (l *reasonlog) overrun() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost.tail = true
}

// snapshot returns the reasons so far, which are not modified later, and what is missing among them.
func (l *reasonlog) snapshot() ([]Reason, lostReasons) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reasons[:len(l.reasons):len(l.reasons)], l.lost
}

// invalidPackets returns the packets that conntrack called INVALID so far, and how many of them are missing.
func (l *reasonlog) invalidPackets() ([]Reason, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.invalid[:len(l.invalid):len(l.invalid)], l.invalidLost
}

// count adds s to the counts.
func (l *reasonlog) count(s ReasonCount) { l.counted = addReason(l.counted, s) }

// countHelper adds a packet that a helper dropped to the counts of those.
func (l *reasonlog) countHelper(s ReasonCount) { l.helpers = addReason(l.helpers, s) }

// addReason adds s to counts, which may be nil. Texts that differ only in numbers are counted together.
func addReason(counts map[reasonKey]*ReasonCount, s ReasonCount) map[reasonKey]*ReasonCount {
	if counts == nil {
		counts = map[reasonKey]*ReasonCount{}
	}
	known := counts[s.key()]
	if known == nil {
		counts[s.key()] = &s
		return counts
	}
	known.Packets += s.Packets
	if known.Text != s.Text {
		known.Text = numberless(s.Text)
	}
	return counts
}

// counts returns how often each text was logged, stored or not, the most frequent first.
func (l *reasonlog) counts() []ReasonCount {
	l.mu.Lock()
	defer l.mu.Unlock()
	return sortedReasons(l.counted)
}

// helperDrops returns how often each helper dropped a packet, and why, the most frequent first.
func (l *reasonlog) helperDrops() []ReasonCount {
	l.mu.Lock()
	defer l.mu.Unlock()
	return sortedReasons(l.helpers)
}

func sortedReasons(counts map[reasonKey]*ReasonCount) []ReasonCount {
	sorted := make([]ReasonCount, 0, len(counts))
	for _, s := range counts {
		sorted = append(sorted, *s)
	}
	slices.SortFunc(sorted, ReasonCount.compare)
	return sorted
}

// lostReasons counts missing reasons.
type lostReasons struct {
	unread uint64 // found the receive buffer full, by the missing sequence numbers
	tail   bool   // an unknown number of the latest did so, too: no sequence number has followed
	beyond uint64 // reasons beyond the limit
}

// String says how many are missing and why.
func (l lostReasons) String() string {
	var s []string
	if l.unread > 0 {
		s = append(s, fmt.Sprintf("%d found the receive buffer full", l.unread))
	}
	if l.tail {
		s = append(s, "the latest found the receive buffer full")
	}
	if l.beyond > 0 {
		s = append(s, fmt.Sprintf("%d exceeded the limit", l.beyond))
	}
	return strings.Join(s, ", ")
}
