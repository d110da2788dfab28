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
// with the Env.
func (l *Lab) AcceptDial(ctx context.Context, p *inject.TCPPeer) (net.Conn, error) {
	dialing, cancel := context.WithCancel(ctx)
	defer cancel()
	type dialed struct {
		conn net.Conn
		err  error
	}
	done, to := make(chan dialed, 1), p.Flow().Src.String()
	go func() {
		conn, err := l.Env.Dial(dialing, "tcp", to)
		done <- dialed{conn, err}
	}()
	err := p.Accept(ctx)
	if err != nil {
		cancel()
	}
	socket := <-done
	if err == nil {
		err = socket.err
	}
	if err != nil && socket.conn != nil {
		socket.conn.Close()
		return nil, err
	}
	return socket.conn, err
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
