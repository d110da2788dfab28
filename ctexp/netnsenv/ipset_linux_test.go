package netnsenv_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// The sets of a text of ipset are there for the rules of both variants of iptables that come behind it, whatever their types.
func TestSetsOfIPSetAreMatchedByRules(t *testing.T) {
	t.Parallel()
	for _, v := range []netnsenv.Variant{netnsenv.IPTablesLegacy, netnsenv.IPTablesNFT} {
		for name, c := range map[string]struct{ sets, match string }{
			"addresses":           {"create s hash:ip family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x38d55ce2\nadd s 198.18.0.1", "src"},
			"addresses as before": {"create s hash:ip\nadd s 198.18.0.1", "src"},
			"networks":            {"create s hash:net\nadd s 198.18.0.0/31\n", "src"},
			"address and port":    {"create s hash:ip,port\nadd s 192.0.2.1,tcp:80", "dst,dst"},
			"network and link":    {"create s hash:net,iface\nadd s 198.18.0.0/31,tun0", "src,src"},
			"ports":               {"create s bitmap:port range 1-1000\nadd s 80", "dst"},
			"list of sets":        {"create a hash:ip\nadd a 198.18.0.1\n\n# none\ncreate s list:set\nadd s a", "src"},
			"with their counters": {"create s hash:ip counters\nadd s 198.18.0.1 packets 7 bytes 9", "src"},
		} {
			t.Run(string(v)+", "+name, func(t *testing.T) {
				t.Parallel()
				e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Name: "tun0"}}, Silent: true})
				needs.Check(t, netnsenv.IPSetSave(c.sets).Load(t.Context(), e))
				needs.Check(t, netnsenv.IPTables(v, "-A INPUT -p tcp -m set --match-set s "+c.match+" -j DROP").Load(t.Context(), e))

				send(t, e, packet.MustParse("tcp 198.18.0.1:10000 > 192.0.2.1:80 S"))
				dropped := count(t, e)
				send(t, e, packet.MustParse("tcp 198.18.0.9:10000 > 192.0.2.1:81 S"))

				if accepted := count(t, e); dropped != 0 || accepted != 1 {
					t.Errorf("%d entries after a packet that the set has, want 0; %d after one that it has not, want 1", dropped, accepted)
				}
			})
		}
	}
}

// What is wrong with a text of ipset is told with its line, and its sets are not left behind.
func TestWrongSetsOfIPSetAreTold(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true})
	for text, want := range map[string]string{
		"create a hash:ip\nadd a 1.2.3.4\nadd a 1.2.3.4/64": "line 3: Syntax error: '64' is out of range 0-32: add a 1.2.3.4/64",
		"add nope 1.2.3.4":       "line 1: The set with the given name does not exist: add nope 1.2.3.4",
		"create a hash:ip\nfrob": "line 2: No command specified: unknown argument frob: frob",
	} {
		err := netnsenv.IPSetSave(text).Load(t.Context(), e)
		needs.Check(t, lackAlone(err))

		var rules *nf.RulesError
		if !errors.As(err, &rules) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if err := netnsenv.IPSetSave("create a hash:ip").Load(t.Context(), e); err != nil {
		t.Errorf("after wrong texts with this set: %v", err)
	}
}

// lackAlone returns err if it is a lack, else nil.
func lackAlone(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// A type of sets that the kernel lacks is a lack with its module.
func TestTypeOfIPSetThatTheKernelLacks(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true})
	err := netnsenv.IPSetSave("create m hash:mac").Load(t.Context(), e)
	var lack *nf.UnsupportedError
	if err != nil && (!errors.As(err, &lack) || lack.Need != "ip_set_hash_mac" && lack.Need != "ipset" && lack.Need != "ip_set") {
		t.Errorf("%v (need %+v), want one that needs ip_set_hash_mac", err, lack)
	}
}
