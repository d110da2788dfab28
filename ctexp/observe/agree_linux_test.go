package observe_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// manyKinds opens an Env whose table has an entry of every kind that the forms tell apart.
func manyKinds(t *testing.T) lab {
	t.Helper()
	x := open(t, netnsenv.Config{Silent: true, Sysctls: map[string]string{
		"net.netfilter.nf_conntrack_acct": "1", "net.netfilter.nf_conntrack_timestamp": "1",
	}})
	for _, e := range []nf.Entry{
		entry(web.Nth(1), func(e *nf.Entry) { e.Status |= nf.SeenReply | nf.Assured; e.Mark = 3 }),
		entry(web.Nth(2), func(e *nf.Entry) { e.Zone, e.State = 7, nf.TimeWait }),
		entry(web.Nth(3), func(e *nf.Entry) { e.Zone, e.ZoneDir = 7, nf.Original }),
		entry(web.Nth(4), func(e *nf.Entry) { e.Zone, e.ZoneDir = 7, nf.Reply }),
		entry(web6, func(e *nf.Entry) { e.Orig.Proto, e.Reply.Proto, e.State = nf.UDP, nf.UDP, 0 }),
		entry(web, func(e *nf.Entry) {
			e.Orig.Proto, e.Reply.Proto, e.State = 50, 50, 0
			e.Orig, e.Reply = noPorts(e.Orig), noPorts(e.Reply)
		}),
		entry(web, func(e *nf.Entry) { e.Orig.Proto, e.Reply.Proto, e.State = nf.GRE, nf.GRE, 0 }),
		entry(web.Nth(5), func(e *nf.Entry) { e.Reply.Dst = addrPort("192.0.2.9:1024") }),
	} {
		if err := x.env.Table().Create(e); err != nil {
			t.Fatal(err)
		}
	}
	x.send(packet.SYN(web), packet.SYN(web), web.UDP(nil), packet.Echo(web.Src.Addr(), web.Dst.Addr(), 7, 1, nil))
	return x
}

func noPorts(t nf.Tuple) nf.Tuple {
	t.Src, t.Dst = addrPort(t.Src.Addr().String()+":0"), addrPort(t.Dst.Addr().String()+":0")
	return t
}

// canonical returns the lines of a text in the canonical form, in order.
func canonical(t *testing.T, text string) []string {
	t.Helper()
	entries, err := nf.ParseEntries(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return sortedLines(entries)
}

func sortedLines(entries []nf.Entry) []string {
	var lines []string
	for _, e := range entries {
		lines = append(lines, e.String())
	}
	slices.Sort(lines)
	return lines
}

func TestFlowsAgreeWithProc(t *testing.T) {
	t.Parallel()
	x := manyKinds(t)
	var text []byte
	err := x.env.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/nf_conntrack")
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = &nf.UnsupportedError{Need: "CONFIG_NF_CONNTRACK_PROCFS", Hint: "use a kernel that has it", Err: err}
	}
	needs.Check(t, err)
	if diff := cmp.Diff(canonical(t, string(text)), sortedLines(x.entries(nf.Filter{}))); diff != "" {
		t.Errorf("(-proc +netlink):\n%s", diff)
	}
}

// What conntrack prints is read to the entries that Flows has, but for what it does not print.
func TestFlowsAgreeWithConntrack(t *testing.T) {
	t.Parallel()
	x := manyKinds(t)
	if _, err := exec.LookPath("conntrack"); err != nil {
		needs.Check(t, &nf.UnsupportedError{Need: "conntrack", Hint: "apt-get install conntrack", Err: err})
	}
	for _, options := range [][]string{nil, {"-o", "extended"}, {"-o", "extended,id,ktimestamp"}} {
		var text strings.Builder
		for _, family := range []string{"ipv4", "ipv6"} {
			out, err := x.env.Command(t.Context(), "conntrack", append([]string{"-L", "-f", family}, options...)...).Output()
			if err != nil {
				t.Fatalf("conntrack -L -f %s %q: %v", family, options, err)
			}
			text.Write(out)
		}
		entries, err := nf.ParseEntries(text.String())
		if err != nil {
			t.Fatalf("%v in\n%s", err, text.String())
		}
		withID := len(options) > 1 && strings.Contains(options[1], "id")
		if diff := cmp.Diff(printed(x.entries(nf.Filter{}), withID), printed(entries, withID)); diff != "" {
			t.Errorf("conntrack -L %q (-netlink +text):\n%s", options, diff)
		}
	}
}

// conntrackEntry is what conntrack prints of an entry and the canonical form does not.
type conntrackEntry struct {
	Line           string
	Packets, Bytes nf.DirCounts
	ID             uint32
	Start          int64
}

func printed(entries []nf.Entry, withID bool) []conntrackEntry {
	var list []conntrackEntry
	for _, e := range entries {
		p := conntrackEntry{Line: e.String(), Packets: e.Packets, Bytes: e.Bytes}
		if withID {
			p.ID, p.Start = e.ID, e.Start.Unix()
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b conntrackEntry) int { return strings.Compare(a.Line, b.Line) })
	return list
}
