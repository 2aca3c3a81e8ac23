package postgres

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	modeVerifyFull = "verify-full"
	modeVerifyCA   = "verify-ca"
	modeRequire    = "require"
	modeDisable    = "disable"

	defaultPort = 5432
	// defaultName is the application_name, which pg_stat_activity shows.
	defaultName = "sallyport"
	// maxName is how many bytes of a name PostgreSQL keeps (NAMEDATALEN - 1).
	maxName = 63
	// maxPath is how long a search_path may be, in bytes.
	maxPath = 1024
)

// Config says where the database is.
type Config struct {
	// DSN is postgres://user@host[:port]/database, with these parameters: sslmode is verify-full (the default) or verify-ca;
	// application_name and search_path are settings of the session; host, instead of that before the path, is the absolute path of
	// the folder of a Unix socket. It holds no password.
	DSN string `yaml:"dsn"`
	// AllowPlaintext also allows sslmode require, which encrypts but trusts any server, and disable. It is for tests and for
	// databases that are reached over an encrypted network.
	AllowPlaintext bool `yaml:"-"`
	// UserElsewhere lets the DSN name no user: each login does.
	UserElsewhere bool `yaml:"-"`
}

// Validate says all that is wrong with the configuration. It repeats none of the DSN but the names of parameters, because a
// password may stand anywhere in one that is wrong.
func (c Config) Validate() error {
	_, err := c.parse()
	return err
}

// User returns the user that the DSN names, or nothing if it is not valid.
func (c Config) User() string {
	t, err := c.parse()
	if err != nil {
		return ""
	}
	return t.user
}

// target is what a DSN says.
type target struct {
	user, database string
	host           string // a name, an address or, for a Unix socket, an absolute path
	port           uint16
	mode           string
	name           string // application_name
	path           string // search_path; empty for the server's
}

// unix reports whether the target is a Unix socket.
func (t target) unix() bool { return strings.HasPrefix(t.host, "/") }

func (c Config) parse() (target, error) {
	t := target{port: defaultPort, mode: modeVerifyFull, name: defaultName}
	if c.DSN == "" {
		return t, errors.New("dsn: required, as in postgres://user@host/database")
	}
	u, err := url.Parse(c.DSN)
	if err != nil { // its text quotes the DSN
		return t, errors.New("dsn: not a URL: write postgres://user@host/database, and %40 for @, %3A for : and %2F for / in a name")
	}
	var wrong []error
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf("dsn: "+format, args...)) }
	if (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.Opaque != "" {
		complain("begins with postgres://")
	}
	if u.Fragment != "" || strings.Contains(c.DSN, "#") {
		complain("has no #")
	}
	if _, has := u.User.Password(); has {
		complain("a password does not stand here: write password: { secret: … }")
	}
	if t.user = u.User.Username(); !isName(t.user) && !(t.user == "" && c.UserElsewhere) {
		complain("the user is missing or has a control character: write postgres://user@host/database")
	}
	if t.database = strings.TrimPrefix(u.Path, "/"); !isName(t.database) || strings.Contains(t.database, "/") {
		complain("the database is missing or not one name: write postgres://user@host/database")
	}
	if text := u.Port(); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			complain("the port is not from 1 to 65535")
		}
		t.port = uint16(n) // 16 bits were asked for
	}
	t.host = u.Hostname()
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		complain("what follows ? is not name=value, joined by &")
	}
	wrong = append(wrong, t.parameters(query, c.AllowPlaintext)...)
	return t, errors.Join(wrong...)
}

// parameters takes what follows the question mark, and says what is wrong with it and with the host.
func (t *target) parameters(query url.Values, plaintext bool) (wrong []error) {
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf("dsn: "+format, args...)) }
	socket := false
	unknown := false
	for _, name := range sortedKeys(query) {
		value := query[name][0]
		if len(query[name]) > 1 && isParameter(name) {
			complain("%s stands more than once", name)
		}
		switch name {
		case "host":
			switch socket = true; {
			case t.host != "":
				complain("there are two hosts: one before the path, one in host")
			case !path.IsAbs(value) || path.Clean(value) != value || hasControl(value) || strings.Contains(value, ","):
				complain("host in the parameters is the clean absolute path of the folder of a Unix socket")
			}
			t.host = value
		case "sslmode":
			t.mode = value
			wrong = append(wrong, checkMode(value, plaintext)...)
		case "application_name":
			if t.name = value; !isName(value) {
				complain("application_name has from 1 to %d bytes without control characters", maxName)
			}
		case "search_path":
			if t.path = value; value == "" || len(value) > maxPath || hasControl(value) {
				complain("search_path has from 1 to %d bytes without control characters", maxPath)
			}
		case "password":
			complain("a password does not stand here: write password: { secret: … }")
		default:
			unknown = true // not repeated: it may be a piece of a password
		}
	}
	if unknown {
		complain("of the parameters, only sslmode, application_name, search_path and host are known")
	}
	switch {
	case socket && query.Has("sslmode"):
		complain("sslmode has no meaning with a Unix socket")
	case !socket && !isHost(t.host):
		complain("the host is missing or none: write postgres://user@host/database, with one host")
	}
	return wrong
}

func isParameter(name string) bool {
	return slices.Contains([]string{"host", "sslmode", "application_name", "search_path"}, name)
}

func checkMode(mode string, plaintext bool) []error {
	switch {
	case mode == modeVerifyFull, mode == modeVerifyCA, plaintext && (mode == modeRequire || mode == modeDisable):
		return nil
	case mode == modeRequire, mode == modeDisable:
		return []error{errors.New("dsn: this sslmode trusts whoever answers: use verify-full, with ca_file for a private CA")}
	}
	return []error{errors.New("dsn: sslmode is verify-full or verify-ca")}
}

// isName reports whether a text can be the name of a user, a database or an application.
func isName(s string) bool { return s != "" && len(s) <= maxName && !hasControl(s) }

func hasControl(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl)
}

// isHost reports whether a text has the form of one host name or address.
func isHost(s string) bool {
	if s == "" || len(s) > 253 { // RFC 1035, 2.3.4
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune(".-_:%", r)
	})
}

func sortedKeys(v url.Values) []string {
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
