package ctexp_test

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
)

// What carries a call of PPTP is known by the call of its receiver.
func TestTheTupleOfACallIsThatOfItsEntry(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router)
	call := web.PPTP(inject.PPTP{CallID: 5, Seq: 1, Payload: []byte("PPP")})

	got := x.States(call.Tuple(), inject.Packets(call))

	if diff := ctexp.Diff([]string{"gre [UNREPLIED]"}, got); diff != "" {
		t.Errorf("entry of %v (-want +got):\n%s%v", call.Tuple(), diff, x.Flows())
	}
}
