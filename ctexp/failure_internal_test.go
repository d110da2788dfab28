package ctexp

import (
	"runtime"
	"testing"
)

// What a cleanup knows of how its test ends.
func TestPanickingIsTheEndByAPanicAlone(t *testing.T) {
	t.Parallel()
	var deep func(n int)
	deep = func(n int) {
		if n == 0 {
			_ = 1 / n
		}
		deep(n - 1)
	}
	for name, c := range map[string]struct {
		test func()
		want bool
	}{
		"returns":                  {func() {}, false},
		"is ended, as by t.Fatal":  {runtime.Goexit, false},
		"panics":                   {func() { panic("so") }, true},
		"panics with nil":          {func() { panic(nil) }, true},
		"fails deep in a function": {func() { deep(500) }, true},
		"has recovered": {func() {
			defer func() { _ = recover() }()
			panic("so")
		}, false},
		"is ended when it has recovered": {func() {
			defer func() {
				_ = recover()
				runtime.Goexit()
			}()
			panic("so")
		}, false},
		"panics when it is ended": {func() {
			defer func() { panic("so") }()
			runtime.Goexit()
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, done := false, make(chan struct{})
			go func() {
				defer close(done)
				defer func() { _ = recover() }()
				defer func() { got = panicking() }() // where testing runs the cleanups
				c.test()
			}()
			<-done
			if got != c.want {
				t.Errorf("a test that %s: panicking is %v", name, got)
			}
		})
	}
}

// So it is in the cleanups of package testing itself, of a test with subtests and of one that ends early.
func TestSubtestsAreNotPanicking(t *testing.T) {
	t.Parallel()
	var got []bool
	t.Run("parent", func(t *testing.T) {
		t.Cleanup(func() { got = append(got, panicking()) })
		t.Run("skips", func(t *testing.T) {
			t.Cleanup(func() { got = append(got, panicking()) })
			t.SkipNow()
		})
	})
	if len(got) != 2 || got[0] || got[1] {
		t.Errorf("panicking: %v", got)
	}
}
