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

func TestListsBreakBehindTheirCommas(t *testing.T) {
	t.Parallel()
	const long = "of_more_than_twenty_four_characters"
	got := pieces("CONFIRMED,SRC_NAT|x y" + long)
	want := []piece{{"CONFIRMED,", true}, {"SRC_NAT|", true}, {"x ", true}, {"y" + long, false}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestControlCharactersHavePictures(t *testing.T) {
	t.Parallel()
	got := visible("a\x1b[31m\tb\n\x00\x7f\u202e\u00a0\xff\u0085c")
	if diff := cmp.Diff("a␛[31m\tb\n␀␡<U+202E> �<U+0085>c", got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestOfALongListTheBeginningIsKeptAndWhatMatters(t *testing.T) {
	t.Parallel()
	got := keep([]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 6, 90, func(n int) bool { return n%4 == 0 })
	want := []kept[int]{{1, 0}, {2, 0}, {3, 0}, {4, 0}, {Gap: 3}, {8, 0}, {Gap: 92}}
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
