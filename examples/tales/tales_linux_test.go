package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/internal/needs"
)

// ask runs the program with -json and returns its rows by id. It skips the test where nothing can be asked here.
func ask(t *testing.T, args ...string) map[string]result {
	t.Helper()
	out, errOut, status := program(t, append(args, "-json")...)
	got := map[string]result{}
	asked := false
	lack := ""
	for line := range strings.Lines(out) {
		var r result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if r.Error != "" || r.Verdict == refuted {
			t.Errorf("%s: %s %s %s, got %v", r.ID, r.Verdict, r.Why, r.Error, r.Got)
		}
		if r.Verdict == unsupported {
			lack = r.Why
		} else {
			asked = true
		}
		got[r.ID] = r
	}
	if len(got) == 0 {
		t.Fatalf("no rows, exit status %d: %s", status, errOut)
	}
	if !asked && !t.Failed() {
		skip(t, lack)
	}
	if status != statusFine || errOut != "" {
		t.Errorf("exit status %d: %s", status, errOut)
	}
	return got
}

// skip skips the test for want of something, unless CTEXP_REQUIRE says that it must not lack.
func skip(t *testing.T, lack string) {
	t.Helper()
	need, _, _ := strings.Cut(strings.TrimPrefix(lack, "needs "), ":")
	if needs.Required(need) {
		t.Fatal(lack)
	}
	t.Skip(lack)
}

// The whole program: every claim has its verdict.
func TestEveryClaimHasItsVerdict(t *testing.T) {
	got := ask(t, "-packets", "23", "-free", "11")

	want := map[string]verdict{}
	for _, r := range rows() {
		want[r.id] = r.verdict
	}
	// What depends on who asks, and where.
	for _, id := range []string{kernelLog, unprivileged, "policy-counters", "held-unconfirmed", "flood-filled", limitEdges} {
		if got[id].Verdict == unsupported {
			want[id] = unsupported
		}
	}
	verdicts := map[string]verdict{}
	for id, r := range got {
		verdicts[id] = r.Verdict
	}
	if diff := cmp.Diff(want, verdicts); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}

	table := got["table-full"]
	if table.Got.number("evicted")+table.Got.number("collected") > 0 {
		return // by chance: the judge has taken it into account
	}
	numbers := fields{{"captured", 23}, {"raw", 23}, {"mangle", 11}, {"entries", 11}, {"dropped", 12}, {"evicted", 0}}
	if diff := cmp.Diff(numbers, table.Got, cmp.AllowUnexported(field{})); diff != "" {
		t.Errorf("table-full (-want +got):\n%s", diff)
	}
}

// The page draws where the packets of a claim went, with what was counted.
func TestPageDrawsWhereThePacketsWent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tales.html")
	got := ask(t, "-run", "^(strict-ack|input-drop)$", "-html", file)
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`data-probe="filter/input" data-packets="10"`, "10 of 10 lost", "10 of 10 without an entry", "-t filter -A INPUT -j DROP",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page of %d claims lacks %q", len(got), want)
		}
	}
}

// Each iptables counts as nftables does.
func TestRulesByIPTables(t *testing.T) {
	for _, b := range []backend{iptablesNFT, iptablesLegacy} {
		t.Run(string(b), func(t *testing.T) {
			ask(t, "-backend", string(b), "-run",
				"^(ten-syns|table-full|inactive|no-target-rule|policy-counters|strict-ack|notrack|rate-limit|synproxy|reverse-too-late)$")
		})
	}
}

// A row whose early part failed fails with it.
func TestAnEarlyFailureIsTold(t *testing.T) {
	t.Parallel()
	a := &asker{opts: options{size: size{10, 7}}, progress: func([]string, int) {}}
	got := a.try(t.Context(), rowOf(t, "flood-filled").ask, answer{err: errors.New("it broke")})
	if got.err == nil || got.err.Error() != "it broke" {
		t.Errorf("%+v", got)
	}
}
