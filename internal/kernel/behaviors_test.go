package kernel

import (
	"testing"
)

// Every behavior has its own need, what changed it, and a release or a file of the running kernel that decides.
func TestBehaviorsAreWhole(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for name, b := range map[string]Behavior{
		"OwnedTables": OwnedTables, "EventsOnDemand": EventsOnDemand, "EndsTold": EndsTold, "EventTime": EventTime, "ChainTooLong": ChainTooLong,
		"ReasonLink": ReasonLink, "InvalidNewLogged": InvalidNewLogged, "BesideWindowPasses": BesideWindowPasses, "TraceState": TraceState, "RPSDefaultMask": RPSDefaultMask,
		"UnconfirmedList": UnconfirmedList, "EgressHook": EgressHook, "SYNACKRenewed": SYNACKRenewed, "ZoneFilters": ZoneFilters, "StatusFilters": StatusFilters, "DCCPTracked": DCCPTracked, "ExpectMillis": ExpectMillis, "SourceReasons": SourceReasons, "ZeroLimit": ZeroLimit, "HelperDropsLogged": HelperDropsLogged, "UDPLiteTracked": UDPLiteTracked, "FibBehindRouting": FibBehindRouting, "QueuedClashes": QueuedClashes,
	} {
		if b.need == "" || b.why == "" || seen[b.need] || b.shown == nil && b.since == (release{}) && b.until == (release{}) {
			t.Errorf("%s: %+v", name, b)
		}
		seen[b.need] = true
		if lack := b.Lack(); (lack == nil) != b.Here() {
			t.Errorf("%s is here: %v, and it lacks %v", name, b.Here(), lack)
		}
	}
}
