package netnsenv_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// A text finds what it includes in the folder that it is told, and variables have the values that are given.
func TestIncludedFilesAreFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"good.nft": "table inet t {\n\tchain c { tcp dport $port drop; }\n}\n",
		"bad.nft":  "table inet t {\n\tchain c { tcp dport nonsense drop; }\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func(text string) error {
		o := netnsenv.NFTOptions{Folder: dir, Define: []string{"port=80"}}
		env, err := netnsenv.Open(t.Context(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.NFTWith(o, text)}})
		if err == nil {
			err = env.Close()
		}
		return err
	}

	for _, text := range []string{"include \"./good.nft\"\n", "include \"good.nft\"\r\n"} {
		needs.Check(t, load(text))
	}
	err := load("\ninclude \"./bad.nft\"\n")

	var rules *nf.RulesError
	if !errors.As(err, &rules) || len(rules.Problems) != 1 || rules.Problems[0].File != "./bad.nft" || rules.Problems[0].Line != 2 ||
		!strings.Contains(err.Error(), "\n./bad.nft: line 2, column ") {
		t.Errorf("got %+v: %v", rules, err)
	}
}

// What iptables-save has written is loaded with the line ends of other systems; what is around it is told, and nothing loaded.
func TestPastedDumpIsTold(t *testing.T) {
	t.Parallel()
	const text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp --dport 80 -j DROP\nCOMMIT\n"
	for given, want := range map[string]string{
		strings.ReplaceAll(text, "\n", "\r\n"): "",
		"$ iptables-save\n" + text:             "line 1: is no line of iptables-save: cut it: $ iptables-save",
		text + text:                            "line 5: a second dump of the table, which begins in line 1 already: cut one of them, or load them as two texts: *filter",
	} {
		env, err := netnsenv.Open(t.Context(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.IPTablesSave(netnsenv.IPTablesNFT, given)}})
		if err == nil {
			err = env.Close()
		}
		if want == "" || errors.Is(err, errors.ErrUnsupported) {
			needs.Check(t, err)
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", given, err, want)
		}
	}
}

// The links of rules are those that they name, in their order, also by variables and in included files.
func TestLinksOfRules(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "b.nft"), []byte(`table inet b { chain c { oif "inner" accept; }; }`), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, r := range map[string]netnsenv.Ruleset{
		"wan lan dmz* inner eth7": netnsenv.NFTWith(netnsenv.NFTOptions{Folder: dir, Define: []string{"given=eth7"}}, `
			define one = lan
			define all = { wan, $one }
			table inet a { chain c { iif $all accept; iifname "dmz*" drop; oifname "lan" drop; }; }
			include "./b.nft"
			table inet c { chain c { iifname $given accept; }; }`),
		"eth0 br+": netnsenv.IPTablesSave(netnsenv.IPTablesNFT, "*filter\n-A INPUT -i eth0 -j DROP\n-A INPUT ! -o br+ -j DROP\nCOMMIT"),
		"eth1":     netnsenv.IPTables(netnsenv.IPTablesNFT, "-A INPUT -i eth1 -j DROP"),
		"":         netnsenv.NFTables(nil),
	} {
		if got := strings.Join(netnsenv.LinksOf(r), " "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
