package observe

import "testing"

func TestReleasesAreComparedByNumber(t *testing.T) {
	t.Parallel()
	for release, want := range map[string]bool{
		"5.18.0": true, "5.19.0-rc1": false, "5.10.262": true, "4.20": true, "6.1.192": false, "6.18.44-fc-v669": false,
		"": false, "x": false,
	} {
		if got := before(release, 5, 19); got != want {
			t.Errorf("%q: %v", release, got)
		}
	}
}
