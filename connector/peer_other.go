//go:build !linux

package connector

import "net"

// ownersOnly leaves it to the socket's mode who may connect.
func ownersOnly(l net.Listener) net.Listener { return l }
