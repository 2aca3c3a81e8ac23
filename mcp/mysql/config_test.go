package mysql

import (
	"strings"
	"testing"

	"sallyport.dev/mcp/database"
)

func TestConfig(t *testing.T) {
	for dsn, want := range map[string]address{
		"mysql://app@db.example/shop":                   {user: "app", database: "shop", network: "tcp", address: "db.example:3306", host: "db.example"},
		"mysql://app@db.example:3307/":                  {user: "app", network: "tcp", address: "db.example:3307", host: "db.example"},
		"mysql://a%40b@[::1]/a%20b?tls=verify":          {user: "a@b", database: "a b", network: "tcp", address: "[::1]:3306", host: "::1"},
		"mysql://app@localhost/shop?socket=/run/s.sock": {user: "app", database: "shop", network: "unix", address: "/run/s.sock", host: "localhost", plain: true},
	} {
		if got, err := (Config{DSN: dsn}).parse(); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", dsn, got, err, want)
		}
	}
	if at, err := (Config{DSN: "mysql://app@h/d?tls=disable", AllowPlaintext: true}).parse(); err != nil || !at.plain {
		t.Errorf("plain: %+v, %v", at, err)
	}
}

func TestBadConfig(t *testing.T) {
	for dsn, parts := range map[string][]string{
		"":                                            {"required"},
		"app:hunter2@tcp(db)/shop":                    {"the scheme is mysql"},
		"mysql://app:hunter2@db/shop":                 {"no password belongs here", "secret:"},
		"mysql://app:@db/shop":                        {"no password belongs here"},
		"mysql://hunter2 @db/shop":                    {"not a URL"},
		"postgres://app@db/shop":                      {"the scheme is mysql"},
		"mysql://db/shop":                             {"the user is missing"},
		"mysql:app@db":                                {"the user is missing", "the host is missing"},
		"mysql://app@/shop":                           {"the host is missing"},
		"mysql://app@db/a/b":                          {"the name of one database"},
		"mysql://app@db/shop#hunter2":                 {"# ends a URL"},
		"mysql://app@db:0/shop":                       {"the port is"},
		"mysql://app@db:70000/shop":                   {"the port is"},
		"mysql://app@db/shop?tls=disable":             {"allow_plaintext"},
		"mysql://app@db/shop?tls=skip-verify":         {"tls is verify or disable"},
		"mysql://app@db/shop?tls=verify&tls=":         {"twice"},
		"mysql://app@db/shop?password=hunter2":        {"the parameters are tls and socket"},
		"mysql://app@db/shop?allowAllFiles=1":         {"the parameters are tls and socket"},
		"mysql://app@db/shop?a=%zz":                   {"cannot be read"},
		"mysql://app@db/shop?socket=/s":               {"with a socket the host is localhost"},
		"mysql://app@localhost/?socket=s":             {"absolute path"},
		"mysql://app@localhost/?socket=/a/../s":       {"absolute path"},
		"mysql://app@localhost/?socket=/s&tls=verify": {"there is none with a socket"},
		"http://:hunter2@/a/b?x=1#y":                  {"scheme", "password", "user", "host", "one database", "#", "parameters"},
	} {
		err := Config{DSN: dsn}.Validate()
		if err == nil {
			t.Errorf("%s is accepted", dsn)
			continue
		}
		for _, part := range append(parts, "dsn: ") {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v does not say %q", dsn, err, part)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v has the password", dsn, err)
		}
		if _, err := New(Config{DSN: dsn}, database.Options{}); err == nil {
			t.Errorf("%s makes a driver", dsn)
		}
	}
	if _, err := New(Config{DSN: "mysql://app@db/shop"}, database.Options{}); err == nil {
		t.Error("a driver without Dial")
	}
}
