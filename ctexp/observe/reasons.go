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
)

// Reason is what conntrack has to say about a packet: nearly always why it is INVALID, sometimes why it let one pass all
// the same ("packet (index 0) in dir 0 ignored, state ESTABLISHED").
type Reason struct {
	// Time is when the kernel had the packet, to the microsecond, whose end it is here: by time a reason stands behind
	// the frame of its packet. Where the kernel does not tell, it is when the Observer read the reason.
	Time time.Time
	Link string // by which the packet came in; of the host's own packets, by which it would leave
	// Packet begins at the network layer, as conntrack saw it: whole, where it came in fragments, and before any NAT.
	Packet []byte
	Text   string   // in the kernel's words: "SEQ is over upper bound 66537 (over the window of the receiver)"
	Proto  nf.Proto // whose tracker says so
}

// String prints the reason as one line, behind its packet:
//
//	12:00:00.000001 tun0 IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [none], win 65535, length 0: tcp: invalid tcp flag combination
func (r Reason) String() string {
	return fmt.Sprintf("%s %s %s: %v: %s", r.Time.Format("15:04:05.000000"), r.Link, pktline.Format(r.Packet), r.Proto, r.Text)
}

// Passed reports whether the reason is one of those that the kernel gives for packets that it then does not call INVALID,
// the entry staying as it is (net/netfilter/nf_conntrack_proto_tcp.c, NFCT_TCP_IGNORE, and the packets that are ignored in
// the table of states). With nf_conntrack_tcp_be_liberal others pass as well, which the text alone does not tell.
func (r Reason) Passed() bool {
	// Of kernels that call INVALID what is under the lower bound the text is "under the lower bound".
	for _, s := range []string{"ignored", "under lower bound", "bytes more than expected"} {
		if strings.Contains(r.Text, s) {
			return true
		}
	}
	return false
}

// ReasonCount is how often conntrack gave a reason (see Reason).
type ReasonCount struct {
	Family nf.Family // of the packets
	Proto  nf.Proto
	// Text is the reason. Texts that differ only in their numbers are counted together, with N in the place of a number.
	Text    string
	Packets uint64
}

// String prints it as "2 × tcp: SEQ is over upper bound N (over the window of the receiver)", without the number of one.
func (s ReasonCount) String() string {
	times := ""
	if s.Packets != 1 {
		times = fmt.Sprintf("%d × ", s.Packets)
	}
	return fmt.Sprintf("%s%v: %s", times, s.Proto, s.Text)
}

// passed is Reason.Passed.
func (s ReasonCount) passed() bool { return Reason{Text: s.Text}.Passed() }

// saidOf is what reasons are counted by.
type reasonKey struct {
	family nf.Family
	proto  nf.Proto
	text   string // numberless
}

// key is what it is counted by.
func (s ReasonCount) key() reasonKey { return reasonKey{s.Family, s.Proto, numberless(s.Text)} }

// compare sorts the most frequent to the front.
func (s ReasonCount) compare(t ReasonCount) int {
	return cmp.Or(
		cmp.Compare(t.Packets, s.Packets), cmp.Compare(s.Family, t.Family), cmp.Compare(s.Proto, t.Proto), cmp.Compare(s.Text, t.Text))
}

// sub subtracts the count of t, and reports whether anything is left.
func (s *ReasonCount) sub(t ReasonCount) bool {
	s.Packets = saturatingSub(s.Packets, t.Packets)
	return s.Packets > 0
}

// numberless puts N in the place of each number.
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

// NoReason is the text of a Reason of a Record's Unexplained.
const NoReason = "the kernel gives no reason"

// ReasonsOf tells which reasons belong to which frame: of[i] has those of frames[i], in their order. A reason belongs to
// the frame of the same packet that came in by the same link, or, of the host's own packets, left by it; of several such
// frames to the one of the same microsecond, else to the first in order that has none of that text yet. What fits no frame
// is the rest: packets that came in fragments, that a rule has changed before conntrack saw them, or that were not captured.
func ReasonsOf(frames []packet.Record, reasons []Reason) (of [][]Reason, rest []Reason) {
	of = make([][]Reason, len(frames))
	same := framesByPacket(frames, reasons)
	next := map[reasonOn]int{} // among the frames of that packet the first that may have none of that text
	for _, r := range reasons {
		i := -1
		// The bytes agree but for the checksums of the host's own packets.
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

// packetOn is what tells frames apart.
type packetOn struct{ link, packet string }

type reasonOn struct {
	packetOn
	text  string
	proto nf.Proto
}

// alike are the frames of one packet, by their indices.
type frameIndex struct {
	order []int
	at    map[int64][]int // by their microsecond
}

// framesByPacket finds the frames of the packets that there are reasons for; of those that left also without checksums.
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
		if a := same[packetOn{f.Link, string(packet)}]; a != nil {
			a.order = append(a.order, i)
			a.at[f.Time.UnixMicro()] = append(a.at[f.Time.UnixMicro()], i)
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

// frameAtTime returns the frame of the reason's microsecond, or -1.
func frameAtTime(of [][]Reason, a *frameIndex, r Reason) int {
	for _, i := range a.at[r.Time.UnixMicro()] {
		if !hasReason(of[i], r) {
			return i
		}
	}
	return -1
}

// has reports whether a frame has a reason of the same text already.
func hasReason(reasons []Reason, r Reason) bool {
	for _, s := range reasons {
		if s.Text == r.Text && s.Proto == r.Proto {
			return true
		}
	}
	return false
}

// withoutChecksums returns a packet without what differs between the host's own packet in the hooks and the same on the wire: the
// checksum of its transport header, which may be left to the link, and that of the IPv4 header with the time to live, which
// a router changes.
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

// unexplained returns which of the packets that conntrack called INVALID have no reason, those of frames.
func unexplained(frames []packet.Record, reasons, called []Reason) []Reason {
	if len(called) == 0 {
		return nil
	}
	said, _ := ReasonsOf(frames, reasons)
	invalid, _ := ReasonsOf(frames, called)
	var none []Reason
	for i := range frames {
		if len(invalid[i]) > 0 && len(said[i]) == 0 {
			r := invalid[i][0]
			r.Text = NoReason
			none = append(none, r)
		}
	}
	return none
}

// reasonlog is what conntrack has said so far.
type reasonlog struct {
	mu          sync.Mutex
	limit       int // of reasons kept
	reasons     []Reason
	invalid     []Reason                   // packets that conntrack called INVALID, without a text
	counted     map[reasonKey]*ReasonCount // of all, kept or not
	lost        lostReasons
	next        uint32 // number of the next packet that is logged with a reason
	invalidLost uint64 // of the INVALID ones, those that found the receive buffer full
	nextInvalid uint32 // number of the next of these
}

// maxReasons bounds what is kept; a flood of INVALID packets gives one each.
const maxReasons = 100_000

// add keeps what one datagram says. Links are named by link; now is the time of what has none.
func (l *reasonlog) add(datagram []byte, now time.Time, link func(index int32) string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return nfnl.EachLogged(datagram, func(p nfnl.Logged) error {
		if p.Group == ours.InvalidGroup {
			if p.HasSeq {
				l.invalidLost += uint64(p.Seq - l.nextInvalid)
				l.nextInvalid = p.Seq + 1
			}
			if len(l.invalid) >= l.limit {
				l.invalidLost++
				return nil
			}
			l.invalid = append(l.invalid, reasonOf(p, now, link))
			return nil
		}
		if p.HasSeq && p.Seq != l.next {
			l.lost.unread += uint64(p.Seq - l.next) // the number goes round as the kernel's does
			l.lost.tail = false
		}
		l.next = p.Seq + 1
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

// splitReason cuts the prefix of a logged packet into the protocol and the text. ok is false for what is not conntrack's
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

// familyOf returns the family of a packet that begins at the network layer; 0 if it has none.
func familyOf(packet []byte) nf.Family {
	switch header.Version(packet) {
	case 4:
		return nf.IPv4
	case 6:
		return nf.IPv6
	}
	return 0
}

// overrun says that there was no room for something. How much shows in the number of what comes next.
func (l *reasonlog) overrun() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost.tail = true
}

// snapshot returns the reasons so far, which later ones do not change, and what is missing among them.
func (l *reasonlog) snapshot() ([]Reason, lostReasons) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reasons[:len(l.reasons):len(l.reasons)], l.lost
}

// called returns the packets that were called INVALID so far, and how many of them are missing.
func (l *reasonlog) invalidPackets() ([]Reason, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.invalid[:len(l.invalid):len(l.invalid)], l.invalidLost
}

// count adds to how often it was said. Texts that differ in their numbers count as one.
func (l *reasonlog) count(s ReasonCount) {
	if l.counted == nil {
		l.counted = map[reasonKey]*ReasonCount{}
	}
	known := l.counted[s.key()]
	if known == nil {
		l.counted[s.key()] = &s
		return
	}
	known.Packets += s.Packets
	if known.Text != s.Text {
		known.Text = numberless(s.Text)
	}
}

// counts returns how often each text was said, kept or not, in an order of its own.
func (l *reasonlog) counts() []ReasonCount {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := make([]ReasonCount, 0, len(l.counted))
	for _, s := range l.counted {
		counts = append(counts, *s)
	}
	slices.SortFunc(counts, ReasonCount.compare)
	return counts
}

// lostReasons counts what is missing among the reasons.
type lostReasons struct {
	unread uint64 // found the receive buffer full, by the numbers that lack
	tail   bool   // so did the latest, nobody knows how many: no number has come since
	beyond uint64 // came when the limit was reached
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
		s = append(s, fmt.Sprintf("%d came when as many were kept as fit", l.beyond))
	}
	return strings.Join(s, ", ")
}
