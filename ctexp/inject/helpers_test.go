package inject_test

import (
	"net/netip"

	"github.com/ctexp/go-ctexp/internal/packettest"
)

var web, web6 = packettest.Web, packettest.Web6

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
