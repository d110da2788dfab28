package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/internal/golden"
)

func TestFieldsKeepTheirOrderInJSON(t *testing.T) {
	t.Parallel()
	want := fields{{"raw", 10}, {"logged", true}, {"synacks", []int{7, 8, 7}}, {"state", "SYN_RECV"}, {"evicted", 0}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(text); got != `{"raw":10,"logged":true,"synacks":[7,8,7],"state":"SYN_RECV","evicted":0}` {
		t.Errorf("JSON %s", got)
	}
	var got fields
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(field{})); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
}

func TestNoFieldsAreAnEmptyObject(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(result{})
	want := `{"id":"","claim":"","article":{},"got":{},"why":"","kernel":"","backend":""}`
	if err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
}

// samples has a result of each kind.
func samples() []result {
	r := result{Kernel: "6.18.44", Backend: nftables}
	add := func(id, claim string, article, got fields, v verdict, why, failed string) result {
		r := r
		r.ID, r.Claim, r.Article, r.Got, r.Verdict, r.Why, r.Error = id, claim, article, got, v, why, failed
		return r
	}
	return []result{
		add("table-full", "with 7 entries free, 3 of 10 SYNs vanish between raw and mangle",
			fields{{"mangle", 7}, {says, "they were hard dropped"}}, fields{{"raw", 10}, {"mangle", 7}, {"entries", 7}, {"evicted", 0}},
			confirmed, "conntrack drops a packet that needs an entry and gets none", ""),
		add("policy-counters", "policy counters count only if there is at least one rule in the chain",
			fields{{says, "work only if there is at least one rule inside it"}}, fields{{"empty_chain", 10}, {"with_rule", 10}},
			changed, "once the table exists the policies of its chains count, with rules and without", ""),
		add("syn-flood", "7 SYN+ACKs leave and 3 SYNs get nothing; SYN cookies do not help, which is a claim that needs more lines than the others do",
			fields{{"synacks", 7}}, fields{{"synacks", []int{7, 10, 10}}, {"state", "SYN_RECV"}},
			refuted, "synacks is 7/10/10, expected 7 each", ""),
		add("held-unconfirmed", "it is the entries in the table that count towards the limit",
			fields{{says, "exceeds the conntrack limit"}}, nil, unsupported, "needs iptables-legacy (install iptables)", ""),
		add("strict-per-namespace", "nf_conntrack_tcp_loose cannot be set in a network namespace",
			fields{{"writable", false}}, nil, "", "", "open packet socket: too many open files"),
	}
}

func printed(opts options) string {
	var out, errOut strings.Builder
	p := newPrinter(opts, 5, &out, &errOut)
	for _, r := range samples() {
		p.progress([]string{r.ID}, 0)
		p.print(r)
	}
	p.summary(samples(), 5678*time.Millisecond)
	return out.String() + errOut.String() // nothing is said on what is no terminal
}

func TestTheTable(t *testing.T) {
	t.Parallel()
	got := printed(options{size: size{10, 7}, backend: nftables})
	golden.Check(t, "table.golden", got)
	for line := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > lineWidth {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
}

func TestJSONIsOneObjectALine(t *testing.T) {
	t.Parallel()
	golden.Check(t, "rows.golden", printed(options{size: size{10, 7}, backend: nftables, json: true}))
}

func TestTheStatusLineIsWrittenOver(t *testing.T) {
	t.Parallel()
	var w strings.Builder
	s := &statusLine{w: &w}
	s.show("") // nothing to take away
	s.show("[1/29] ten-syns")
	s.show(strings.Repeat("x", 200))
	s.show("")
	s.show("")
	const clear = "\r\x1b[K"
	want := clear + "[1/29] ten-syns" + clear + strings.Repeat("x", 78) + "…" + clear
	if got := w.String(); got != want {
		t.Errorf("written %q, want %q", got, want)
	}
}

// Every claim, the longest ids and verdicts included, keeps its column.
func TestIDsAndVerdictsFitTheirColumns(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range rows() {
		if len(r.id) > idWidth || seen[r.id] || !regexp.MustCompile(`^[a-z-]+$`).MatchString(r.id) {
			t.Errorf("id %q is too long, or there already, or not plain", r.id)
		}
		seen[r.id] = true
	}
	for _, v := range verdicts {
		if len(v) > verdictWidth {
			t.Errorf("verdict %q is too long", v)
		}
	}
}
