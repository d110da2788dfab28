package nfnl_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// A timeout of zero would not be set at all.
func TestTimeoutIsRoundedUp(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]uint32{0: 0, 1: 1, time.Second: 1, 1500 * time.Millisecond: 2} {
		if got := nfnl.Flow(nf.Entry{Timeout: d}).Timeout; got != want {
			t.Errorf("%v: got %d, want %d", d, got, want)
		}
	}
}

func TestLabelsHaveTheKernelsSize(t *testing.T) {
	t.Parallel()
	if got := nfnl.Flow(nf.Entry{Labels: "05"}).Labels; len(got) != 16 || got[0] != 5 {
		t.Errorf("got %v", got)
	}
}

func TestHelpersEndWithNUL(t *testing.T) {
	t.Parallel()
	if got := nfnl.Flow(nf.Entry{Helper: "ftp"}).Helper.Name; got != "ftp\x00" {
		t.Errorf("got %q", got)
	}
}

func TestInvalidLabelsPanic(t *testing.T) {
	t.Parallel()
	for _, labels := range []string{"xy", "123", strings.Repeat("00", 17)} {
		func() {
			defer func() {
				if got, _ := recover().(string); !strings.HasPrefix(got, "nfnl: labels ") {
					t.Errorf("%q: panic %q", labels, got)
				}
			}()
			nfnl.Flow(nf.Entry{Labels: labels})
		}()
	}
}
