package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sallyport.dev/mcp/database"
)

const (
	// maxWait is how long a call waits until it may have a connection.
	maxWait = 10 * time.Second
	// grace is how long a statement that was interrupted may go on before nobody waits for it any more. SQLite looks at an
	// interrupt every 1,000 operations of its machine, and one of them may work on a long value.
	grace = 500 * time.Millisecond
	// lookLimit bounds what looks at the schema.
	lookLimit = 10 * time.Second
	// closeWait is how long Close waits for statements that were interrupted.
	closeWait = 5 * time.Second
)

var errClosed = errors.New("sqlite: the driver is closed")

// Driver is one SQLite database. Make it with [New] or [NewMemory].
type Driver struct {
	source   source
	writable bool
	maxBytes int64
	slots    chan struct{} // one for each connection that there may be

	// mu guards what follows.
	mu      sync.Mutex
	closed  bool
	last    int
	cancels map[int]context.CancelCauseFunc // of the calls that are under way
	calls   sync.WaitGroup
}

// source is where the database is.
type source interface {
	// look says how the database is to be opened now: as a URI of SQLite. still reports afterwards whether what was read that
	// way can be believed; it is nil if SQLite sees to that by its locks.
	look(write bool) (uri string, still func() bool, err error)
	// hide takes what is not to be known out of an error's text.
	hide(text string) string
	// warnings says what others may do to the database.
	warnings() []string
	close()
}

var _ database.Driver = (*Driver)(nil)

// New returns the database in a file. The file need not be there yet.
func New(cfg Config, o database.Options) (*Driver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	return newDriver(file(cfg.File), cfg.Writable, o), nil
}

func newDriver(s source, writable bool, o database.Options) *Driver {
	return &Driver{
		source: s, writable: writable, maxBytes: o.MaxBytes,
		slots: make(chan struct{}, max(1, o.MaxConnections)), cancels: map[int]context.CancelCauseFunc{},
	}
}

// Dialect says how statements are written.
func (*Driver) Dialect() database.Dialect {
	return database.Dialect{Name: "SQLite", Scheme: "sqlite", DefaultSchema: "main", Placeholders: "?1, ?2", Quoted: `"name"`}
}

// Close interrupts what is under way, and waits for it for a few seconds.
func (d *Driver) Close() {
	d.mu.Lock()
	d.closed = true
	for _, cancel := range d.cancels {
		cancel(errClosed)
	}
	d.mu.Unlock()
	done := make(chan struct{})
	go func() {
		d.calls.Wait()
		close(done)
	}()
	late := time.NewTimer(closeWait)
	defer late.Stop()
	select {
	case <-done:
		d.source.close()
	case <-late.C:
	}
}

// do calls work with a connection of its own, for no longer than limit. It returns soon after the limit or ctx even if SQLite
// does not: work then goes on alone, keeps its connection for so long, and its result is lost.
func (d *Driver) do(ctx context.Context, limit time.Duration, write bool, work func(*conn) error) error {
	if err := d.acquire(ctx); err != nil {
		return err
	}
	inner, cancel := context.WithCancelCause(ctx)
	id, err := d.enter(cancel)
	if err != nil {
		<-d.slots
		cancel(nil)
		return err
	}
	inner, stop := context.WithTimeout(inner, limit)
	done := make(chan error, 1)
	go func() {
		err := d.once(inner, write, work)
		stop()
		cancel(nil)
		<-d.slots
		d.leave(id)
		done <- err
	}()
	select {
	case err = <-done:
	case <-inner.Done():
		late := time.NewTimer(grace)
		defer late.Stop()
		select {
		case err = <-done:
		case <-late.C:
			return d.ended(ctx, inner, limit, write)
		}
	}
	if errors.Is(err, errInterrupted) {
		return d.ended(ctx, inner, limit, false)
	}
	return err
}

// ended returns why a statement was interrupted. Unknown says that it may have written.
func (d *Driver) ended(ctx, inner context.Context, limit time.Duration, unknown bool) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(context.Cause(inner), errClosed):
		return database.Unreachable(errClosed)
	}
	late := database.TimedOut(limit)
	late.Unknown = unknown
	return late
}

func (d *Driver) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case d.slots <- struct{}{}:
		return nil
	default:
	}
	wait := time.NewTimer(maxWait)
	defer wait.Stop()
	select {
	case d.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		return database.Busy()
	}
}

func (d *Driver) enter(cancel context.CancelCauseFunc) (id int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return 0, database.Unreachable(errClosed)
	}
	d.last++
	d.cancels[d.last] = cancel
	d.calls.Add(1)
	return d.last, nil
}

func (d *Driver) leave(id int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.cancels, id)
	d.calls.Done()
}

// once opens a connection, calls work and closes it. What goes wrong inside SQLite's code becomes an error.
func (d *Driver) once(ctx context.Context, write bool, work func(*conn) error) (err error) {
	if write && !d.writable {
		return &database.Error{Text: "this database is read only: nothing was run"}
	}
	uri, still, err := d.source.look(write)
	if err != nil {
		return err
	}
	err = caught(func() error {
		c, err := open(ctx, uri, write, d.maxBytes)
		if err != nil {
			return err
		}
		defer c.close()
		return work(c)
	})
	switch {
	case err != nil:
		return asError(err, d.source)
	case still != nil && !still():
		return &database.Error{Text: "the database was changed while it was read, and the result is not to be trusted: try again"}
	}
	return nil
}
