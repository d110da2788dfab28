package cases_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/cases"
)

// Texts as people have them, in testdata/inputs, are loaded as they are: a packet meets the state or the rules that they tell of.
func TestTextsOfOthersAreLoaded(t *testing.T) {
	t.Parallel()
	const answer = "udp 192.0.2.1:53 > 198.18.0.7:40001"
	for file, tt := range map[string]struct {
		packet string
		want   []string // parts of the packet's journey
	}{
		"events.txt":       {answer, []string{"; ESTABLISHED_REPLY"}},
		"save.txt":         {answer, []string{"; ESTABLISHED_REPLY"}},
		"half.xml":         {answer, []string{"; ESTABLISHED_REPLY"}},
		"proc.txt":         {answer, []string{"; ESTABLISHED_REPLY"}},
		"expect.txt":       {"tcp 198.18.0.7:5000 > 192.0.2.1:20002 S", []string{"; RELATED"}},
		"without-name.nft": {"tcp 198.18.0.7:1 > 192.0.2.1:80 S", []string{"accept: delivered to the host"}},
		"include.nft":      {"tcp 198.18.0.7:1 > 192.0.2.1:80 S", []string{"drop: dropped by nft inet included in: policy drop"}},
		"owner.rules":      {"tcp 198.18.0.7:1 > 192.0.2.1:80 S", []string{"accept: delivered to the host"}},
		"rendering.nft":    {"udp 198.18.0.7:1 > 192.0.2.1:50001", []string{`inet rp prerouting: iifname "eth0" udp dport 50000-50099 reject with icmpx admin-prohibited -> drop`}},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			got, err := tried(t, file, tt.packet)
			ctexp.Require(t, file, err)
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("want %q, got\n%s", want, got)
				}
			}
		})
	}
	_, err := tried(t, "keyword.nft", answer)
	var wrong *cases.FileError
	if lacksMachine(err) {
		ctexp.Require(t, "keyword.nft", err)
	}
	const keyword = `keyword.nft:2:8: "dnat" is a keyword of nft and cannot be a name: chain dnat {`
	if !errors.As(err, &wrong) || !strings.HasSuffix(wrong.Error(), keyword) || strings.Contains(wrong.Error(), "\n") {
		t.Errorf("got %v\nwant %s", err, keyword)
	}
}

// tried returns the journey of a packet under the rules or the state of a file.
func tried(t *testing.T, file, line string) (string, error) {
	t.Helper()
	name := filepath.Join("testdata", "inputs", file)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := cases.Rules(name, string(text))
	if err != nil {
		return "", err
	}
	s, err := cases.Parse("f", line)
	if err != nil {
		t.Fatal(err)
	}
	if s.Links, err = cases.ParseLinks("eth0 192.0.2.1/24 default"); err != nil {
		t.Fatal(err)
	}
	got, err := s.Explain(t.Context(), cases.Config(s.Links, r), nil)
	if err != nil {
		return "", err
	}
	return got.All()[0].String(), nil
}
