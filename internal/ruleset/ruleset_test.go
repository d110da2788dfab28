package ruleset

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A listing lacks our tables, and nothing else.
func TestListingsLackOurTables(t *testing.T) {
	t.Parallel()
	const (
		user  = "table inet fw { # handle 1\n\tchain in {\n\t\ttable inet ctexp\n\t}\n}\n"
		like  = "table ip ctexp { # handle 2\n\tchain mine {\n\t}\n}\n"
		ours  = "table inet ctexp { # handle 3\n\tcounter a {\n\t}\n}\n"
		links = "table netdev ctexp { # handle 4\n\tchain tun0 {\n\t}\n}\n"
	)
	if diff := cmp.Diff(user+like+user, withoutOurs(ours+user+like+links+user)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
