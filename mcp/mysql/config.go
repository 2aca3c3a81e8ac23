package mysql

import (
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// defaultPort is that of MySQL and MariaDB (IANA: mysql).
const defaultPort = "3306"

// Config is where a MySQL or MariaDB database is.
type Config struct {
	// DSN is mysql://user@host[:port]/database, or mysql://user@localhost/database?socket=/path for a Unix socket. The
	// password is not part of it. tls=verify, which is the default, checks the certificate and the host name; tls=disable
	// needs allow_plaintext. Required.
	DSN string `yaml:"dsn"`
	// AllowPlaintext lets tls=disable be written: whoever is on the way then reads and changes everything, and can learn
	// the password. Default false.
	AllowPlaintext bool `yaml:"-"`
	// UserElsewhere lets the DSN name no user: each login does.
	UserElsewhere bool `yaml:"-"`
}

// address is what a DSN says.
type address struct {
	user, database string
	network        string // tcp or unix
	address        string // host:port or path
	host           string // to hold the certificate against
	plain          bool   // no TLS
}

// Validate reports all that is wrong, each beginning with its key. No value is quoted.
func (c Config) Validate() error {
	_, err := c.parse()
	return err
}

func (c Config) parse() (address, error) {
	var problems []error
	bad := func(text string) { problems = append(problems, errors.New("dsn: "+text)) }
	if c.DSN == "" {
		bad("required: mysql://user@host/database")
		return address{}, errors.Join(problems...)
	}
	u, err := url.Parse(c.DSN)
	if err != nil { // its text quotes the DSN, and so perhaps a password
		bad("not a URL: write mysql://user@host/database, with other characters than letters and digits as %XX")
		return address{}, errors.Join(problems...)
	}
	a := address{network: "tcp", host: u.Hostname()}
	if u.Scheme != "mysql" {
		bad("the scheme is mysql: mysql://user@host/database, for MariaDB too")
	}
	if _, has := u.User.Password(); has {
		bad("no password belongs here: write it as password: { secret: file:/path }")
	}
	if a.user = u.User.Username(); a.user == "" && !c.UserElsewhere || strings.ContainsRune(a.user, 0) {
		bad("the user is missing: mysql://user@host/database")
	}
	a.database = strings.TrimPrefix(u.Path, "/")
	if strings.ContainsAny(a.database, "/\x00") || u.Opaque != "" {
		bad("after the host comes the name of one database")
	}
	if u.Fragment != "" || strings.HasSuffix(c.DSN, "#") {
		bad("# ends a URL: write it as %23")
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		bad("the port is 1 to 65535")
	}
	if a.host == "" {
		bad("the host is missing: mysql://user@host/database; with a socket write localhost")
	}
	a.address = net.JoinHostPort(a.host, port)
	c.parameters(u, &a, bad)
	return a, errors.Join(problems...)
}

// parameters reads what comes after the question mark.
func (c Config) parameters(u *url.URL, a *address, bad func(string)) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		bad("the parameters after ? cannot be read")
		return
	}
	for name, values := range query {
		if len(values) > 1 {
			bad("a parameter is there twice")
		}
		switch name {
		case "tls":
			switch values[0] {
			case "verify":
			case "disable":
				a.plain = true
				if !c.AllowPlaintext {
					bad("tls=disable needs allow_plaintext: true beside it; better give the server a certificate")
				}
			default:
				bad("tls is verify or disable")
			}
		case "socket":
			a.network, a.address = "unix", values[0]
			if !filepath.IsAbs(values[0]) || filepath.Clean(values[0]) != values[0] || strings.ContainsRune(values[0], 0) {
				bad("socket is an absolute path")
			}
			if u.Hostname() != "localhost" {
				bad("with a socket the host is localhost")
			}
		default:
			bad("the parameters are tls and socket; what others would set is fixed")
		}
	}
	if a.network == "unix" {
		a.plain = true // the socket does not leave the machine
		if query.Has("tls") {
			bad("tls is for hosts, and there is none with a socket")
		}
	}
}
