package main

import (
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// reverseRows are about what the host's own answers do to the table.
var reverseRows = []row{
	{
		id:      "reverse-traffic",
		claim:   "without the script's DROP for the reverse direction the host's answers change the table",
		article: fields{{says, "make sure reverse traffic doesn't affect conntrack state"}},
		verdict: confirmed,
		why:     "the RST to a SYN that nobody waits for destroys the entry at once",
		ask: func(b *bench) fields {
			silent := b.open(plain(), script...)
			silent.inject(packet.SYNs(b.packets, web))
			answering := b.openConfirmed(atRaw, atMangle)
			answering.inject(packet.SYNs(b.packets, web))
			t := answering.tally()
			return fields{
				{"entries_with_drop", silent.tally().Entries}, {"entries_without", t.Entries},
				{"destroyed", int(t.Packets[nf.ConfirmedInput.Name]) - t.Entries},
			}
		},
		expect: func(q question) expectations {
			return expectations{{"entries_with_drop", q.n}, {"entries_without", 0}, {"destroyed", q.n}}
		},
	},
	{
		id:      "reverse-too-late",
		claim:   "… and a DROP before conntrack, in raw, prevents that",
		article: fields{{says, "iptables -t raw -A OUTPUT -p tcp --sport 80 -j DROP"}},
		verdict: refined,
		why:     "so it does, but it has to be raw: in the filter table's OUTPUT the DROP comes too late, behind conntrack",
		ask: func(b *bench) fields {
			late := noAnswers
			late.at = filterOutput
			var entries []int
			for _, r := range []rule{late, noAnswers} {
				l := b.open(plain(), atRaw, r)
				l.inject(packet.SYNs(b.packets, web))
				entries = append(entries, l.tally().Entries)
			}
			return fields{{"entries_filter_drop", entries[0]}, {"entries_raw_drop", entries[1]}}
		},
		expect: func(q question) expectations {
			return expectations{{"entries_filter_drop", 0}, {"entries_raw_drop", q.n}}
		},
	},
}

// openConfirmed opens a lab that also counts the packets behind the confirmation of their entries.
func (b *bench) openConfirmed(rules ...rule) *lab {
	cfg := plain()
	cfg.Probes = append(cfg.Probes, nf.ConfirmedInput)
	return b.open(cfg, rules...)
}
