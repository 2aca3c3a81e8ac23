package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sallyport.dev/mcp/database"
)

const (
	// connectTimeout bounds dialling, TLS and the login together.
	connectTimeout = 10 * time.Second
	// slack is what a message may be longer than its values.
	slack = 64 << 10
	// minBody is how long a message may be, in bytes, whatever the bounds of a result are.
	minBody = 1 << 20
)

// neutral sets each setting that pgx would otherwise take from the environment, so that no variable decides anything, nor
// stops the connector because it names a file that is not there. Settings that matter are overridden in base.
const neutral = "host=unset port=5432 user=unset password=unset dbname=unset passfile='' sslcert='' sslkey='' sslrootcert='' sslpassword='' " +
	"sslcertmode=disable sslnegotiation=postgres sslsni=1 connect_timeout=10 target_session_attrs=any min_protocol_version=3.0 " +
	"max_protocol_version=3.0 channel_binding=prefer require_auth='' application_name='' sslmode="

// base returns the configuration of a connection but for its user and password. Every field is set here.
func (t target) base(o database.Options) (*pgconn.Config, error) {
	mode := t.mode
	if t.unix() || mode == modeVerifyFull {
		mode = modeDisable // no TLS, or our own below
	}
	c, err := pgconn.ParseConfig(neutral + mode)
	if err != nil { // its text may hold what the environment says
		return nil, errors.New("postgres: the environment variable PGSERVICE is set, which pgx does not ignore: unset it")
	}
	c.Host, c.Port, c.Database, c.User, c.Password = t.host, t.port, t.database, "", ""
	c.RuntimeParams = t.settings()
	c.Fallbacks = nil
	c.KerberosSrvName, c.KerberosSpn = "", ""
	c.ConnectTimeout = connectTimeout
	c.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil } // Dial resolves
	c.DialFunc = o.Dial
	c.MaxProtocolMessageBodyLen = int(max(o.MaxBytes*2, minBody) + slack)
	c.ValidateConnect, c.AfterConnect, c.AfterNetConnect = nil, nil, nil
	c.OnNotice, c.OnNotification, c.OAuthTokenProvider = nil, nil, nil
	switch {
	case t.unix():
		c.TLSConfig = nil
		c.DialFunc = (&net.Dialer{}).DialContext
		return c, nil
	case t.mode == modeVerifyFull:
		c.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.host, RootCAs: o.Roots}
		return c, nil
	case c.TLSConfig != nil: // pgx checks the certificate of verify-ca without its name, and against the roots of this very value
		c.TLSConfig.MinVersion, c.TLSConfig.RootCAs, c.TLSConfig.ClientCAs = tls.VersionTLS12, o.Roots, nil
		if net.ParseIP(t.host) == nil {
			c.TLSConfig.ServerName = t.host
		} else {
			c.TLSConfig.ServerName = ""
		}
	}
	if t.mode != modeVerifyCA {
		c.RequireAuth = "scram-sha-256,none" // whoever answers gets neither the password nor what it can be guessed from
	}
	return c, nil
}

// settings are those of each session, which DISCARD ALL returns to. They say how values are written as text, and that what is
// not said to be a write is none.
func (t target) settings() map[string]string {
	s := map[string]string{
		"application_name":              t.name,
		"client_encoding":               "UTF8",
		"DateStyle":                     "ISO, MDY",
		"IntervalStyle":                 "iso_8601",
		"TimeZone":                      "UTC",
		"bytea_output":                  "hex",
		"extra_float_digits":            "3",
		"standard_conforming_strings":   "on",
		"default_transaction_read_only": "on",
	}
	if t.path != "" {
		s["search_path"] = t.path
	}
	return s
}

// connect makes a connection for a login.
func (d *Driver) connect(ctx context.Context, as database.Login) (*link, error) {
	c := d.base.Copy()
	c.TLSConfig = d.base.TLSConfig // a copy of verify-ca would look at the roots of the original all the same
	c.User = as.User
	if c.User == "" {
		c.User = d.target.user
	}
	c.Password = as.Password.Reveal()
	ctx, cancel := context.WithTimeoutCause(ctx, connectTimeout, errNoAnswer)
	defer cancel()
	pg, err := pgconn.ConnectConfig(ctx, c)
	if err != nil {
		return nil, connectFailure(ctx, err)
	}
	return newLink(pg), nil
}

var errNoAnswer = fmt.Errorf("no answer within %s", connectTimeout)

// connectFailure says why there is no connection. What pgx says is for the log alone: it names host and user.
func connectFailure(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errNoAnswer) {
		return context.Cause(ctx)
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "28P01", "28000", "42501", "0P000": // invalid_password, invalid_authorization_specification, insufficient_privilege, invalid_role_specification
			return database.Refused(err)
		case "53300": // too_many_connections
			busy := database.Busy()
			busy.Code, busy.Err = pg.Code, err
			return busy
		}
	}
	return database.Unreachable(err)
}
