package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

const (
	defaultListen = "127.0.0.1:7443"
	portTries     = 50
)

// ErrListen means that the address for the demo's gateway cannot be used.
var ErrListen = errors.New("demo: the address cannot be used")

// openPort opens one port number on TCP and UDP. Without an address it takes the default, or any free port if that one
// is taken.
func openPort(address string) (net.Listener, net.PacketConn, error) {
	if address == "" {
		tcp, udp, err := openBoth(defaultListen)
		if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) {
			return tcp, udp, err
		}
		address = "127.0.0.1:0"
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: write host:port, such as %s", ErrListen, defaultListen)
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.Unmap().IsLoopback()) {
		return nil, nil, fmt.Errorf("%w: the demo stays on loopback: write 127.0.0.1:port", ErrListen)
	}
	if port != "0" {
		return openBoth(address)
	}
	for range portTries {
		var tcp net.Listener
		var udp net.PacketConn
		if tcp, udp, err = openBoth(address); err == nil {
			return tcp, udp, nil
		}
	}
	return nil, nil, err
}

func openBoth(address string) (net.Listener, net.PacketConn, error) {
	var config net.ListenConfig
	tcp, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrListen, err)
	}
	udp, err := config.ListenPacket(context.Background(), "udp", tcp.Addr().String())
	if err != nil {
		_ = tcp.Close()
		return nil, nil, fmt.Errorf("%w: %w", ErrListen, err)
	}
	return tcp, udp, nil
}
