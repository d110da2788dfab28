package browser

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// chromium returns the path of the browser, and skips the test if there is none. With CTEXP_REQUIRE=1 it may be
// missing only if CTEXP_LACKS lists it, and may be listed only if it is missing.
func chromium(t *testing.T) string {
	t.Helper()
	const need = "chromium"
	require := os.Getenv("CTEXP_REQUIRE") == "1"
	listed := slices.ContainsFunc(strings.Split(os.Getenv("CTEXP_LACKS"), ","), func(s string) bool { return strings.TrimSpace(s) == need })
	for _, name := range []string{need, "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			if require && listed {
				t.Fatalf("CTEXP_LACKS lists %q, which is there: %s", need, path)
			}
			return path
		}
	}
	if require && !listed {
		t.Fatalf("%s is not there (apt-get install chromium); CTEXP_REQUIRE=1 allows no skip, and CTEXP_LACKS does not list it", need)
	}
	t.Skipf("%s is not there (apt-get install chromium)", need)
	return ""
}
