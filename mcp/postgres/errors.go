package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"sallyport.dev/mcp/database"
)

// maxText bounds the text of an error, in bytes: a statement may raise one as long as it likes.
const maxText = 2 << 10

// SQLSTATEs that get a text of our own.
const (
	codeSyntax    = "42601"
	codeCancelled = "57014"
	codeReadOnly  = "25006"
)

// failure is what a call that got err ends with.
func failure(ctx context.Context, err error, as database.Login, s database.Statement, limit int64, took time.Duration) error {
	if err == nil {
		return nil
	}
	if known, ok := errors.AsType[*database.Error](err); ok {
		return known
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errGaveUp):
		return database.TimedOut(s.Timeout)
	case errors.Is(cause, errClosed):
		return errClosed
	case cause != nil:
		return fmt.Errorf("postgres: %w", cause)
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return serverFailure(pg, as, s, took)
	}
	if _, ok := errors.AsType[*pgproto3.ExceededMaxBodyLenErr](err); ok {
		return database.TooLong(limit)
	}
	if errors.Is(err, errCopy) {
		return &database.Error{Text: "COPY from or to the client is not possible here, and nothing was copied: use SELECT or INSERT"}
	}
	return &database.Error{Text: "the connection to the database was lost before the statement had ended, and nothing of it was kept: try again", Err: err}
}

// serverFailure is what the server says.
func serverFailure(pg *pgconn.PgError, as database.Login, s database.Statement, took time.Duration) error {
	switch {
	case pg.Code == codeSyntax && pg.Routine == "exec_parse_message": // the text depends on the server's language, and is about nothing else
		return database.Several()
	case pg.Code == codeCancelled && took >= s.Timeout*9/10: // earlier, it was somebody on the server
		return database.TimedOut(s.Timeout)
	}
	var b strings.Builder
	b.WriteString(pg.Message)
	if pg.Position > 0 {
		fmt.Fprintf(&b, " (at character %d)", pg.Position)
	}
	if pg.Detail != "" {
		b.WriteString("; detail: " + pg.Detail)
	}
	if pg.Hint != "" {
		b.WriteString("; hint: " + pg.Hint)
	}
	if pg.Code == codeReadOnly {
		b.WriteString("; hint: queries only read here")
	}
	text := strings.ToValidUTF8(b.String(), "\uFFFD")
	if word := as.Password.Reveal(); len(word) >= 4 { // a shorter one says nothing where it stands
		text = strings.ReplaceAll(text, word, "[redacted]")
	}
	return &database.Error{Code: pg.Code, Text: bounded(text), Err: nil}
}

// bounded cuts a text that is too long, between two characters.
func bounded(text string) string {
	const mark = "…"
	if len(text) <= maxText {
		return text
	}
	n := maxText - len(mark)
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + mark
}
