package observe

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Said is how often conntrack gave a reason (see Reason).
type Said struct {
	Family nf.Family // of the packets
	Proto  nf.Proto
	// Text is the reason. Texts that differ only in their numbers are counted together, with N in the place of a number.
	Text    string
	Packets uint64
}

// String prints it as "2 × tcp: SEQ is over upper bound N (over the window of the receiver)", without the number of one.
func (s Said) String() string {
	times := ""
	if s.Packets != 1 {
		times = fmt.Sprintf("%d × ", s.Packets)
	}
	return fmt.Sprintf("%s%v: %s", times, s.Proto, s.Text)
}

// saidOf is what reasons are counted by.
type saidOf struct {
	family nf.Family
	proto  nf.Proto
	text   string // numberless
}

// key is what it is counted by.
func (s Said) key() saidOf { return saidOf{s.Family, s.Proto, numberless(s.Text)} }

// compare sorts the most frequent to the front.
func (s Said) compare(t Said) int {
	return cmp.Or(
		cmp.Compare(t.Packets, s.Packets), cmp.Compare(s.Family, t.Family), cmp.Compare(s.Proto, t.Proto), cmp.Compare(s.Text, t.Text))
}

// passed is Reason.Passed.
func (s Said) passed() bool { return Reason{Text: s.Text}.Passed() }

// sub subtracts the count of t, and reports whether anything is left.
func (s *Said) sub(t Said) bool {
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
