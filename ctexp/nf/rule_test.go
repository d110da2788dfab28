package nf

import "testing"

func TestRulePrintsOneLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule Rule
		want string
	}{
		{
			Rule{Backend: "nft", Family: "ip", Table: "filter", Chain: "input", Kind: KindRule, Text: "tcp dport 80 drop", Counted: true, Packets: 10, Bytes: 400},
			"nft ip filter input: tcp dport 80 drop [packets 10 bytes 400]",
		},
		{Rule{Backend: "nft", Family: "inet", Table: "fw", Chain: "in", Kind: KindPolicy, Text: "drop"}, "nft inet fw in: policy drop"},
		{Rule{Backend: "nft", Family: "inet", Table: "fw", Kind: KindCounter, Text: "http", Counted: true}, "nft inet fw: counter http [packets 0 bytes 0]"},
	} {
		if got := c.rule.String(); got != c.want {
			t.Errorf("\n got %s\nwant %s", got, c.want)
		}
	}
}
