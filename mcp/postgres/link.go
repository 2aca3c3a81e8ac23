package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	// resetTimeout bounds the clean-up after a statement; a connection that takes longer is closed.
	resetTimeout = 5 * time.Second
	// cancelTimeout bounds asking the server to stop a statement.
	cancelTimeout = 5 * time.Second
	// closeTimeout bounds saying goodbye.
	closeTimeout = time.Second
	// drainRows and drainBytes are how much of a result that nobody wants is read so that its connection can be kept.
	drainRows  = 10_000
	drainBytes = 1 << 20
)

// The states of a session between statements, as ReadyForQuery gives them.
const (
	idle          = 'I'
	inTransaction = 'T'
)

// errCopy says that a statement wants to send or to get a stream that is not there.
var errCopy = errors.New("postgres: the statement copies from or to the client")

// link is one connection. pgconn has opened it; what is said on it is said here, message by message, so that a statement is
// looked at before it runs, and nothing (a COPY, a result without end) finds it waiting for what does not come.
// One goroutine at a time uses it.
type link struct {
	pg    *pgconn.PgConn
	front *pgproto3.Frontend
	// state is what the last ReadyForQuery said.
	state byte
	// broken says that it cannot be used again, and running that the server may still be at work for it.
	broken, running bool
	// parked is when it was put back.
	parked time.Time
}

// newLink takes a connection that was just opened: it has said that it is ready, and is idle.
func newLink(pg *pgconn.PgConn) *link {
	return &link{pg: pg, front: pg.Frontend(), state: pg.TxStatus()}
}

// watch makes the link fail once ctx ends. The function that it returns ends that, and the link with it if it was too late.
func (l *link) watch(ctx context.Context) (stop func()) {
	end := context.AfterFunc(ctx, func() { l.pg.Conn().SetDeadline(time.Unix(1, 0)) })
	return func() {
		if !end() {
			l.broken, l.running = true, true
		}
	}
}

// fail marks the link as one that cannot be used again.
func (l *link) fail(err error) error {
	l.broken = true
	if _, tooLong := errors.AsType[*pgproto3.ExceededMaxBodyLenErr](err); tooLong || isTimeout(err) {
		l.running = true
	}
	return err
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}

func (l *link) send(messages ...pgproto3.FrontendMessage) error {
	for _, m := range messages {
		l.front.Send(m)
	}
	if err := l.front.Flush(); err != nil {
		return l.fail(fmt.Errorf("postgres: send: %w", err))
	}
	return nil
}

// next returns the next message but for those that may come at any time.
func (l *link) next() (pgproto3.BackendMessage, error) {
	for {
		m, err := l.front.Receive()
		if err != nil {
			return nil, l.fail(fmt.Errorf("postgres: receive: %w", err))
		}
		switch m := m.(type) {
		case *pgproto3.NoticeResponse, *pgproto3.NotificationResponse, *pgproto3.ParameterStatus:
		case *pgproto3.ReadyForQuery:
			l.state = m.TxStatus
			return m, nil
		default:
			return m, nil
		}
	}
}

// answers reads until the server is ready for more, and hands out the messages before that. It returns the first error, be
// it the server's or take's; one of take ends the link.
func (l *link) answers(take func(pgproto3.BackendMessage) error) error {
	var first error
	for {
		m, err := l.next()
		if err != nil {
			if first != nil {
				return first // FATAL, and the end of the connection after it
			}
			return err
		}
		switch m := m.(type) {
		case *pgproto3.ReadyForQuery:
			return first
		case *pgproto3.ErrorResponse:
			if first == nil {
				first = pgconn.ErrorResponseToPgError(m)
			}
		default:
			if take == nil || first != nil {
				continue
			}
			if err := take(m); err != nil {
				l.broken, l.running = true, true
				return err
			}
		}
	}
}

// simple runs statements of our own, whose rows nobody wants. It returns the tag of the last one.
func (l *link) simple(sql string) (tag string, err error) {
	if err := l.send(&pgproto3.Query{String: sql}); err != nil {
		return "", err
	}
	err = l.answers(func(m pgproto3.BackendMessage) error {
		if done, ok := m.(*pgproto3.CommandComplete); ok {
			tag = string(done.CommandTag)
		}
		return nil
	})
	return tag, err
}

// prepared is a statement that was parsed and did not run.
type prepared struct {
	name   string
	params []uint32 // their types
	fields []field
	// rows says that it returns rows, perhaps without a column.
	rows bool
}

// field is a column of a result.
type field struct {
	name string
	kind typeKey
}

// prepare has the server parse a statement under a name, or under none. Text that is more than one statement is an error.
func (l *link) prepare(name, sql string) (prepared, error) {
	p := prepared{name: name}
	err := l.send(&pgproto3.Parse{Name: name, Query: sql}, &pgproto3.Describe{ObjectType: 'S', Name: name}, &pgproto3.Sync{})
	if err != nil {
		return p, err
	}
	err = l.answers(func(m pgproto3.BackendMessage) error {
		switch m := m.(type) {
		case *pgproto3.ParameterDescription:
			p.params = slices.Clone(m.ParameterOIDs)
		case *pgproto3.RowDescription:
			p.rows = true
			p.fields = make([]field, 0, len(m.Fields))
			for _, f := range m.Fields { // the names are in a buffer that is used again
				p.fields = append(p.fields, field{name: string(f.Name), kind: typeKey{f.DataTypeOID, f.TypeModifier}})
			}
		}
		return nil
	})
	return p, err
}

// rowTaker takes a row, whose values are valid during the call, and says whether it wants more. Nil stands for NULL.
type rowTaker func(values [][]byte) (more bool, err error)

// execute runs a prepared statement with parameters as text, and returns its tag. Rows that take does not want are read
// to their end if all is set, else as far as is cheap; beyond that the link ends, with no tag and no error.
func (l *link) execute(p prepared, values [][]byte, all bool, take rowTaker) (tag string, err error) {
	err = l.send(&pgproto3.Bind{PreparedStatement: p.name, Parameters: values}, &pgproto3.Execute{}, &pgproto3.Sync{})
	if err != nil {
		return "", err
	}
	var copied error
	wanted, rows, bytes := true, 0, 0
	err = l.answers(func(m pgproto3.BackendMessage) (err error) {
		switch m := m.(type) {
		case *pgproto3.DataRow:
			if wanted {
				wanted, err = take(m.Values)
				return err
			}
			rows++
			for _, v := range m.Values {
				bytes += len(v)
			}
			if !all && (rows > drainRows || bytes > drainBytes) {
				return errEnough
			}
		case *pgproto3.CommandComplete:
			tag = string(m.CommandTag)
		case *pgproto3.CopyInResponse: // the server skips the Sync that it was sent, and waits for this
			copied = errCopy
			return l.send(&pgproto3.CopyFail{Message: "nothing is copied"}, &pgproto3.Sync{})
		case *pgproto3.CopyOutResponse, *pgproto3.CopyBothResponse:
			return errCopy
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		return "", nil
	case copied != nil:
		return "", copied
	}
	return tag, err
}

var errEnough = errors.New("postgres: no more is wanted")

// query runs a statement of our own under a name, or under none, and returns its rows as text. Nil stands for NULL.
func (l *link) query(name, sql string, values ...string) ([][]*string, error) {
	p, err := l.prepare(name, sql)
	if err != nil {
		return nil, err
	}
	params := make([][]byte, 0, len(values))
	for _, v := range values {
		params = append(params, []byte(v))
	}
	var rows [][]*string
	_, err = l.execute(p, params, true, func(values [][]byte) (bool, error) {
		row := make([]*string, len(values))
		for i, v := range values {
			if v != nil {
				row[i] = new(string(v))
			}
		}
		rows = append(rows, row)
		return true, nil
	})
	return rows, err
}

// reset ends the transaction and forgets the session, so that nothing of it is left for whoever comes next.
// Both are sent at once: DISCARD ALL runs in no transaction, so that it fails if ROLLBACK has not ended it.
func (l *link) reset() error {
	if l.broken {
		return errors.New("postgres: the connection is broken")
	}
	l.pg.Conn().SetDeadline(time.Now().Add(resetTimeout))
	if err := l.send(&pgproto3.Query{String: "ROLLBACK"}, &pgproto3.Query{String: "DISCARD ALL"}); err != nil {
		return err
	}
	for range 2 {
		if err := l.answers(nil); err != nil {
			return l.fail(err)
		}
	}
	l.pg.Conn().SetDeadline(time.Time{})
	if !l.ready() {
		return l.fail(fmt.Errorf("postgres: the session is in state %q after it was reset", l.state))
	}
	return nil
}

// ready reports whether the link may be handed out: it is idle, in no transaction, and no answer is outstanding.
func (l *link) ready() bool { return !l.broken && l.state == idle && l.front.ReadBufferLen() == 0 }

// end closes the link. A statement that may still run is stopped first.
func (l *link) end() {
	if l.running {
		ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
		_ = l.pg.CancelRequest(ctx) // the server notices by itself when it next sends something
		cancel()
	}
	if l.broken { // there may be no one to say goodbye to
		l.pg.Conn().SetDeadline(time.Now().Add(closeTimeout))
		l.pg.Conn().Close()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = l.pg.Close(ctx)
}
