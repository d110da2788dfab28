package mmsg_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/mmsg"
)

// pair returns a non-blocking socket pair.
func pair(t *testing.T) [2]int {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds
}

func TestWhatIsSentIsReceived(t *testing.T) {
	t.Parallel()
	fds := pair(t)
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	const n = 5
	headers := make([]mmsg.Header, n)
	for i := range headers {
		b := fmt.Appendf(nil, "datagram %d", i)
		iov := &unix.Iovec{Base: &b[0]}
		iov.SetLen(len(b))
		headers[i].Msg.Iov = iov
		headers[i].Msg.SetIovlen(1)
	}
	if sent, err := mmsg.Send(fds[0], headers); sent != n || err != nil {
		t.Fatalf("%d sent, %v", sent, err)
	}
	b := mmsg.GetBuffer()
	defer b.Free()
	if got, err := b.Receive(fds[1]); got != n || err != nil {
		t.Fatalf("%d received, %v", got, err)
	}
	for i := range n {
		if want := fmt.Sprint("datagram ", i); string(b.Payload(i)) != want || b.IsCut(i) || len(b.Control(i)) != 0 {
			t.Errorf("got %q, want %q", b.Payload(i), want)
		}
	}
	if _, err := b.Receive(fds[1]); err != unix.EAGAIN {
		t.Errorf("from an empty socket: %v", err)
	}
}

func TestPumpEmptiesASocket(t *testing.T) {
	t.Parallel()
	fds := pair(t)
	defer unix.Close(fds[0])
	got := make(chan string)
	failed := errors.New("enough")
	p, err := mmsg.StartPump(os.NewFile(uintptr(fds[1]), "end"), "end", func(fd int, asked bool) error {
		b := mmsg.GetBuffer()
		defer b.Free()
		n, err := b.Receive(fd)
		if err == unix.EAGAIN {
			return nil
		}
		for i := range n {
			if s := string(b.Payload(i)); s != "stop" {
				got <- s
			} else {
				err = failed
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(fds[0], []byte("woken")); err != nil || <-got != "woken" {
		t.Error(err)
	}
	if err := p.Drain(); err != nil {
		t.Errorf("drain: %v", err)
	}
	if _, err := unix.Write(fds[0], []byte("stop")); err != nil {
		t.Error(err)
	}
	if err := p.Drain(); err != failed {
		t.Errorf("drain after an error: %v", err)
	}
	p.Stop()
}
