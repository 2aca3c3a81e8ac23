package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"sallyport.dev/mcp/database"
)

const (
	// grace is how much longer than a statement's own timeout, which the server keeps, a call waits for the server.
	grace = 5 * time.Second
	// idleTimeout is when the server ends a transaction that is left alone, so that a connector that hangs holds no locks.
	idleTimeout = 30 * time.Second
	// maxParams is how many parameters the protocol can bind.
	maxParams = math.MaxUint16
)

// errGaveUp says that the server did not keep to a statement's timeout.
var errGaveUp = errors.New("postgres: the statement has not ended in time")

// Run implements [database.Driver].
func (d *Driver) Run(ctx context.Context, as database.Login, s database.Statement, out *database.Rows) error {
	if err := check(s); err != nil {
		return err
	}
	return d.transact(ctx, as, s, "", func(l *link) error {
		p, err := l.prepare("", s.SQL)
		if err != nil {
			return err
		}
		if !p.rows && !s.Write {
			return database.NoResult()
		}
		kinds, err := d.types.of(l, p)
		if err != nil {
			return err
		}
		values, err := bind(p.params, kinds, s.Params)
		if err != nil {
			return err
		}
		columns, decode := describe(p.fields, kinds)
		if p.rows {
			out.SetColumns(columns)
		}
		tag, err := l.execute(p, values, s.Write, func(row [][]byte) (bool, error) {
			made := make([]json.RawMessage, len(row))
			for i, text := range row {
				made[i] = database.Null
				if text != nil {
					made[i] = decode[i](text)
				}
			}
			return out.Add(made), nil
		})
		if err != nil || !s.Write {
			return err
		}
		if err := l.commit(); err != nil {
			return err
		}
		out.SetAffected(pgconn.NewCommandTag(tag).RowsAffected())
		return nil
	})
}

// commit ends a write. Whether it was done is not known if the answer is lost.
func (l *link) commit() error {
	if l.state != inTransaction {
		return &database.Error{Text: "the statement has ended its transaction itself: write it without COMMIT and ROLLBACK", Unknown: true}
	}
	tag, err := l.simple("COMMIT")
	switch {
	case err == nil && tag == "COMMIT":
		return nil
	case err == nil: // the tag of a transaction that had failed is ROLLBACK
		return &database.Error{Text: "the database has rolled the statement back, and nothing of it was kept"}
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && !l.broken {
		return pg // as of a deferred constraint
	}
	return &database.Error{Text: "the connection to the database was lost while the statement was committed: look before it is sent again", Unknown: true, Err: err}
}

// check refuses what the protocol cannot carry.
func check(s database.Statement) error {
	switch {
	case strings.ContainsRune(s.SQL, 0):
		return &database.Error{Text: "the statement has a character U+0000, which PostgreSQL does not take: leave it out"}
	case !utf8.ValidString(s.SQL):
		return &database.Error{Text: "the statement is not valid UTF-8: send it as UTF-8"}
	case len(s.Params) > maxParams:
		return &database.Error{Text: fmt.Sprintf("there are %d parameters, and PostgreSQL takes at most %d: pass an array", len(s.Params), maxParams)}
	}
	for _, v := range s.Session {
		if !isVariable(v.Name) {
			return &database.Error{Text: "a session variable has a name such as app.user, with a dot: settings of the server are not set here"}
		}
		if strings.ContainsRune(v.Value, 0) || !utf8.ValidString(v.Value) {
			return &database.Error{Text: "the value of a session variable has a character U+0000 or is not valid UTF-8"}
		}
	}
	if strings.ContainsRune(s.Role, 0) || !utf8.ValidString(s.Role) {
		return &database.Error{Text: "the role has a character U+0000 or is not valid UTF-8"}
	}
	return nil
}

// isVariable reports whether a name is that of a variable of an application: words of letters, digits and _, joined by dots.
func isVariable(name string) bool {
	words := strings.Split(name, ".")
	for _, w := range words {
		if w == "" || w[0] >= '0' && w[0] <= '9' || strings.ContainsFunc(w, func(r rune) bool {
			return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			return false
		}
	}
	return len(words) > 1 && len(name) <= maxName
}

// begin begins the transaction of a statement. The SELECT takes a snapshot: from then on PostgreSQL refuses to make a
// read-only transaction writable (check_transaction_read_only in its variable.c). path is a search_path of our own.
func begin(s database.Statement, path string) string {
	var b strings.Builder
	mode := "READ ONLY"
	if s.Write {
		mode = "READ WRITE"
	}
	fmt.Fprintf(&b, "BEGIN %s; SET LOCAL statement_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = %d",
		mode, milliseconds(s.Timeout), milliseconds(s.Timeout+idleTimeout))
	if path != "" {
		b.WriteString("; SET LOCAL search_path = " + path)
	}
	if s.Role != "" {
		b.WriteString("; SET LOCAL ROLE " + quoteName(s.Role))
	}
	b.WriteString("; SELECT 1")
	return b.String()
}

// milliseconds is a time as a setting has it: 0 would be no limit, and it has 31 bits.
func milliseconds(d time.Duration) int64 { return min(max(d.Milliseconds(), 1), math.MaxInt32) }

// transact runs do in a transaction of its own on a connection of the login, which is rolled back unless do has committed it.
func (d *Driver) transact(ctx context.Context, as database.Login, s database.Statement, path string, do func(*link) error) error {
	ctx, leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	p, err := d.hold(as)
	if err != nil {
		return err
	}
	defer d.leave(p)
	if err := p.acquire(ctx, maxWait); err != nil {
		return err
	}
	l, ctx, stop, err := d.open(ctx, as, p, s, path)
	began := time.Now()
	if l == nil {
		p.release()
		return err
	}
	if err == nil {
		err = l.variables(s.Session)
	}
	if err == nil {
		err = do(l)
	}
	err = failure(ctx, err, as, s, d.options.MaxBytes, time.Since(began))
	stop()
	d.giveBack(p, l)
	return err
}

// open returns a connection with a transaction, or with the error of its beginning, and a context that ends with the
// statement's time. One that the server has closed meanwhile is replaced, once: nothing but BEGIN was sent on it.
func (d *Driver) open(ctx context.Context, as database.Login, p *pool, s database.Statement, path string) (*link, context.Context, func(), error) {
	l := p.take()
	for {
		fresh := l == nil
		if fresh {
			var err error
			if l, err = d.connect(ctx, as); err != nil {
				return nil, ctx, nil, err
			}
		}
		limited, cancel := context.WithTimeoutCause(ctx, s.Timeout+grace, errGaveUp)
		unwatch := l.watch(limited)
		stop := func() { unwatch(); cancel() }
		_, err := l.simple(begin(s, path))
		if err == nil && l.state != inTransaction {
			err = l.fail(fmt.Errorf("postgres: the session is in state %q after BEGIN", l.state))
		}
		if !fresh && l.broken && limited.Err() == nil {
			stop()
			l.end()
			l = nil
			continue
		}
		return l, limited, stop, err
	}
}

// variables sets those of the session, for the transaction.
func (l *link) variables(vs []database.Variable) error {
	for _, v := range vs {
		if _, err := l.query("", "SELECT pg_catalog.set_config($1, $2, true)", v.Name, v.Value); err != nil {
			return err
		}
	}
	return nil
}

// giveBack puts a link back once it is clean, and closes it if it cannot be cleaned. Its slot is held until then.
func (d *Driver) giveBack(p *pool, l *link) {
	if l.reset() == nil {
		p.put(l)
		p.release()
		return
	}
	d.work.Go(func() { // the call need not wait for the server
		l.end()
		p.release()
	})
}

// quoteName quotes an identifier.
func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
