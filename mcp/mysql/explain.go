package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"

	"sallyport.dev/mcp/database"
)

// Explain implements database.Driver. The plan is JSON. The statement is one of its own before EXPLAIN is put in front of it, and
// begins as a query does: then there is nothing that makes EXPLAIN run it.
func (d *Driver) Explain(ctx context.Context, as database.Login, st database.Statement) (string, error) {
	if err := checkText(st.SQL); err != nil {
		return "", err
	}
	args, err := arguments(st.Params)
	if err != nil {
		return "", err
	}
	st.Write = false
	var plan string
	err = d.with(ctx, as, func(s *session) error {
		ctx, cancel := within(ctx, st.Timeout)
		defer cancel()
		plan, err = d.explain(ctx, s, st, args)
		return d.failure(ctx, s, st.Timeout, err)
	})
	return plan, err
}

func (d *Driver) explain(ctx context.Context, s *session, st database.Statement, args []driver.NamedValue) (string, error) {
	if err := s.begin(ctx, st); err != nil {
		return "", err
	}
	if err := d.checkFile(ctx, s, st.Role != ""); err != nil {
		return "", err
	}
	_, sql, err := s.prepareOne(ctx, st.SQL)
	if said, ok := asServer(err); ok && said.Number == notPrepared || err == nil && !explainable(sql) {
		return "", &database.Error{Text: "there is no plan for this statement: explain takes what begins with SELECT, WITH, VALUES or TABLE, with " +
			"nothing but plain comments before it"}
	}
	if err != nil {
		return "", refuseChange(err)
	}
	stmt, err := s.prepare(ctx, "EXPLAIN FORMAT=JSON "+sql)
	if err != nil {
		return "", refuseChange(err)
	}
	rows, err := d.start(ctx, s, stmt, args)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	line := make([]driver.Value, len(rows.Columns()))
	for {
		err := rows.Next(line)
		if errors.Is(err, errEnd) {
			break
		}
		if err != nil {
			s.done(err)
			return "", err
		}
		for _, v := range line {
			b.WriteString(textOf(v))
		}
		b.WriteByte('\n')
	}
	s.busy = false
	return strings.TrimRight(strings.ToValidUTF8(b.String(), "\uFFFD"), "\n"), rows.Close()
}

// refuseChange says it otherwise than the server that a change has no plan in a READ ONLY transaction: nothing was to be run.
func refuseChange(err error) error {
	if said, ok := asServer(err); ok && said.Number == readOnly {
		return &database.Error{Code: code(said), Text: "the server makes no plan of a change here: explain the SELECT that finds the same rows", Err: err}
	}
	return err
}

// explainable reports whether a statement begins with a word that stands for nothing but itself.
func explainable(sql string) bool {
	return slices.Contains([]string{"SELECT", "WITH", "VALUES", "TABLE"}, firstWord(sql))
}
