package connector

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// ownersOnly accepts connections of our own user and of root alone: between the making of a socket and the change of its mode
// somebody else could have connected, and its folder may be open to others.
func ownersOnly(l net.Listener) net.Listener { return &ownersListener{l} }

type ownersListener struct{ net.Listener }

// Accept implements net.Listener.
func (l *ownersListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || isOwner(conn) {
			return conn, err
		}
		_ = conn.Close()
	}
}

// isOwner asks the kernel who has connected (unix(7), SO_PEERCRED).
func isOwner(conn net.Conn) bool {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	owner := false
	err = raw.Control(func(fd uintptr) {
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		owner = err == nil && (peer.Uid == 0 || int64(peer.Uid) == int64(os.Geteuid()))
	})
	return err == nil && owner
}
