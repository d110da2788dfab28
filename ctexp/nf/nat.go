package nf

import (
	"fmt"
	"net/netip"
	"strings"
)

// NAT says what the kernel translates in the packets of a flow. The zero NAT is nothing.
type NAT struct {
	// Src is the change of the original direction's source: SNAT and masquerading, at postrouting (or input).
	Src Translation
	// Dst is the change of its destination: DNAT and redirection, at prerouting (or output).
	Dst Translation
}

// Translation is the change of one end of a flow's original direction. Answers are translated back from To to From.
// The zero Translation is none. For ICMP the port is the query's identifier, for GRE the key.
type Translation struct{ From, To netip.AddrPort }

// NAT returns what is translated, which is the difference between the two tuples: answers go to where the flow seems to
// come from, and come from where it really goes to.
func (e Entry) NAT() NAT {
	if !e.Orig.Src.IsValid() || !e.Reply.Src.IsValid() {
		return NAT{} // not all of an entry is there
	}
	src, dst := ends(e.Orig)
	back, to := ends(e.Reply.Reverse())
	return NAT{Src: translation(src, back), Dst: translation(dst, to)}
}

// ends returns the two ends of a tuple, with the identifier of an ICMP query as the port of its source.
func ends(t Tuple) (src, dst netip.AddrPort) {
	if t.Proto.IsICMP() {
		return netip.AddrPortFrom(t.Src.Addr(), t.ICMP.ID), netip.AddrPortFrom(t.Dst.Addr(), 0)
	}
	return t.Src, t.Dst
}

func translation(from, to netip.AddrPort) Translation {
	if from == to {
		return Translation{}
	}
	return Translation{From: from, To: to}
}

// String prints what is translated: "src 10.0.0.2:1000 to 192.0.2.9:1000, dst 192.0.2.9:80 to 10.0.0.3:8080"; empty for
// the zero NAT.
func (n NAT) String() string {
	var s []string
	for _, c := range []struct {
		end string
		t   Translation
	}{{"src", n.Src}, {"dst", n.Dst}} {
		if c.t != (Translation{}) {
			s = append(s, fmt.Sprintf("%s %v to %v", c.end, c.t.From, c.t.To))
		}
	}
	return strings.Join(s, ", ")
}
