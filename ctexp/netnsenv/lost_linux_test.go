package netnsenv_test

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// What the host sends is read or counted as lost, and ReadNow does not wait whatever the deadline.
func TestPacketsThatFindNoRoomAreCounted(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]netnsenv.LinkKind{"auto": netnsenv.Auto, "veth": netnsenv.Veth} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const sent = 1000
			e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind}}})
			l := e.Links()[0]
			ping := inject.Echo(netip.MustParseAddr("198.18.0.2"), netip.MustParseAddr("192.0.2.1"), 1, 1, nil)
			if _, err := inject.New(l).Send(t.Context(), inject.Repeat(sent, ping)); err != nil {
				t.Fatal(err)
			}
			read := uint64(0)
			buf := make([]byte, 1500)
			for {
				_, err := l.ReadNow(buf)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				read++
			}
			for range 2 { // it is a sum, however often it is asked for
				lost, err := l.Lost()
				if err != nil || lost == 0 || read+lost != sent {
					t.Errorf("of %d packets %d were read and %d lost (%v)", sent, read, lost, err)
				}
			}
			e.Close()
			if _, err := l.Lost(); !errors.Is(err, netnsenv.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
			if _, err := l.ReadNow(buf); !errors.Is(err, netnsenv.ErrClosed) {
				t.Errorf("ReadNow after Close: %v", err)
			}
		})
	}
}
