package inject_test

import (
	"fmt"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
)

func ExampleTCPFlags() {
	f := inject.FlagSYN | inject.FlagACK
	fmt.Println(f, f.Contains(inject.FlagACK), f.Contains(inject.FlagACK|inject.FlagFIN))
	// Output: S. true false
}

func TestFlagsAreTheBitsOfTheHeader(t *testing.T) {
	t.Parallel()
	for bits := range 256 {
		p := web.TCP(inject.TCP{Flags: inject.TCPFlags(bits)})
		if got := p[33]; int(got) != bits {
			t.Errorf("flags %v are %#x in the header", inject.TCPFlags(bits), got)
		}
	}
}
