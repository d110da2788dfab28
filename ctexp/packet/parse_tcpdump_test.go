package packet_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/golden"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

// dumped are lines that tcpdump 4.99.3 has printed with -n: of the packets of all builders, of all kinds of ICMP messages, and of
// datagrams to ports whose contents it decodes.
func dumped(tb testing.TB) []string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "tcpdump.txt"))
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// What tcpdump -n prints is read, except where it says itself that it could not read the packet. Checksums are right.
func TestLinesOfTcpdumpAreRead(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	wrong := 0
	for _, line := range dumped(t) {
		p, err := packet.Parse("12:00:00.000001 " + line)
		if err != nil {
			wrong++
			fmt.Fprintf(&out, "%s\n\t%v\n", line, err)
			continue
		}
		fmt.Fprintf(&out, "%s\n\t%v\n", line, p)
		if packettest.IsWhole(p) {
			if err := packettest.CheckSums(p); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		if _, err := packet.Parse(p.String()); err != nil {
			t.Errorf("%s\nis read as\n%v\nand that: %v", line, p, err)
		}
	}
	if wrong > 10 {
		t.Errorf("%d lines are not read", wrong)
	}
	golden.Check(t, "tcpdump.golden", out.String())
}
