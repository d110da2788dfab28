package ctexp

import "runtime"

// panicking reports whether a panic is unwinding this goroutine. That is how a cleanup knows of a test that panics: package
// testing runs the cleanups first and calls the test failed afterwards (testing.go, tRunner). Of a panic and a
// runtime.Goexit, which is how t.Fatal ends a test, the later one tells how the goroutine ends.
func panicking() bool {
	pcs := make([]uintptr, 64)
	n := runtime.Callers(0, pcs)
	for n == len(pcs) {
		pcs = make([]uintptr, 2*len(pcs))
		n = runtime.Callers(0, pcs)
	}
	frames := runtime.CallersFrames(pcs[:n])
	for {
		f, more := frames.Next()
		if f.Function == "runtime.gopanic" || f.Function == "runtime.Goexit" || !more {
			return f.Function == "runtime.gopanic"
		}
	}
}
