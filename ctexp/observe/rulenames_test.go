package observe

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

func rulePayload() []byte {
	return message(0,
		attr(nftaRuleTable, []byte("fw\x00")...),
		attr(nftaRuleHandle, 0, 0, 0, 0, 0, 0, 1, 2),
		attr(nftaRuleExpressions|nested, append(
			attr(1|nested, append(attr(nftaExprName, []byte("socket\x00")...), attr(2|nested)...)...),
			attr(1|nested, attr(nftaExprName, []byte("cmp\x00")...)...)...)...),
	)[nfnl.HeaderSize:]
}

func TestDecodeNames(t *testing.T) {
	t.Parallel()
	handle, names, err := decodeNames(rulePayload())
	if handle != 258 || err != nil {
		t.Errorf("handle %d, %v", handle, err)
	}
	if diff := cmp.Diff([]string{"socket", "cmp"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzDecodeNames(f *testing.F) {
	f.Add(rulePayload())
	f.Fuzz(func(_ *testing.T, b []byte) { _, _, _ = decodeNames(b) })
}
