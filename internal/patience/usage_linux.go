package patience

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// used sums up the threads that there are now (Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat). It is zero
// if the kernel does not tell (CONFIG_SCHED_INFO).
func used() (sum usage) {
	files, _ := filepath.Glob("/proc/self/task/*/schedstat")
	for _, f := range files {
		text, err := os.ReadFile(f) // fails if the thread has ended meanwhile
		var ran, waited int64
		if err != nil {
			continue
		}
		if _, err := fmt.Sscan(string(text), &ran, &waited); err == nil {
			sum.ran += time.Duration(ran)
			sum.waited += time.Duration(waited)
		}
	}
	return sum
}
