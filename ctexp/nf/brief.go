package nf

import "strings"

// Brief prints how an entry is, without saying which: the state of TCP, or the protocol, and [UNREPLIED] or [ASSURED] as
// conntrack -L does: "SYN_SENT [UNREPLIED]", "SYN_RECV", "ESTABLISHED [ASSURED]", "udp [UNREPLIED]".
func (e Entry) Brief() string {
	words := []string{e.Orig.Proto.String()}
	switch {
	case e.Orig.Proto == TCP:
		words[0] = e.State.String()
	case e.OtherState != "":
		words[0] = e.OtherState
	}
	if !e.Status.Has(SeenReply) {
		words = append(words, "[UNREPLIED]")
	}
	if e.Status.Has(Assured) {
		words = append(words, "[ASSURED]")
	}
	return strings.Join(words, " ")
}
