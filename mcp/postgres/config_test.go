package postgres

import (
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	for dsn, want := range map[string]target{
		"postgres://app@db.internal/shop":                     {user: "app", database: "shop", host: "db.internal", port: 5432, mode: modeVerifyFull, name: defaultName},
		"postgresql://app@[2001:db8::1]:6432/shop":            {user: "app", database: "shop", host: "2001:db8::1", port: 6432, mode: modeVerifyFull, name: defaultName},
		"postgres://a%40b@h/x%20y?sslmode=verify-ca":          {user: "a@b", database: "x y", host: "h", port: 5432, mode: modeVerifyCA, name: defaultName},
		"postgres://app@/shop?host=/run/postgresql":           {user: "app", database: "shop", host: "/run/postgresql", port: 5432, mode: modeVerifyFull, name: defaultName},
		"postgres://app@:6432/shop?host=/run/postgresql":      {user: "app", database: "shop", host: "/run/postgresql", port: 6432, mode: modeVerifyFull, name: defaultName},
		"postgres://u@h/d?application_name=x&search_path=a,b": {user: "u", database: "d", host: "h", port: 5432, mode: modeVerifyFull, name: "x", path: "a,b"},
	} {
		got, err := Config{DSN: dsn}.parse()
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", dsn, got, err)
		}
	}
	if got := (Config{DSN: "postgres://app@db/shop"}).User(); got != "app" {
		t.Errorf("the user is %q", got)
	}
	for dsn, want := range map[string][]string{
		"":                                              {"required"},
		"postgres://u:hunter2@h/d":                      {"write password: { secret: … }"},
		"postgres://u@h/d?password=hunter2":             {"write password: { secret: … }"},
		"postgres://u:hun#ter2@h/d":                     {"not a URL"},
		"postgres://u@h/d#hunter2":                      {"has no #"},
		"mysql://u@h/d":                                 {"begins with postgres://"},
		"host=h user=u password=hunter2":                {"begins with postgres://", "user is missing", "host is missing"},
		"postgres:u@h/d":                                {"begins with postgres://"},
		"postgres://h/d":                                {"the user is missing"},
		"postgres://u@/d":                               {"the host is missing"},
		"postgres://u@h":                                {"the database is missing"},
		"postgres://u@h/d/e":                            {"not one name"},
		"postgres://u@h/d%00":                           {"not one name"},
		"postgres://u@h:0/d":                            {"the port"},
		"postgres://u@h:70000/d":                        {"the port"},
		"postgres://u@a,b/d":                            {"the host is missing or none"},
		"postgres://u@h/d?host=/run":                    {"two hosts"},
		"postgres://u@/d?host=run":                      {"clean absolute path"},
		"postgres://u@/d?host=/a/../b":                  {"clean absolute path"},
		"postgres://u@/d?host=/a,/b":                    {"clean absolute path"},
		"postgres://u@/d?host=/a&host=/b":               {"host stands more than once"},
		"postgres://u@/d?host=/a&sslmode=verify-ca":     {"no meaning with a Unix socket"},
		"postgres://u@h/d?sslmode=disable":              {"trusts whoever answers"},
		"postgres://u@h/d?sslmode=require":              {"trusts whoever answers"},
		"postgres://u@h/d?sslmode=prefer":               {"sslmode is verify-full or verify-ca"},
		"postgres://u@h/d?sslmode=":                     {"sslmode is verify-full or verify-ca"},
		"postgres://u@h/d?application_name=":            {"application_name has from 1"},
		"postgres://u@h/d?search_path=%0a":              {"search_path has from 1"},
		"postgres://u@h/d?options=-c%20x":               {"are known"},
		"postgres://u@h/d?sslrootcert=/x&hunter2=1":     {"are known"},
		"postgres://u@h/d?a;b":                          {"not name=value"},
		"mysql://:hunter2@h:0/?service=x&sslmode=allow": {"begins with", "a password", "the user", "the database", "the port", "sslmode", "are known"},
	} {
		err := Config{DSN: dsn}.Validate()
		if err == nil {
			t.Errorf("%s is valid", dsn)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, without %q", dsn, err, w)
			}
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "ter2") {
			t.Errorf("%s: %v repeats it", dsn, err)
		}
	}
	for _, mode := range []string{modeRequire, modeDisable} {
		if err := (Config{DSN: "postgres://u@h/d?sslmode=" + mode, AllowPlaintext: true}).Validate(); err != nil {
			t.Error(err)
		}
	}
}
