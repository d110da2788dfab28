package observe

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

func TestNegativeSizesOfAConfigAreErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"MaxEvents": {MaxEvents: -1}, "EventBuffer": {EventBuffer: -1}, "MaxFrames": {MaxFrames: -1}, "Ring": {Ring: -1},
		"Filler": {Filler: -1}, "Limit": {Limit: -1}, "1 GiB": {Ring: maxRing + 1},
	} {
		if err := c.check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (Config{Ring: maxRing, MaxEvents: 1}).check(); err != nil {
		t.Error(err)
	}
}

// A sysctl that cannot be read is an error and not an empty value.
func TestMissingSysctlIsAnError(t *testing.T) {
	t.Parallel()
	if got, err := readSysctl("nf_conntrack_no_such"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %q, %v; want %v", got, err, fs.ErrNotExist)
	}
}
