package ctexp_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// Each of two experiments of a test says which one it is, and keeps files of its own names.
func TestExperimentsOfOneTestAreToldApart(t *testing.T) {
	t.Parallel()
	fake := &fakeTB{name: "TestX"}
	log := fake.run(func(f *fakeTB) {
		ctexp.New(f, netnsenv.Config{Links: veth})
		y := ctexp.New(f, netnsenv.Config{Links: veth})
		y.Errorf("the second is wrong")
	})
	if fake.skipped {
		t.Skip(log)
	}
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^(what happened in .*|--- artifacts: .*)$`).FindAllString(log, -1) {
		got = append(got, regexp.MustCompile(`:\d+\)|: /.*/`).ReplaceAllString(m, "…"))
	}
	want := []string{
		"what happened in experiment 2 of 2 (experiments_linux_test.go…: tun0 (veth) 192.0.2.1/24",
		"--- artifacts…TestX.2.report.html",
		"what happened in experiment 1 of 2 (experiments_linux_test.go…: tun0 (veth) 192.0.2.1/24",
		"--- artifacts…TestX.report.html",
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	first, second := log[strings.Index(log, "experiment 1"):], log[:strings.Index(log, "experiment 1")]
	if got := diffOf(t, second); !strings.HasPrefix(got, "experiment 2 of 2 (") || !strings.HasSuffix(got, "\n\nthe second is wrong") {
		t.Errorf("the second says %q", got)
	}
	if got := diffOf(t, first); !strings.HasPrefix(got, "experiment 1 of 2 (") || strings.Contains(got, "wrong") {
		t.Errorf("the first says %q", got)
	}
}

// An experiment that comes when those before it are closed is the first again, as that of another test of the name is.
func TestExperimentAfterOthersIsTheFirst(t *testing.T) {
	t.Parallel()
	fake := &fakeTB{name: "TestX"}
	run := func() string {
		fake.cleanups = nil
		return fake.run(func(f *fakeTB) {
			ctexp.New(f, netnsenv.Config{Links: veth})
			f.Errorf("no")
		})
	}
	run()
	log := run()
	if fake.skipped {
		t.Skip(log)
	}
	if strings.Contains(log, "experiment") || strings.Count(log, "/TestX.report.html") != 2 {
		t.Errorf("the log is\n%s", log)
	}
}

// A test that panics leaves a report, although nobody has called it failed yet.
func TestPanicLeavesAReport(t *testing.T) {
	t.Parallel()
	fake := &fakeTB{name: "TestX", panics: true}
	log := fake.run(func(f *fakeTB) {
		ctexp.New(f, netnsenv.Config{Links: veth, Silent: true}).Inject(inject.SYNs(1, web))
		panic("so")
	})
	if fake.skipped {
		t.Skip(log)
	}
	if fake.failed || !strings.Contains(log, "entries 1\n") || !strings.HasSuffix(log, "\npanic: so\n") {
		t.Errorf("failed %v, and the log is\n%s", fake.failed, log)
	}
	if got, want := diffOf(t, log), "the test panicked: what with, go test says at the end of the log"; got != want {
		t.Errorf("result.json has %q, want %q", got, want)
	}
}
