package report_test

import "github.com/ctexp/go-ctexp/internal/report"

// beforeHooks has two families: some packets of both met no hook, and of one nothing else is known.
func beforeHooks() report.Data {
	d := fullTable()
	d.Test, d.Failed, d.Failures, d.Commands, d.Room = "TestPacketsThatMeetNoHook", false, nil, nil, report.Room{}
	d.Path = report.Path{
		Points: append(standard("ipv4", map[string][]uint64{
			"prerouting": {7, 7, 7, 7, 7, 7, 7}, "input": {7, 7, 7, 7, 7, 7},
		}), standard("ipv6", nil)...),
		Losses: []report.Loss{
			{Family: "ipv4", Hook: "ingress", From: []string{"link/ingress"}, To: []string{"defrag/prerouting"}, Lost: 3, Of: 10, Why: "a bad checksum of the IP header (IpExtInCsumErrors +1); dropped by nft netdev u in: tcp dport 80 drop [packets 2 bytes 80]"},
			{Family: "ipv6", Hook: "ingress", From: []string{"ip6/link/ingress"}, To: []string{"ip6/defrag/prerouting"}, Lost: 2, Of: 2, Why: "fewer bytes than the IPv6 header says (Ip6InTruncatedPkts +2)"},
		},
		Arrived:     []report.Count{{Name: "ipv4", N: 10}, {Name: "ipv6", N: 2}},
		MIB:         []report.Count{{Name: "Ip6InTruncatedPkts", N: 2}, {Name: "IpExtInCsumErrors", N: 1}},
		KernelDrops: []report.DropCount{{Family: "ipv4", Reason: "IP_CSUM", Function: "ip_rcv_core", Packets: 1}},
		Notes:       []string{"the kernel drops IP_CSUM in ip_rcv_core"},
	}
	return d
}
