//go:build linux

package main

// The rows, by what is done: packets injected, tables filled and read, events and frames recorded, experiments begun and ended.
func rows() []row {
	return []row{
		{
			id: "inject-scapy-new", what: "a flood of new flows; scapy building and writing each packet", goal: 35, unit: thousands, peer: "scapy",
			programs: []string{"python3"}, open: func(b *bench) contender { return againstScapy(b, false) },
		},
		{
			id: "inject-scapy-raw", what: "a flood that a rule drops in raw; scapy", goal: 100, unit: thousands, peer: "scapy",
			programs: []string{"python3"}, open: func(b *bench) contender { return againstScapy(b, true) },
		},
		{
			id: "inject-hping3", what: "a flood of new flows; hping3 --flood", goal: 1.5, unit: thousands, peer: "hping3",
			programs: []string{"hping3"}, open: againstHping,
		},
		{
			id: "inject-tcpreplay", what: "a flood of new flows; tcpreplay --topspeed on a veth", goal: 1.5, unit: thousands, peer: "tcpreplay",
			programs: []string{"tcpreplay"}, open: againstTcpreplay,
		},
		{
			id: "flood-write-new", what: "a flood of new flows; a loop of write(2) with a template", goal: 0.9, unit: thousands, peer: "write loop",
			open: func(b *bench) contender { return againstWrite(b, false, flooding) },
		},
		{
			id: "flood-write-raw", what: "a flood that a rule drops in raw; a loop of write(2)", goal: 0.95, unit: thousands, peer: "write loop",
			open: func(b *bench) contender { return againstWrite(b, true, flooding) },
		},
		{
			id: "inject-write-new", what: "Send of prebuilt packets of new flows; a loop of write(2)", goal: 0.85, unit: thousands, peer: "write loop",
			open: func(b *bench) contender { return againstWrite(b, false, sendingPrebuilt) },
		},
		{
			id: "inject-write-raw", what: "Send of prebuilt packets that a rule drops in raw; a loop of write(2)", goal: 0.8, unit: thousands, peer: "write loop",
			open: func(b *bench) contender { return againstWrite(b, true, sendingPrebuilt) },
		},
		{
			id: "syns-write-new", what: "Send of SYNs(n); a loop of write(2)", goal: 0.8, unit: thousands, peer: "write loop",
			open: func(b *bench) contender { return againstWrite(b, false, sendingSYNs) },
		},
		{
			id: "inject-two-queues", what: "a flood of new flows by two queues; by one", goal: 1.6, unit: thousands, peer: "one queue",
			open: twoQueues,
		},

		{
			id: "fill-restore", what: "CreateAll; conntrack -R", goal: 8, unit: thousands, peer: "conntrack -R",
			programs: []string{"conntrack"}, open: againstRestore,
		},
		{id: "fill-create", what: "CreateAll; Create of ti-mo/conntrack for each", goal: 10, unit: thousands, peer: "ti-mo Create", open: againstCreate},
		{id: "fill-limit", what: "an Env with room for 7 entries, opened", goal: 1, unit: milliseconds, peer: "limit", limit: 700, open: fillRoom},
		{
			id: "dump-conntrack", what: "Flows of 100,000; conntrack -L", goal: 1.5, unit: milliseconds, peer: "conntrack -L",
			programs: []string{"conntrack"}, open: func(b *bench) contender { return dump(b, listing) },
		},
		{
			id: "dump-timo", what: "Flows of 100,000; Dump of ti-mo/conntrack", goal: 2.5, unit: milliseconds, peer: "ti-mo Dump",
			open: func(b *bench) contender { return dump(b, timoDump) },
		},
		{
			id: "dump-limit", what: "Flows of 100,000; the kernel's messages received and thrown away", goal: 0.6, unit: milliseconds, peer: "bare dump",
			open: func(b *bench) contender { return dump(b, bareDump) },
		},
		{id: "dump-small-limit", what: "Flows of 10", goal: 1, unit: milliseconds, peer: "limit", limit: 1, open: dumpSmall},
		{id: "flow-one-limit", what: "Flows of one tuple among 100,000", goal: 1, unit: milliseconds, peer: "limit", limit: 0.2, open: oneFlow},
		{
			id: "flush-conntrack", what: "Flush of 100,000; conntrack -F", goal: 0.8, unit: milliseconds, peer: "conntrack -F",
			programs: []string{"conntrack"}, open: flush,
		},

		{id: "events-listen", what: "queued events read and decoded; Listen of ti-mo/conntrack", goal: 10, unit: thousands, peer: "ti-mo Listen", open: listen},
		{id: "events-kept", what: "events recorded of 100,000 entries created at full speed", goal: 1, unit: share, peer: "all", limit: 1, open: eventsKept},
		{
			id: "capture-tcpdump", what: "a flood recorded by the ring; by tcpdump -w", goal: 0.95, unit: thousands, peer: "tcpdump -w",
			programs: []string{"tcpdump"}, open: againstTcpdump,
		},
		{id: "flood-with-capture", what: "a flood recorded as a Lab does; a flood that is not", goal: 0.8, unit: thousands, peer: "no capture", open: withCapture},
		{id: "tally-limit", what: "Tally", goal: 1, unit: milliseconds, peer: "limit", limit: 0.5, open: tally},

		{id: "env-limit", what: "an Env with the standard path, opened and closed", goal: 1, unit: milliseconds, peer: "limit", limit: 3, open: openAndClose},
		{
			id: "experiment-script", what: "10 SYNs counted, captured and listed; the article's script, with its pauses", goal: 200, unit: milliseconds, peer: "script",
			programs: []string{"bash", "unshare", "ip", "iptables", "conntrack", "tcpdump", "python3"}, open: againstScript,
		},
		{id: "report-limit", what: "the report of 100,000 packets, written", goal: 1, unit: milliseconds, peer: "limit", limit: 1000, open: reporting},
	}
}
