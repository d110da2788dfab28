package netnsenv

import (
	"slices"
	"syscall"
	"testing"

	"github.com/ctexp/go-ctexp/internal/userns"
)

func TestSubordinateIDs(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]syscall.SysProcIDMap{
		"ann:100000:65536":   {ContainerID: 1, HostID: 100000, Size: 65535},
		"1000:200000:10 ":    {ContainerID: 1, HostID: 200000, Size: 10},
		"bob:100000:65536":   {},
		"ann:x:65536":        {},
		"ann:100000":         {},
		"ann:100000:0":       {},
		"":                   {},
		"ann:9999999999:100": {},
	} {
		got, ok := subordinateOf(line, "ann", "1000")
		if got != want || ok != (want.Size > 0) {
			t.Errorf("%q: %v, %v, want %v", line, got, ok, want)
		}
	}
}

// Root maps what it has, by the same numbers: on the host everything up to a limit, in a container what that has.
func TestRootMapsWhatItHas(t *testing.T) {
	t.Parallel()
	same := func(first, size int) syscall.SysProcIDMap {
		return syscall.SysProcIDMap{ContainerID: first, HostID: first, Size: size}
	}
	for _, test := range []struct {
		has  []userns.Range
		want []syscall.SysProcIDMap
	}{
		{[]userns.Range{{Size: 4294967295}}, []syscall.SysProcIDMap{same(0, 65536)}},
		{[]userns.Range{{Outside: 1000, Size: 1}, {First: 1, Outside: 100000, Size: 1000}, {First: 70000, Outside: 200000, Size: 5}}, []syscall.SysProcIDMap{same(0, 1), same(1, 1000)}},
		{nil, nil},
	} {
		if got := sameIDs(test.has); !slices.Equal(got, test.want) {
			t.Errorf("%v: %v, want %v", test.has, got, test.want)
		}
	}
}
