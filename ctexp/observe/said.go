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

func (s Said) of() saidOf { return saidOf{s.Family, s.Proto, numberless(s.Text)} }

// compare sorts the most frequent to the front.
func (s Said) compare(t Said) int {
	return cmp.Or(
		cmp.Compare(t.Packets, s.Packets), cmp.Compare(s.Family, t.Family), cmp.Compare(s.Proto, t.Proto), cmp.Compare(s.Text, t.Text))
}

// passed is Reason.Passed.
func (s Said) passed() bool { return Reason{Text: s.Text}.Passed() }

// subSaid returns what was said between before and after.
func subSaid(after, before []Said) []Said {
	earlier := map[saidOf]uint64{}
	for _, s := range before {
		earlier[s.of()] = s.Packets
	}
	var d []Said
	for _, s := range after {
		if s.Packets = monus(s.Packets, earlier[s.of()]); s.Packets > 0 {
			d = append(d, s)
		}
	}
	return d
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
