package report

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReasonsAreShownOnceAndLawsOnlyOfALimitedTable(t *testing.T) {
	t.Parallel()
	laws := []Law{{"x", NotApplicable, "law not applicable: the host is not silent"}, {"y", Broken, "law broken: 1 = 2"}, {"z", Holds, ""}}
	d := Data{
		Missing: []Missing{{"reasons", "reasons: needs nfnetlink_log"}, {PartFrames, "3 were lost"}},
		Laws:    laws, Room: Room{Limited: true}, Sysctls: []Sysctl{{Name: "a", By: "ctexp"}, {Name: "b", By: "Config"}, {Name: "c"}},
	}
	open := d
	open.Room = Room{}

	got := []Data{d.normalize(), open.normalize()}

	missing := []Missing{{"reasons", "needs nfnetlink_log"}, {PartFrames, "3 were lost"}}
	sysctls := []Sysctl{{Name: "b", By: "Config"}, {Name: "c"}, {Name: "a", By: "ctexp"}}
	want := []Data{
		{Missing: missing, Sysctls: sysctls, Room: d.Room, Laws: []Law{{"x", NotApplicable, "the host is not silent"}, {"y", Broken, "1 = 2"}, {"z", Holds, ""}}},
		{Missing: missing, Sysctls: sysctls, Laws: []Law{{"y", Broken, "1 = 2"}, {"z", Holds, ""}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if laws[0].Why != "law not applicable: the host is not silent" {
		t.Error("the caller's own data was changed")
	}
}
