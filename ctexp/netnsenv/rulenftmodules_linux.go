package netnsenv

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/ctexp/go-ctexp/internal/ours"
)

// nftModule is a module of the kernel that a statement or expression of nft is in: where even the probe is refused, the kernel
// lacks it.
type nftModule struct {
	name  string
	word  *regexp.Regexp
	probe string // a chain's hook and a rule that all kernels take that have the module, or a whole table
}

var nftModules = []nftModule{
	{"nft_queue", regexp.MustCompile(`\bqueue\b`), "hook input priority 0; queue num 0"},
	{"nft_flow_offload", regexp.MustCompile(`\bflow (?:add|offload)\b|\bflowtable\b`), "flowtable f { hook ingress priority 0; devices = { lo }; }"},
	{"nft_tproxy", regexp.MustCompile(`\btproxy\b`), "hook prerouting priority 0; meta l4proto tcp tproxy to :1"},
	{"nft_socket", regexp.MustCompile(`\bsocket\b`), "hook prerouting priority 0; socket transparent 1"},
	{"nft_osf", regexp.MustCompile(`\bosf\b`), "hook input priority 0; osf name \"unknown\""},
	{"nft_xfrm", regexp.MustCompile(`\bipsec\b`), "hook input priority 0; ipsec in reqid 1"},
	{"nft_fib_ipv4", regexp.MustCompile(`\bfib\b`), "hook prerouting priority 0; fib daddr type local"},
	{"nft_dup_ipv4", regexp.MustCompile(`\bdup\b`), "hook prerouting priority 0; dup to 127.0.0.1"},
	{"nft_connlimit", regexp.MustCompile(`\bct count\b`), "hook input priority 0; ct count over 3"},
	{"nft_ct", regexp.MustCompile(`\b(?:ct|notrack)\b`), "hook prerouting priority 0; ct mark 1"},
	{"nft_limit", regexp.MustCompile(`\blimit\b`), "hook input priority 0; limit rate 3/second"},
	{"nft_quota", regexp.MustCompile(`\bquota\b`), "hook input priority 0; quota over 3 bytes"},
	{"nft_numgen", regexp.MustCompile(`\bnumgen\b`), "hook input priority 0; numgen inc mod 2 0"},
	{"nft_hash", regexp.MustCompile(`\b(?:jhash|symhash)\b`), "hook input priority 0; jhash ip saddr mod 2 0"},
	{"nft_synproxy", regexp.MustCompile(`\bsynproxy\b`), "hook input priority 0; synproxy mss 1460"},
	{"nft_log", regexp.MustCompile(`\blog\b`), "hook input priority 0; log group 1"},
	{"nft_reject_ipv4", regexp.MustCompile(`\breject\b`), "hook input priority 0; reject"},
	{"nft_masq", regexp.MustCompile(`\bmasquerade\b`), "nat hook postrouting priority 100; masquerade"},
	{"nft_redir", regexp.MustCompile(`\bredirect\b`), "nat hook prerouting priority -100; redirect"},
	{"nft_nat", regexp.MustCompile(`\b[ds]nat\b`), "nat hook prerouting priority -100; dnat to 127.0.0.1"},
}

// nftUserWords are what the user has named, and may have named like a statement.
var nftUserWords = regexp.MustCompile(`"[^"]*"|@[\w./-]+|\b(?:jump|goto|name) +[\w./-]+|#.*`)

// lacks returns the module that a line needs and that the kernel lacks, or "", and whether it needs any that we know.
func (t nftTry) lacks(line string) (known bool, module string) {
	line = nftUserWords.ReplaceAllString(line, "")
	for _, m := range nftModules {
		if !m.word.MatchString(line) {
			continue
		}
		known = true
		said, err := t.run(m.text())
		if err != nil && (strings.Contains(said, "No such file or directory") || strings.Contains(said, "not supported")) {
			return true, m.name
		}
	}
	return known, ""
}

// text returns a text for nft in which nothing but the module can be missing.
func (m nftModule) text() string {
	body := m.probe
	switch {
	case strings.HasPrefix(body, "hook"):
		body = "chain c { type filter " + body + "; }"
	case strings.HasPrefix(body, "nat"):
		body = "chain c { type " + body + "; }"
	}
	return fmt.Sprintf("table ip %s_probe {\n%s\n}\n", ours.Table, body)
}
