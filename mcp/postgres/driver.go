package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"sallyport.dev/mcp/database"
)

// errClosed is why calls end when the driver is closed.
var errClosed = &database.Error{Text: "the connector is shutting down: try again later"}

// Driver is one PostgreSQL database. Make it with [New]. It implements [database.Driver].
type Driver struct {
	target  target
	options database.Options
	base    *pgconn.Config
	types   types
	done    chan struct{}
	// work counts calls that are under way, connections that are being closed, and the sweeper.
	work sync.WaitGroup

	// mu guards what follows, and users and used of each pool.
	mu     sync.Mutex
	closed bool
	pools  map[string]*pool
	calls  map[*call]struct{}
}

// call is one call that is under way.
type call struct{ end context.CancelCauseFunc }

var _ database.Driver = (*Driver)(nil)

// New returns the driver of a database, to which it does not connect before it is used. Close it.
func New(cfg Config, o database.Options) (*Driver, error) {
	t, err := cfg.parse()
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	if o.MaxConnections <= 0 || o.MaxBytes <= 0 || o.Dial == nil && !t.unix() {
		return nil, errors.New("postgres: Dial, MaxConnections and MaxBytes are required")
	}
	base, err := t.base(o)
	if err != nil {
		return nil, err
	}
	d := &Driver{target: t, options: o, base: base, done: make(chan struct{}), pools: map[string]*pool{}, calls: map[*call]struct{}{}}
	d.work.Go(d.sweep)
	return d, nil
}

// Dialect implements [database.Driver].
func (d *Driver) Dialect() database.Dialect {
	return database.Dialect{Name: "PostgreSQL", Scheme: "postgres", DefaultSchema: "public", Placeholders: "$1, $2", Quoted: `"name"`}
}

// Close implements [database.Driver]. It waits until the server was asked to stop what still runs, for some seconds at most.
func (d *Driver) Close() {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return
	}
	d.closed = true
	for c := range d.calls {
		c.end(errClosed)
	}
	d.mu.Unlock()
	close(d.done)
	d.work.Wait()
	for _, p := range d.pools { // nobody else is left
		endAll(p.links)
	}
}

// enter begins a call: its context ends when the driver is closed. Call the function that it returns when the call has ended.
func (d *Driver) enter(ctx context.Context) (context.Context, func(), error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ctx, nil, errClosed
	}
	ctx, end := context.WithCancelCause(ctx)
	c := &call{end}
	d.calls[c] = struct{}{}
	d.work.Add(1)
	return ctx, func() {
		d.mu.Lock()
		delete(d.calls, c)
		d.mu.Unlock()
		end(nil)
		d.work.Done()
	}, nil
}
