package report

import (
	"fmt"
	"time"
)

// since prints a time since the start of the experiment, to the microsecond: "+0.071 ms", "+2.104 s".
func since(d time.Duration) string {
	if d >= 10*time.Second || d <= -10*time.Second {
		return fmt.Sprintf("%+.3f s", d.Seconds())
	}
	return fmt.Sprintf("%+.3f ms", float64(d)/float64(time.Millisecond))
}

// took prints how long something took.
func took(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%d µs", d.Microseconds())
}
