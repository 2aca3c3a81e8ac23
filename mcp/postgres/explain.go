package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"sallyport.dev/mcp/database"
)

// Explain implements [database.Driver].
//
// The statement is never put behind the word EXPLAIN, where its text could go on with ANALYZE, with options in brackets or
// with a second statement. The server parses it by itself, as one statement under a name, which runs nothing; then EXPLAIN EXECUTE
// of that name plans it, with the parameters as quoted literals. Without ANALYZE of our own nothing is executed: not even a
// statement that is itself an EXPLAIN ANALYZE, which has no plan. What planning may call (functions that say of themselves that
// they are immutable) runs in the read-only transaction and its timeout, as in Run. The name is not to be guessed: EXPLAIN
// EXECUTE of a statement that executes itself would not end, and would take the server's stack with it.
func (d *Driver) Explain(ctx context.Context, as database.Login, s database.Statement) (string, error) {
	if err := check(s); err != nil {
		return "", err
	}
	s.Write = false
	var plan string
	err := d.transact(ctx, as, s, "", func(l *link) error {
		p, err := l.prepare("sallyport_"+rand.Text(), s.SQL)
		if err != nil {
			return err
		}
		p.fields = nil // of no interest
		kinds, err := d.types.of(l, p)
		if err != nil {
			return err
		}
		values, err := bind(p.params, kinds, s.Params)
		if err != nil {
			return err
		}
		rows, err := l.query("", explain(p.name, values))
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
			pg.Position = 0 // in a text of ours
		}
		if err != nil {
			return err
		}
		var b strings.Builder
		for _, row := range rows {
			b.WriteString(text(row[0]))
			b.WriteByte('\n')
		}
		if int64(b.Len()) > d.options.MaxBytes {
			return &database.Error{Text: "the plan is too long: explain a part of the statement"}
		}
		plan = b.String()
		return nil
	})
	return plan, err
}

func explain(name string, values [][]byte) string {
	var b strings.Builder
	b.WriteString("EXPLAIN (FORMAT TEXT) EXECUTE " + quoteName(name))
	for i, v := range values {
		b.WriteString([]string{"(", ", "}[min(i, 1)])
		if v == nil {
			b.WriteString(literalNull)
		} else {
			b.WriteString(quoteLiteral(string(v)))
		}
	}
	if len(values) > 0 {
		b.WriteByte(')')
	}
	return b.String()
}

// quoteLiteral quotes a text so that it means the same whatever standard_conforming_strings is.
func quoteLiteral(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
