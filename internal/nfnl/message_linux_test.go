package nfnl_test

import (
	"bytes"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mdlayher/netlink"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// datagram returns the encoded messages.
func datagram(t testing.TB, msgs ...netlink.Message) []byte {
	t.Helper()
	var b []byte
	for _, m := range msgs {
		one, err := m.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, one...)
	}
	return b
}

func msg(sequence uint32, data ...byte) netlink.Message {
	return netlink.Message{Header: netlink.Header{Length: uint32(16 + len(data)), Type: 0x100, Sequence: sequence}, Data: data}
}

// split returns the messages of a datagram.
func split(b []byte) (msgs []netlink.Message, err error) {
	err = nfnl.Messages(b, func(h nfnl.MessageHeader, body []byte, at int) error {
		msgs = append(msgs, netlink.Message{
			Header: netlink.Header{
				Length: uint32(nfnl.HeaderSize + len(body)), Type: netlink.HeaderType(h.Type),
				Flags: netlink.HeaderFlags(h.Flags), Sequence: h.Sequence, PID: h.PID,
			},
			Data: bytes.Clone(b[at : at+len(body)]),
		})
		return nil
	})
	return msgs, err
}

func TestMessagesOfADatagram(t *testing.T) {
	t.Parallel()
	want := []netlink.Message{msg(1, 1, 2, 3, 4), msg(2), msg(3, 5, 6, 7, 8)}
	got, err := split(datagram(t, want...))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Transformer("data", func(m netlink.Message) any {
		return struct {
			netlink.Header
			Data string
		}{m.Header, string(m.Data)}
	})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMessageErrorsNameAnOffset(t *testing.T) {
	t.Parallel()
	whole := datagram(t, msg(1, 1, 2, 3, 4))
	long := datagram(t, msg(1, 1, 2, 3, 4), msg(2))
	long[20]++
	for want, b := range map[string][]byte{
		"offset 0: 10 bytes are shorter than its header": whole[:10],
		"offset 0: length 20, 18 bytes are there":        whole[:18],
		"offset 20: length 17, 16 bytes are there":       long,
	} {
		if _, err := split(b); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// If package syscall parses a datagram, the messages are the same. It ignores what follows the last complete message,
// and requires the padding of the last.
func FuzzMessages(f *testing.F) {
	f.Add(datagram(f, msg(1, 2, 0, 0, 0), msg(2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := split(b)
		if err != nil && !strings.Contains(err.Error(), "offset") {
			t.Errorf("%x: %v", b, err)
		}
		msgs, serr := syscall.ParseNetlinkMessage(b)
		if err != nil || serr != nil {
			return
		}
		var want []netlink.Message
		for _, m := range msgs {
			want = append(want, netlink.Message{
				Header: netlink.Header{
					Length: m.Header.Len, Type: netlink.HeaderType(m.Header.Type), Flags: netlink.HeaderFlags(m.Header.Flags),
					Sequence: m.Header.Seq, PID: m.Header.Pid,
				},
				Data: m.Data,
			})
		}
		if !cmp.Equal(want, got, cmpopts.EquateEmpty()) {
			t.Errorf("%x: got %v; want %v", b, got, want)
		}
	})
}
