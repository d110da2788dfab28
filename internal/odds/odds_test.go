package odds

import (
	"math"
	"testing"
)

// The bound is the smallest number that is exceeded less often than once in a million, by a sum of the probabilities.
func TestBoundIsExceededOnceInAMillion(t *testing.T) {
	t.Parallel()
	for _, mean := range []float64{0, 0.0001, 0.00128, 0.5, 3, 20, 500, 70_000} {
		const p = 1e-6
		exceeds := func(n int) float64 { // the probability of more than n
			sum := 0.0
			for k := n + 1; k < n+1+2000; k++ {
				g, _ := math.Lgamma(float64(k + 1))
				sum += math.Exp(float64(k)*math.Log(mean) - mean - g)
			}
			return sum
		}
		n := AtMost(mean, p)
		if mean > 0 && exceeds(n) >= p {
			t.Errorf("mean %v: %d is exceeded with %v", mean, n, exceeds(n))
		}
		// The bound of the tail is not exact, by less than one part in ten for small means.
		if n > 0 && exceeds(n-1) < p*0.5 {
			t.Errorf("mean %v: %d would do, which is exceeded with %v", mean, n-1, exceeds(n-1))
		}
	}
}
