package ctexp

import (
	"context"
	"fmt"
	"iter"
	"net"
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// TCP returns an end of a TCP connection behind a link, which a program plays; see inject.NewTCP.
func (l *Lab) TCP(link string, f inject.Flow) (*inject.TCPPeer, error) {
	by, err := l.by(link)
	if err != nil {
		return nil, err
	}
	return inject.NewTCP(by, link, l.Inbox, f), nil
}

// UDP returns an end of a conversation over UDP behind a link, which a program plays; see inject.NewUDP.
func (l *Lab) UDP(link string, f inject.Flow) (*inject.UDPPeer, error) {
	by, err := l.by(link)
	if err != nil {
		return nil, err
	}
	return inject.NewUDP(by, link, l.Inbox, f), nil
}

// Echo returns an end of a conversation over ICMP echo behind a link, which a program plays; see inject.NewEcho.
func (l *Lab) Echo(link string, src, dst netip.Addr) (*inject.EchoPeer, error) {
	by, err := l.by(link)
	if err != nil {
		return nil, err
	}
	return inject.NewEcho(by, link, l.Inbox, src, dst), nil
}

// AcceptDial has a socket of the host under test dial the peer's own address, lets it connect, and returns it. It is closed
// with the Env. Where the socket fails, the error says why.
func (l *Lab) AcceptDial(ctx context.Context, p *inject.TCPPeer) (net.Conn, error) {
	if p == nil {
		panic("ctexp: AcceptDial of a nil TCPPeer")
	}
	dialing, cancelDial := context.WithCancel(ctx)
	defer cancelDial()
	accepting, cancelAccept := context.WithCancelCause(ctx)
	defer cancelAccept(nil)
	type dialed struct {
		conn net.Conn
		err  error
	}
	done, to := make(chan dialed, 1), p.Flow().Src.String()
	go func() {
		conn, err := l.Env.Dial(dialing, "tcp", to)
		if err != nil {
			cancelAccept(err)
		}
		done <- dialed{conn, err}
	}()
	err := p.Accept(accepting)
	if err != nil {
		cancelDial()
	}
	socket := <-done
	if err == nil {
		return socket.conn, socket.err
	}
	if socket.conn != nil {
		err = fmt.Errorf("%w\nthe socket is connected to %v all the same, but not by this script", err, socket.conn.RemoteAddr())
		socket.conn.Close()
	}
	return nil, err
}

// byLink sends by a link of a Lab.
type byLink struct {
	lab  *Lab
	link *netnsenv.Link
}

func (l *Lab) by(link string) (byLink, error) {
	to, err := l.linkNamed(link)
	if err != nil {
		return byLink{}, fmt.Errorf("ctexp: %w", err)
	}
	return byLink{l, to}, nil
}

// Send makes it an inject.Sender.
func (b byLink) Send(ctx context.Context, packets iter.Seq[inject.Packet]) (int, error) {
	return b.lab.inject(ctx, b.link, packets)
}
