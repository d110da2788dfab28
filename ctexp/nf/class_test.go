package nf

import "testing"

// State and direction tell all classes apart, and each has the kernel's number and name.
func TestClassIsStateAndDirection(t *testing.T) {
	t.Parallel()
	type parts struct {
		state CTState
		dir   Direction
	}
	seen := map[parts]Class{}
	for _, c := range Classes() {
		p := parts{c.State(), c.Dir()}
		if other, twice := seen[p]; twice || p.state == 0 {
			t.Errorf("%v and %v are both %v %v", c, other, p.state, p.dir)
		}
		seen[p] = c
		if named, ok := ClassNamed(c.String()); named != c || !ok {
			t.Errorf("the name %q is of %v, %v", c, named, ok)
		}
	}
	if c, ok := ClassNamed("REPLY"); c != ClassUnknown || ok {
		t.Errorf("the name of no class is of %v, %v", c, ok)
	}
	want := map[uint32]string{0: "ESTABLISHED", 1: "RELATED", 2: "NEW", 3: "ESTABLISHED_REPLY", 4: "RELATED_REPLY", 5: "", 6: "", 7: "UNTRACKED"}
	for info, name := range want {
		if got := ClassOf(info).String(); got != name {
			t.Errorf("class %d is %q, want %q", info, got, name)
		}
	}
}
