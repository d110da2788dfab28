package observe

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// ruleOfCt is the payload of a rule with one expression of that name, which has a key and a direction.
func ruleOfCt(name string, direction ...byte) []byte {
	return message(0,
		attr(nftaRuleHandle, 0, 0, 0, 0, 0, 0, 0, 1),
		attr(nftaRuleExpressions|nested, attr(1|nested, append(
			attr(nftaExprName, []byte(name+"\x00")...),
			attr(nftaExprData|nested, append(attr(2, 0, 0, 0, 5), attr(nftaCtDirection, direction...)...)...)...)...)...),
	)[nfnl.HeaderSize:]
}

func TestDirectionIsMended(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ is, want []byte }{
		"a direction of one byte":  {ruleOfCt("ct", 1), ruleOfCt("ct", 0, 0, 1, 1)},
		"one that is whole":        {ruleOfCt("ct", 0, 0, 0, 1), ruleOfCt("ct", 0, 0, 0, 1)},
		"of another expression":    {ruleOfCt("rt", 1), ruleOfCt("rt", 1)},
		"too short to be anything": {[]byte{1, 2}, []byte{1, 2}},
	} {
		got := bytes.Clone(c.is)
		if err := mendRule(got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func FuzzMendRule(f *testing.F) {
	f.Add(ruleOfCt("ct", 1))
	f.Add(rulePayload())
	f.Fuzz(func(t *testing.T, b []byte) {
		_, before, err := decodeNames(bytes.Clone(b))
		if merr := mendRule(b); err == nil && merr == nil {
			if _, after, err := decodeNames(b); err != nil || len(after) != len(before) {
				t.Errorf("names %q, then %q, %v", before, after, err)
			}
		}
	})
}
