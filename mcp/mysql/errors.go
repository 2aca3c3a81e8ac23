package mysql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	client "github.com/go-sql-driver/mysql"

	"sallyport.dev/mcp/database"
)

// maxMessage bounds what of a server's message is shown, in bytes.
const maxMessage = 2 << 10

// Errors of the server (https://mariadb.com/kb/en/mariadb-error-code-reference/).
const (
	tooManyConnections = 1040
	deniedToDatabase   = 1044
	denied             = 1045
	unknownDatabase    = 1049
	syntax             = 1064
	tooManyOfUser      = 1203
	overResource       = 1226
	deniedPrivilege    = 1227
	notPrepared        = 1295
	interrupted        = 1317
	readOnly           = 1792
	overTimeMariaDB    = 1969
	overTime           = 3024
)

// account matches a login as messages write it: 'user'@'host', and the same in backticks.
var account = regexp.MustCompile("(?:user )?(?:'[^']*'@'[^']*'|`[^`]*`@`[^`]*`)")

// asServer returns what the server said, if it did.
func asServer(err error) (*client.MySQLError, bool) { return errors.AsType[*client.MySQLError](err) }

// refusal is the error of a connection that could not be made.
func (d *Driver) refusal(w *wire, err error) error {
	if w != nil && w.failure != nil {
		err = w.failure
	}
	if errors.Is(err, errProtocol) || errors.Is(err, errTooLong) {
		return misunderstood(err)
	}
	if said, ok := asServer(err); ok {
		switch said.Number {
		case tooManyConnections, tooManyOfUser, overResource:
			busy := database.Busy()
			busy.Code, busy.Err = code(said), err
			return busy
		case unknownDatabase:
			return &database.Error{Code: code(said), Text: "the configured database does not exist: its operator has to look at the dsn", Err: err}
		}
		return database.Refused(err) // denied, the address or the account is blocked, the password has expired, …
	}
	if _, bad := errors.AsType[*tls.CertificateVerificationError](err); bad || errors.Is(err, errNoTLS) || isCertificate(err) {
		return &database.Error{Text: "the database does not prove who it is by TLS, and nothing was run: its operator has to look at its certificate", Err: err}
	}
	for _, plugin := range []error{client.ErrCleartextPassword, client.ErrOldPassword, client.ErrUnknownPlugin} {
		if errors.Is(err, plugin) {
			return &database.Error{Text: "the login is of a kind that is not spoken here: let it log in by password (ed25519, caching_sha2_password or " +
				"mysql_native_password)", Err: err}
		}
	}
	return database.Unreachable(err)
}

func isCertificate(err error) bool {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	return unknown || host
}

// failure is the error of a statement that has failed on a connection.
func (d *Driver) failure(ctx context.Context, s *session, limit time.Duration, err error) error {
	if err == nil {
		return nil
	}
	if known, ok := errors.AsType[*database.Error](err); ok {
		return known
	}
	if errors.Is(s.wire.failure, errTooLong) {
		return database.TooLong(d.options.MaxBytes)
	}
	said, ok := asServer(err)
	switch {
	case ok && (said.Number == overTime || said.Number == overTimeMariaDB), errors.Is(ctx.Err(), context.DeadlineExceeded):
		late := database.TimedOut(limit)
		late.Err = err
		return late
	case ctx.Err() != nil:
		return ctx.Err()
	case ok && said.Number == interrupted:
		return &database.Error{Code: code(said), Text: "the statement was stopped by someone else: try again later", Err: err}
	case ok:
		return &database.Error{Code: code(said), Text: message(said.Message, s.as.Password.Reveal()), Err: err}
	}
	if s.wire.failure != nil || errors.Is(err, errProtocol) {
		return misunderstood(errors.Join(err, s.wire.failure))
	}
	return &database.Error{Text: "the connection to the database was lost: try again later", Err: err}
}

// misunderstood is the error of a server that does not keep to the protocol.
func misunderstood(err error) *database.Error {
	return &database.Error{Text: "what the database server has answered is not understood: its operator has to look at the log", Err: err}
}

// code is an error's number and SQLSTATE.
func code(said *client.MySQLError) string {
	if said.SQLState == [5]byte{} {
		return fmt.Sprint(said.Number)
	}
	return fmt.Sprintf("%d (%s)", said.Number, said.SQLState)
}

// message is a server's message without logins, which only whoever operates it should see, and without the password, which
// stands in none that is known.
func message(text, password string) string {
	text = account.ReplaceAllString(strings.ToValidUTF8(text, "\uFFFD"), "a login")
	if len(password) > 3 {
		text = strings.ReplaceAll(text, password, "***")
	}
	if len(text) > maxMessage {
		end := maxMessage
		for !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end] + "…"
	}
	return text
}
