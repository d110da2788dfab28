package observe

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestDiagramOfAFullTable(t *testing.T) {
	t.Parallel()
	golden(t, "path-full-table.txt", fullTable().String())
}

// Packets of both families that get lost everywhere.
func TestDiagramOfARouter(t *testing.T) {
	t.Parallel()
	n := uint64(20000)
	p := pathOf(func(p nf.Probe) uint64 {
		if n -= 7; p.Hook == nf.Forward && p.Priority < 0 {
			n -= 500
		}
		return n
	})
	p.Dropped, p.Invalid, p.Silenced = 9, 2, 1
	golden(t, "path-router.txt", p.String())
}

func TestDiagramOfNothing(t *testing.T) {
	t.Parallel()
	if got := (Path{}).String(); got != "no packet met a probe\n" {
		t.Errorf("got %q", got)
	}
}

// Everything that a path may know of why packets are missing.
func TestDiagramOfManyCauses(t *testing.T) {
	t.Parallel()
	counts := arrive(20, 20)
	for name, n := range map[string]uint64{
		"mangle/input": 18, "filter/input": 18, "security/input": 15, "nat/input": 15, "confirm/input": 15, "confirmed/input": 10,
	} {
		counts[name] = n
	}
	p := pathOf(func(p nf.Probe) uint64 { return counts[p.Name] })
	p.Invalid, p.ICMPErrors = 4, 1
	p.MIB = map[string]uint64{"IpExtInNoRoutes": 1, "IpExtInCsumErrors": 2}
	p.Drops = []Drop{{
		Hook: nf.Input,
		Rule: Rule{Backend: "nft", Family: "ip", Table: "u", Chain: "in", Kind: KindRule, Text: "tcp dport 80 drop", Counted: true, Packets: 3, Bytes: 120},
	}}
	p.Reasons = []ReasonCount{
		{Family: nf.IPv4, Proto: nf.TCP, Text: "SEQ is over upper bound N (over the window of the receiver)", Packets: 2},
		{Family: nf.IPv4, Proto: nf.TCP, Text: "packet (index 0) in dir 0 ignored, state ESTABLISHED", Packets: 1},
		{Family: nf.IPv4, Proto: nf.UDP, Text: "bad checksum", Packets: 1},
	}
	golden(t, "path-causes.txt", p.String())
}
