package mysql

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"sallyport.dev/mcp/database"
)

// Driver is one MySQL or MariaDB database. Make it with [New].
type Driver struct {
	at      address
	options database.Options
	tls     *tls.Config // nil for none
	slots   *slots
	// anyWord runs statements whatever they begin with: it is for a test of what the server refuses by itself.
	anyWord bool

	// mu guards what follows.
	mu     sync.Mutex
	closed bool
	open   map[*wire]struct{}
	// harmless is until when a key's login is taken to have no FILE privilege.
	harmless map[string]time.Time
}

var _ database.Driver = (*Driver)(nil)

// New returns the driver for a database. It makes no connection.
func New(cfg Config, o database.Options) (*Driver, error) {
	at, err := cfg.parse()
	if err != nil {
		return nil, fmt.Errorf("mysql: %w", err)
	}
	if o.Dial == nil || o.MaxConnections < 1 || o.MaxBytes < 1 {
		return nil, errors.New("mysql: Dial, MaxConnections and MaxBytes are required")
	}
	d := &Driver{
		at: at, options: o, slots: &slots{size: o.MaxConnections, byKey: map[string]*queue{}},
		open: map[*wire]struct{}{}, harmless: map[string]time.Time{},
	}
	if !at.plain {
		d.tls = &tls.Config{RootCAs: o.Roots, ServerName: at.host, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	}
	return d, nil
}

// Dialect implements database.Driver.
func (d *Driver) Dialect() database.Dialect {
	return database.Dialect{Name: "MySQL", Scheme: "mysql", DefaultSchema: d.at.database, Placeholders: "?, ?", Quoted: "`name`"}
}

// Close implements database.Driver. Statements that are under way are stopped on the server too, by the calls that they are of.
func (d *Driver) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for w := range d.open {
		w.abandon()
	}
}

// track keeps a connection for Close. After it there are only those that end others.
func (d *Driver) track(w *wire, last bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed && !last {
		return errors.New("mysql: the driver is closed")
	}
	d.open[w] = struct{}{}
	return nil
}

func (d *Driver) forget(w *wire) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, w)
}

// budget is how many bytes a server may send for a statement: those of the values, which are longer as JSON than on the wire,
// of names and types, and of a row that is too long by little.
func (d *Driver) budget() int64 { return max(d.options.MaxBytes*4, 4<<20) + 1<<20 }
