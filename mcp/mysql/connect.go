package mysql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"net"
	"strings"
	"time"

	client "github.com/go-sql-driver/mysql"

	"sallyport.dev/mcp/database"
)

const (
	// connectTime is how long a connection may take to be made, login included.
	connectTime = 10 * time.Second
	// killTime is how long the end of a statement on the server may take, over a connection of its own.
	killTime = 3 * time.Second
)

// session is one connection, for one call.
type session struct {
	conn driver.Conn
	wire *wire
	as   database.Login
	// busy says that the server may be at work for this connection.
	busy bool
}

// with makes a connection, hands it to f, and ends it, on the server too.
func (d *Driver) with(ctx context.Context, as database.Login, f func(*session) error) error {
	giveBack, err := d.slots.take(ctx, as.Key)
	if err != nil {
		return err
	}
	defer giveBack()
	s, err := d.connect(ctx, as, false)
	if err != nil {
		return err
	}
	defer d.end(ctx, s)
	return guard(s.wire, func() error { return f(s) })
}

// end closes a connection. What the server does for it still is stopped: it would not notice before it has something to send.
func (d *Driver) end(ctx context.Context, s *session) {
	if !s.busy {
		_ = s.wire.SetWriteDeadline(time.Now().Add(goodbye)) // COM_QUIT is a courtesy
		_ = s.conn.Close()
		d.forget(s.wire)
		return
	}
	s.wire.abandon()
	_ = s.conn.Close() // it is closed; this ends the library's goroutine
	d.forget(s.wire)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	k, err := d.connect(ctx, s.as, true)
	if err != nil {
		return // then the limits of the session end it
	}
	_ = k.exec(ctx, fmt.Sprintf("KILL CONNECTION %d", s.wire.id)) // it may have ended by itself
	k.busy = false
	d.end(ctx, k)
}

// connect makes a connection and logs in. Only a last one, which is to end another, is made after Close.
func (d *Driver) connect(ctx context.Context, as database.Login, last bool) (*session, error) {
	s := &session{as: as}
	var dialErr error
	cfg := client.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName = as.User, as.Password.Reveal(), d.at.database
	if cfg.User == "" {
		cfg.User = d.at.user
	}
	// The library has no TLS of its own here: wire does it. "unix" tells it that nobody listens, so that it sends the server the
	// password where caching_sha2_password asks for it, instead of asking for a key to encrypt it with.
	cfg.Net, cfg.Addr = "unix", "wire"
	if d.tls == nil && d.at.network != "unix" {
		cfg.Net = "tcp"
	}
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		raw, err := d.options.Dial(ctx, d.at.network, d.at.address)
		if err != nil {
			dialErr = err
			return nil, err
		}
		w := newWire(raw, d.tls, d.budget())
		if err := d.track(w, last); err != nil {
			raw.Close()
			dialErr = err
			return nil, err
		}
		s.wire = w
		return w, nil
	}
	cfg.Logger = &client.NopLogger{}
	cfg.CheckConnLiveness = false // no connection is used twice
	cfg.ClientFoundRows = false
	cfg.ConnectionAttributes = "program_name:sallyport"
	connector, err := client.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	err = guard(s.wire, func() (err error) {
		s.conn, err = connector.Connect(limited)
		return err
	})
	switch {
	case dialErr != nil:
		err = database.Unreachable(dialErr)
	case err != nil:
		err = d.refusal(s.wire, err)
	default:
		return s, nil
	}
	if s.wire != nil {
		s.wire.abandon()
		d.forget(s.wire)
	}
	if ctx.Err() == context.Canceled {
		return nil, ctx.Err()
	}
	return nil, err
}

// guard turns a panic of the library, which trusts what a server sends, into an error.
func guard(w *wire, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if w != nil {
				w.abandon()
			}
			err = misunderstood(fmt.Errorf("%w: %v", errProtocol, r))
		}
	}()
	return f()
}

// exec runs a statement of ours that returns nothing.
func (s *session) exec(ctx context.Context, sql string) error {
	s.busy = true
	_, err := s.conn.(driver.ExecerContext).ExecContext(ctx, sql, nil)
	s.done(err)
	return err
}

// prepare has the server read a statement.
func (s *session) prepare(ctx context.Context, sql string) (driver.Stmt, error) {
	s.busy = true
	stmt, err := s.conn.(driver.ConnPrepareContext).PrepareContext(ctx, sql)
	s.done(err)
	return stmt, err
}

// query starts a prepared statement. Whoever reads its rows to the end says so by done.
func (s *session) query(ctx context.Context, stmt driver.Stmt, args []driver.NamedValue) (driver.Rows, error) {
	s.busy = true
	rows, err := stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		s.done(err)
	}
	return rows, err
}

// done notes that the server has answered, if it did.
func (s *session) done(err error) {
	if _, said := asServer(err); err == nil || said {
		s.busy = false
	}
}

// isMariaDB reports which of the two kinds of servers this is.
func (s *session) isMariaDB() bool {
	return strings.Contains(strings.ToLower(s.wire.version), "mariadb")
}
