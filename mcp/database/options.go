package database

import (
	"context"
	"crypto/x509"
	"net"
)

// Options are what a driver is given beside its own configuration.
type Options struct {
	// Dial makes connections, and sees to it that the address is one that may be dialled. Required by drivers that dial.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Roots are the CA certificates to trust; nil for the system's.
	Roots *x509.CertPool
	// MaxConnections is how many connections there may be for one login at once. It is above zero.
	MaxConnections int
	// MaxBytes is how many bytes of values a result may have. No row needs to be taken in that is much longer.
	MaxBytes int64
}
