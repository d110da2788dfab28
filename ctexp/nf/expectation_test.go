package nf_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestExpectationString(t *testing.T) {
	t.Parallel()
	tuple := func(src, dst string) nf.Tuple {
		return nf.Tuple{Proto: nf.TCP, Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst)}
	}
	ftp := nf.Expectation{
		Tuple: tuple("192.0.2.1:0", "198.18.0.2:20001"), Mask: tuple("255.255.255.255:0", "255.255.255.255:65535"),
		Master: tuple("198.18.0.2:10000", "192.0.2.1:21"), Helper: "ftp", Timeout: 300, ID: 7,
	}
	const line = "tcp src=192.0.2.1 dst=198.18.0.2 sport=0 dport=20001 master src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=21"
	full := ftp
	full.Mask.Src = netip.MustParseAddrPort("255.255.255.0:0")
	full.NAT = nf.ExpectNAT{Tuple: tuple("10.0.0.1:5", "0.0.0.0:0"), Reply: true}
	full.Flags, full.Zone, full.Class, full.Function = nf.ExpectPermanent|nf.ExpectUserspace|8, 3, 1, "nat-follow-master"
	anySource := ftp
	anySource.Mask.Src, anySource.Helper = netip.MustParseAddrPort("0.0.0.0:0"), ""
	got := []string{ftp.String(), anySource.String(), full.String()}
	want := []string{
		line + " helper=ftp",
		line,
		"tcp src=192.0.2.1 dst=198.18.0.2 sport=0 dport=20001 mask-src=255.255.255.0 master src=198.18.0.2 dst=192.0.2.1 " +
			"sport=10000 dport=21 nat=10.0.0.1:5 nat-dir=reply [PERMANENT,USERSPACE,BIT_3] zone=3 class=1 helper=ftp function=nat-follow-master",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
