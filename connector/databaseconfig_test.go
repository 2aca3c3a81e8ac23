package connector

import (
	"strings"
	"testing"

	"sallyport.dev/config"
)

// What a database may and may not have beside its keys.
func TestDatabaseConfigs(t *testing.T) {
	const login = "{ user: analyst, password: { secret: file:/p } }"
	for name, test := range map[string]struct{ server, want string }{
		"postgres":                {`postgres: { dsn: "postgres://reader@db/orders", password: { secret: file:/p } }`, ""},
		"mysql":                   {`mysql: { dsn: "mysql://reader@db/shop", password: { secret: file:/p }, max_rows: 10 }`, ""},
		"sqlite":                  {`sqlite: { file: /var/lib/app.db }`, ""},
		"a user for each login":   {`postgres: { dsn: "postgres://db/orders", logins: [` + login + `] }`, ""},
		"no user":                 {`postgres: { dsn: "postgres://db/orders" }`, "postgres: dsn: the user is missing"},
		"one login without":       {`mysql: { dsn: "mysql://db/orders", logins: [{ password: { secret: file:/p } }] }`, "mysql: dsn: the user is missing"},
		"a password in the dsn":   {`postgres: { dsn: "postgres://reader:canary@db/orders" }`, "password: { secret: … }"},
		"no TLS":                  {`postgres: { dsn: "postgres://reader@db/orders?sslmode=disable" }`, "sslmode"},
		"no TLS, allowed":         {"allow_plaintext: true\n    postgres: { dsn: \"postgres://reader@db/orders?sslmode=disable\" }", ""},
		"a url too":               {"url: https://x/mcp\n    postgres: { dsn: \"postgres://reader@db/orders\" }", "a server has one of"},
		"two kinds":               {"sqlite: { file: /a.db }\n    postgres: { dsn: \"postgres://reader@db/orders\" }", "a server has one of"},
		"a command's key":         {"network: none\n    sqlite: { file: /a.db }", "network: it is for a server with a command"},
		"credentials":             {"credentials: [{ header: { name: A, value: \"{secret}\" }, secret: file:/p }]\n    sqlite: { file: /a.db }", "credentials: they are put into requests over HTTP"},
		"a CA for a file":         {"ca_file: /a\n    sqlite: { file: /a.db }", "a file has neither"},
		"password and logins":     {`postgres: { dsn: "postgres://db/orders", password: { secret: file:/p }, logins: [` + login + `] }`, "with logins each of them has its own"},
		"everybody first":         {`postgres: { dsn: "postgres://db/orders", logins: [` + login + `, ` + login + `] }`, "logins: number 1: for: it is for everybody"},
		"subjects of any issuer":  {`postgres: { dsn: "postgres://db/orders", logins: [{ for: { subjects: [olga] }, user: a }] }`, "for: subjects mean something at one issuer only"},
		"a subject alone":         {`postgres: { dsn: "postgres://r@db/orders", password: { secret: "vault:kv/{principal.subject}#p" } }`, "put {principal.issuer} before it"},
		"a role with free SQL":    {`postgres: { dsn: "postgres://r@db/orders", role_from: claims.role }`, "they need named_only: true"},
		"variables with free SQL": {`postgres: { dsn: "postgres://r@db/orders", session: { app.user: principal.subject } }`, "they need named_only: true"},
		"a role in a file":        {`sqlite: { file: /a.db, named_only: true, role_from: claims.role, statements: [{ name: a, description: d, sql: SELECT 1 }] }`, "SQLite has neither"},
		"a relative file":         {`sqlite: { file: a.db }`, "sqlite: file: "},
	} {
		t.Run(name, func(t *testing.T) {
			text := "gateway: g:1\ntunnel_token: file:/t\npolicy: open\nsources: { vault: { address: \"https://v\", auth: { token: file:/t } } }\nservers:\n  db:\n    " + test.server + "\n"
			var cfg Config
			err := config.Decode("connector.yaml", []byte(text), &cfg)
			if err == nil {
				err = cfg.Validate()
			}
			if (err == nil) != (test.want == "") || err != nil && (!strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "canary")) {
				t.Errorf("%v", err)
			}
		})
	}
}
