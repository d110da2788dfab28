package nf_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestNATIsTheDifferenceOfTheTuples(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		line string
		want nf.NAT
		text string
	}{
		"none": {
			"udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1",
			nf.NAT{}, "",
		},
		"SNAT": {
			"udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=192.0.2.9 sport=2 dport=1024",
			nf.NAT{Src: nf.Translation{From: addr("10.0.0.1:1"), To: addr("192.0.2.9:1024")}},
			"src 10.0.0.1:1 to 192.0.2.9:1024",
		},
		"another port alone": {
			"udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=600",
			nf.NAT{Src: nf.Translation{From: addr("10.0.0.1:1"), To: addr("10.0.0.1:600")}},
			"src 10.0.0.1:1 to 10.0.0.1:600",
		},
		"DNAT": {
			"tcp CLOSE src=10.0.0.1 dst=192.0.2.9 sport=1 dport=80 src=10.0.0.3 dst=10.0.0.1 sport=8080 dport=1",
			nf.NAT{Dst: nf.Translation{From: addr("192.0.2.9:80"), To: addr("10.0.0.3:8080")}},
			"dst 192.0.2.9:80 to 10.0.0.3:8080",
		},
		"both": {
			"tcp CLOSE src=fd00::1 dst=fd00::2 sport=1 dport=80 src=fd00::3 dst=fd00::4 sport=8080 dport=9",
			nf.NAT{
				Src: nf.Translation{From: addr("[fd00::1]:1"), To: addr("[fd00::4]:9")},
				Dst: nf.Translation{From: addr("[fd00::2]:80"), To: addr("[fd00::3]:8080")},
			},
			"src [fd00::1]:1 to [fd00::4]:9, dst [fd00::2]:80 to [fd00::3]:8080",
		},
		"the identifier of an echo": {
			"icmp src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=7 src=10.0.0.2 dst=192.0.2.9 type=0 code=0 id=8",
			nf.NAT{Src: nf.Translation{From: addr("10.0.0.1:7"), To: addr("192.0.2.9:8")}},
			"src 10.0.0.1:7 to 192.0.2.9:8",
		},
	} {
		e, err := nf.ParseEntry(tt.line)
		if err != nil {
			t.Fatal(err)
		}
		got := e.NAT()
		if diff := cmp.Diff(tt.want, got, comparable); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got.String() != tt.text {
			t.Errorf("%s: got %q, want %q", name, got, tt.text)
		}
	}
	if got := (nf.Entry{}).NAT(); got != (nf.NAT{}) {
		t.Errorf("of nothing: %v", got)
	}
}
