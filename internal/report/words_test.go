package report

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNamesOfTestsMayBreakBetweenWords(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for _, s := range []string{"TestFullTable/strict_ack", "TestNATAndTCP", "", "/", "日本"} {
		got[s] = strings.Join(breaks(s), "|")
	}
	want := map[string]string{"TestFullTable/strict_ack": "Test|Full|Table/|strict_|ack", "TestNATAndTCP": "Test|NATAnd|TCP", "": "", "/": "/", "日本": "日本"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestListsBreakAfterTheirCommas(t *testing.T) {
	t.Parallel()
	const long = "of_more_than_twenty_four_characters"
	got := pieces("CONFIRMED,SRC_NAT|x y" + long)
	want := []piece{{"CONFIRMED,", true}, {"SRC_NAT|", true}, {"x ", true}, {"y" + long, false}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestShortenKeepsTheBeginningAndWhatMatters(t *testing.T) {
	t.Parallel()
	got := shorten([]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 6, 90, func(n int) bool { return n%4 == 0 })
	want := []item[int]{{1, 0}, {2, 0}, {3, 0}, {4, 0}, {Gap: 3}, {8, 0}, {Gap: 92}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestExtrasOfAFlow(t *testing.T) {
	t.Parallel()
	got := []string{extras(Flow{}), extras(Flow{Mark: 7, Zone: 2, Helper: "ftp", Labels: "01", Packets: [2]int64{3, 2}, Bytes: [2]int64{120, 80}})}
	if diff := cmp.Diff([]string{"", "mark 7, zone 2, helper ftp, labels 01, packets 3/2, bytes 120/80"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTextIsWrapped(t *testing.T) {
	t.Parallel()
	got := map[string][]string{}
	for _, s := range []string{"", "  ", "dropped by a rule", "a word_that_is_longer than it", "日本語日本語"} {
		got[s] = wrap(s, 10)
	}
	want := map[string][]string{
		"": nil, "  ": nil, "dropped by a rule": {"dropped by", "a rule"},
		"a word_that_is_longer than it": {"a", "word_that_", "is_longer", "than it"}, "日本語日本語": {"日本語日本", "語"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// FuzzWrap checks that lines are as short as requested, and lose nothing but spaces.
func FuzzWrap(f *testing.F) {
	f.Add("conntrack table full (drop +3)", 12)
	f.Add("日本 x", 1)
	f.Fuzz(func(t *testing.T, s string, width int) {
		s = strings.ToValidUTF8(s, "")
		lines := wrap(s, width)
		for _, l := range lines {
			if n := columns(l); n > max(width, 2) {
				t.Errorf("%q has %d columns of %d", l, n, width)
			}
		}
		all := func(s string) string { return strings.Join(strings.Fields(s), "") }
		if want, got := all(s), all(strings.Join(lines, "")); want != got {
			t.Errorf("wrapped %q, got %q", want, got)
		}
	})
}

func TestNumbersHaveCommas(t *testing.T) {
	t.Parallel()
	got := []string{thousands(0), thousands(999), thousands(1000), thousands(1<<64 - 1), signed(0), signed(1234), signed(-1234), signed(-1 << 63), count(-1), count(10), packets(1), packets(2)}
	want := []string{"0", "999", "1,000", "18,446,744,073,709,551,615", "0", "+1,234", "−1,234", "−9,223,372,036,854,775,808", "−1", "10", "1 packet", "2 packets"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
