package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/audit"
	"sallyport.dev/connector"
	"sallyport.dev/credential"
	"sallyport.dev/gateway"
	"sallyport.dev/mcp/database"
	"sallyport.dev/mcp/mysql"
	"sallyport.dev/mcp/mysql/mysqltest"
	"sallyport.dev/mcp/postgres"
	"sallyport.dev/mcp/postgres/postgrestest"
	"sallyport.dev/mcp/sqlite"
	"sallyport.dev/mcp/sqlite/sqlitetest"
	"sallyport.dev/policy"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// shop is a PostgreSQL with orders, and roles that may read them.
type shop struct {
	*postgrestest.Server
	t   *testing.T
	dir string // of secrets
}

const readerPassword = "canary-reader-password-Zq7Lw2"

// newShop fills a database. Each role but its password is one for all tests.
func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{postgrestest.Start(t), t, t.TempDir()}
	s.Database(t, "orders")
	for _, role := range []string{"reader", "analyst", "desk"} {
		s.Role(t, role, readerPassword)
	}
	s.SQL(t, "orders", `
		CREATE TABLE orders (id bigint PRIMARY KEY, customer text NOT NULL, total numeric(12,2) NOT NULL, refunded text);
		COMMENT ON TABLE orders IS 'One row for each order';
		INSERT INTO orders VALUES (1, 'olga', 12.50), (2, 'otto', 99.90), (9007199254740993, 'olga', 7);
		GRANT SELECT ON orders TO reader, analyst, desk;
		GRANT UPDATE (refunded) ON orders TO desk;
		ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
		CREATE POLICY all_of_them ON orders TO reader, analyst USING (true);
		CREATE POLICY own ON orders TO desk USING (customer = current_setting('app.user', true));
		REVOKE EXECUTE ON FUNCTION pg_cancel_backend(integer), pg_terminate_backend(integer, bigint) FROM PUBLIC`)
	return s
}

// server is the database as a server of the connector.
func (s *shop) server(user string, cfg database.Config) connector.Server {
	return connector.Server{CAFile: s.CAFile, Postgres: &connector.Postgres{
		Place:  postgres.Config{DSN: s.DSN(user, "orders")},
		Access: connector.Access{Password: connector.Password{Secret: stack.SecretFile(s.t, s.dir, "password", readerPassword)}},
		Common: cfg,
	}}
}

// toolCall is the body of a tool call.
func toolCall(tool, arguments string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, bigID, tool, arguments)
}

// toolResult is what a tool has answered.
type toolResult struct {
	Result struct {
		IsError bool `json:"isError"`
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
		Structured struct {
			Rows      [][]json.RawMessage `json:"rows"`
			Truncated bool                `json:"truncated"`
			Affected  int                 `json:"affected"`
		} `json:"structuredContent"`
	} `json:"result"`
}

// text is what it says to models that read text alone.
func (r *toolResult) text() string {
	if len(r.Result.Content) == 0 {
		return ""
	}
	return r.Result.Content[0].Text
}

func askTool(t *testing.T, s *stack.Stack, agent *http.Client, server, tool, arguments string) toolResult {
	t.Helper()
	got := post(t, s, agent, server, toolCall(tool, arguments))
	var result toolResult
	if err := json.Unmarshal(got.body, &result); err != nil || got.status != http.StatusOK || strings.Contains(string(got.body), "canary") {
		t.Fatalf("%s %s: %d %s, %v", tool, arguments, got.status, got.body, err)
	}
	return result
}

// A database is a server like any other: policy decides its calls and reads their arguments, lists are filtered, the password
// stays in the connector, and each call is on record.
func TestDatabase(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	rules, err := policy.New([]policy.Rule{
		{Servers: []string{"orders"}, When: `mcp.method != "tools/call" || mcp.tool in ["query", "list_tables", "describe_table"]`, Allow: true},
		{Name: "no-catalogue", Servers: []string{"orders"}, When: `mcp.tool == "query" && mcp.args.sql.contains("pg_")`},
	})
	if err != nil {
		t.Fatal(err)
	}
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		t.Parallel()
		state := t.TempDir()
		s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"orders": shop.server("reader", database.Config{MaxRows: 2})}, Connector: func(c *connector.Config) {
			c.Policy, c.StateDir, c.Audit = rules, state, audit.Config{Mode: audit.Strict}
		}})
		agent := s.Agent(t, true)
		got := askTool(t, s, agent, "orders", "query", `{"sql":"SELECT id, total, customer FROM orders WHERE customer = $1 ORDER BY id","params":["olga"]}`)
		if want := "[\"id\",\"total\",\"customer\"]\n[1,\"12.50\",\"olga\"]\n[\"9007199254740993\",\"7.00\",\"olga\"]\n"; got.text() != want || got.Result.IsError || got.Result.Structured.Truncated {
			t.Errorf("%+v", got)
		}
		if got := askTool(t, s, agent, "orders", "query", `{"sql":"SELECT * FROM orders"}`); !got.Result.Structured.Truncated || len(got.Result.Structured.Rows) != 2 || !strings.Contains(got.text(), "TRUNCATED: there are more than 2 rows") {
			t.Errorf("%+v", got)
		}
		if got := askTool(t, s, agent, "orders", "query", `{"sql":"SELECT nothing"}`); !got.Result.IsError || !strings.HasPrefix(got.text(), "42703: ") {
			t.Errorf("%+v", got)
		}
		if got := askTool(t, s, agent, "orders", "query", `{"sql":"INSERT INTO orders VALUES (3, 'x', 1) RETURNING id"}`); !got.Result.IsError {
			t.Errorf("%+v", got)
		}
		if got := askTool(t, s, agent, "orders", "describe_table", `{"table":"orders"}`); !strings.Contains(got.text(), `"type": "numeric(12,2)"`) {
			t.Errorf("%+v", got)
		}
		mustRefuse(t, post(t, s, agent, "orders", toolCall("query", `{"sql":"SELECT pg_sleep(1)"}`)), 403, -32003, "no")
		mustRefuse(t, post(t, s, agent, "orders", toolCall("explain", `{"sql":"SELECT 1"}`)), 403, -32003, "no")
		list := string(post(t, s, agent, "orders", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`).body)
		if strings.Contains(list, `"explain"`) || !strings.Contains(list, `public.orders(id bigint, customer text, total numeric(12,2), refunded text) -- \"One row for each order\"`) {
			t.Errorf("the list of tools: %s", list)
		}
		read := string(post(t, s, agent, "orders", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"postgres://orders/public/orders"}}`).body)
		if !strings.Contains(read, "numeric(12,2)") {
			t.Errorf("a resource: %s", read)
		}
		if status := s.Connector.Status(); status.Servers[0].Upstream != "postgres: postgres://127.0.0.1:"+fmt.Sprint(shop.Port)+"/orders" || status.Credentials[0].Name != "orders/login/1" {
			t.Errorf("%+v", status)
		}
		s.StopConnector()
		events := auditedEvents(t, state)
		if e := events[0]; e.Tool != "query" || strings.Join(e.Credentials, " ") != "orders/login/1" || e.Outcome != "upstream" || e.Delivered != "yes" {
			t.Errorf("%+v", e)
		}
		if strings.Contains(s.Log.String(), "canary") {
			t.Error("the password is in a log")
		}
	})
}

// Each class of callers has a login of its own, a rotated password counts at once, and whom no login is for gets nothing.
func TestDatabaseLogins(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	server := shop.server("nobody", database.Config{MaxConnections: 1})
	password := stack.SecretFile(t, shop.dir, "own", readerPassword)
	var public string
	s := stack.New(t, stack.Options{Servers: map[string]connector.Server{"orders": server},
		Gateway: func(cfg *gateway.Config) {
			public = cfg.PublicURL
			for _, name := range []string{"alice", "bob", "carol"} {
				cfg.Agents.Tokens = append(cfg.Agents.Tokens, gateway.Token{Name: name, Token: stack.SecretFile(t, shop.dir, name, tokenOf(name)), Tunnels: []string{"*"}, Servers: []string{"*"}})
			}
		},
		Connector: func(cfg *connector.Config) {
			server.Postgres.Access = connector.Access{Logins: []connector.DatabaseLogin{
				{For: credential.Who{Issuers: []string{public}, Subjects: []string{"alice"}}, User: connector.Variable{Text: "analyst"}, Password: connector.Password{Secret: password}},
				{For: credential.Who{Issuers: []string{public}, Subjects: []string{"bob"}}, User: connector.Variable{Text: "reader"}, Password: connector.Password{Secret: password}},
			}}
		},
	})
	who := func(name string) string {
		got := askTool(t, s, s.AgentWith(t, true, tokenOf(name)), "orders", "query", `{"sql":"SELECT current_user"}`)
		return got.text()
	}
	for name, role := range map[string]string{"alice": "analyst", "bob": "reader"} {
		if got := who(name); !strings.Contains(got, `["`+role+`"]`) {
			t.Errorf("%s is %s", name, got)
		}
	}
	mustRefuse(t, post(t, s, s.AgentWith(t, true, tokenOf("carol")), "orders", toolCall("query", `{"sql":"SELECT 1"}`)), http.StatusServiceUnavailable, -32015, "no")

	shop.SQL(t, "postgres", "ALTER ROLE analyst PASSWORD 'canary-second-password-Zq7Lw2'")
	if got := who("alice"); !strings.Contains(got, "analyst") {
		t.Errorf("a connection that is there has broken: %s", got)
	}
	writeFile(t, filepath.Join(shop.dir, "own"), "canary-second-password-Zq7Lw2")
	until(t, patience, "the new password counts", func() bool { return strings.Contains(who("alice"), `["analyst"]`) })
	until(t, patience, "the old one of another login does not", func() bool { return strings.Contains(who("bob"), "refused the connector's login") })
}

// Named statements run as a role and with variables that say who calls, and nothing else can be asked.
func TestDatabaseStatements(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	shop.SQL(t, "orders", `CREATE FUNCTION slow_refund(bigint) RETURNS int LANGUAGE sql AS 'SELECT 1'`)
	s := stack.New(t, stack.Options{Servers: map[string]connector.Server{"desk": shop.server("desk", database.Config{
		NamedOnly: true, Session: map[string]string{"app.user": "principal.subject"},
		Statements: []database.Named{
			{Name: "mine", Description: "My orders.", SQL: "SELECT id FROM orders ORDER BY id"},
			{Name: "refund", Description: "Refunds an order.", SQL: "UPDATE orders SET refunded = $2 WHERE id = $1 AND refunded IS NULL", Write: true,
				Params: []database.Param{{Name: "order", Type: "integer"}, {Name: "reason", Enum: []string{"late", "broken"}}}},
		},
	})}, Gateway: func(cfg *gateway.Config) {
		cfg.Agents.Tokens = append(cfg.Agents.Tokens, gateway.Token{Name: "olga", Token: stack.SecretFile(t, shop.dir, "olga", tokenOf("olga")), Tunnels: []string{"*"}, Servers: []string{"*"}})
	}})
	olga := s.AgentWith(t, true, tokenOf("olga"))
	if got := askTool(t, s, olga, "desk", "mine", `{}`); got.text() != "[\"id\"]\n[1]\n[\"9007199254740993\"]\n" {
		t.Errorf("%+v", got)
	}
	if got := askTool(t, s, s.Agent(t, true), "desk", "mine", `{}`); !strings.Contains(got.text(), "no rows") {
		t.Errorf("somebody else sees %+v", got)
	}
	for _, row := range []struct {
		arguments string
		affected  int
		says      string
	}{
		{`{"order":9007199254740993,"reason":"late"}`, 1, "1 rows affected"}, {`{"order":9007199254740993,"reason":"late"}`, 0, "0 rows affected"}, {`{"order":2,"reason":"late"}`, 0, "0 rows affected"},
		{`{"order":1,"reason":"x'; DROP TABLE orders; --"}`, 0, "reason"}, {`{"order":"1 OR true","reason":"late"}`, 0, "order"}, {`{"order":1.5,"reason":"late"}`, 0, "order"}, {`{"reason":"late"}`, 0, "order"},
	} {
		if got := askTool(t, s, olga, "desk", "refund", row.arguments); got.Result.Structured.Affected != row.affected || !strings.Contains(got.text(), row.says) {
			t.Errorf("%s: %+v", row.arguments, got)
		}
	}
	if rows := shop.SQL(t, "orders", "SELECT id, refunded FROM orders WHERE refunded IS NOT NULL"); len(rows) != 1 || rows[0][0] != "9007199254740993" {
		t.Errorf("refunded: %v", rows)
	}
	for _, tool := range []string{"query", "explain", "list_tables"} {
		got := post(t, s, olga, "desk", toolCall(tool, `{"sql":"SELECT 1"}`))
		if strings.Contains(string(got.body), `"result"`) && !strings.Contains(string(got.body), `"isError":true`) {
			t.Errorf("%s: %s", tool, got.body)
		}
	}
}

// A caller who leaves, or who cancels in a session, ends the statement in the database.
func TestDatabaseCancel(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	s := stack.New(t, stack.Options{Servers: map[string]connector.Server{"orders": shop.server("reader", database.Config{StatementTimeout: time.Minute})}})
	agent := s.Agent(t, true)
	asleep := func() int {
		return len(shop.SQL(t, "postgres", "SELECT 1 FROM pg_stat_activity WHERE usename = 'reader' AND state = 'active' AND query LIKE '%pg_sleep%'"))
	}
	session := post(t, s, agent, "orders", initialize).header.Get("Mcp-Session-Id")
	if session == "" {
		t.Fatal("there is no session")
	}
	for _, cancels := range []bool{false, true} {
		r, err := s.Post(t.Context(), "orders", toolCall("query", `{"sql":"SELECT pg_sleep(50)"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Mcp-Session-Id", session)
		leaving, leave := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		wait.Go(func() {
			if resp, err := agent.Do(r.WithContext(leaving)); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
		until(t, patience, "the statement runs", func() bool { return asleep() == 1 })
		if cancels {
			r, err := s.Post(t.Context(), "orders", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`+bigID+`}}`)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Mcp-Session-Id", session)
			if got := call(t, agent, r); got.status != http.StatusAccepted {
				t.Errorf("%d %s", got.status, got.body)
			}
		} else {
			leave()
		}
		until(t, patience, "the statement has ended", func() bool { return asleep() == 0 })
		leave()
		wait.Wait()
	}
	if got := askTool(t, s, agent, "orders", "query", `{"sql":"SELECT 1"}`); got.Result.IsError {
		t.Errorf("%+v", got)
	}
}

// A login that may do more than it should shows in --check and in status.
func TestDatabaseWarnings(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	shop.SQL(t, "postgres", "ALTER ROLE analyst CREATEROLE; GRANT pg_read_server_files TO analyst; GRANT EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint) TO PUBLIC")
	s := stack.New(t, stack.Options{Servers: map[string]connector.Server{"orders": shop.server("analyst", database.Config{}), "gone": shop.server("nobody", database.Config{})}})
	until(t, patience, "status warns before anybody has called", func() bool {
		return strings.Contains(strings.Join(s.Connector.Status().Warnings, "\n"), "pg_read_server_files")
	})
	if !strings.Contains(s.Log.String(), "a database cannot be asked now") {
		until(t, patience, "the log says what cannot be asked", func() bool { return strings.Contains(s.Log.String(), "a database cannot be asked now") })
	}
	facts, errs := s.Connector.Check(t.Context())
	said := fmt.Sprint(facts)
	for _, want := range []string{"server orders: login 1: postgres://127.0.0.1:", "WARNING", "pg_read_server_files"} {
		if !strings.Contains(said, want) {
			t.Errorf("--check does not say %q: %s", want, said)
		}
	}
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "servers.gone: login 1: the database refused the connector's login") || strings.Contains(errs[0].Error(), "canary") {
		t.Errorf("%v", errs)
	}
	if warnings := strings.Join(s.Connector.Status().Warnings, "\n"); !strings.Contains(warnings, "pg_read_server_files") || strings.Contains(warnings, "canary") {
		t.Errorf("status warns of %s", warnings)
	}
}

// MySQL, MariaDB and SQLite have the same tools under the same rules.
func TestOtherDatabases(t *testing.T) {
	t.Parallel()
	maria := mysqltest.Start(t)
	maria.Exec(t, "CREATE DATABASE shop; CREATE TABLE shop.orders (id BIGINT PRIMARY KEY, total DECIMAL(12,2)); INSERT INTO shop.orders VALUES (1, 12.50), (9007199254740993, 7)")
	maria.CreateUser(t, "reader", readerPassword, "SELECT ON shop.*")
	maria.CreateUser(t, "desk", readerPassword, "SELECT, UPDATE ON shop.*")
	dir := t.TempDir()
	access := connector.Access{Password: connector.Password{Secret: stack.SecretFile(t, dir, "password", readerPassword)}}
	file := sqlitetest.Sample(t)
	raise := database.Config{NamedOnly: true, Statements: []database.Named{{Name: "raise", Description: "Raises a total.", SQL: "UPDATE orders SET total = ? WHERE id = ?", Write: true,
		Params: []database.Param{{Name: "total", Type: "number"}, {Name: "order", Type: "integer"}}}}}
	s := stack.New(t, stack.Options{Servers: map[string]connector.Server{
		"maria":      {CAFile: maria.CAFile, MySQL: &connector.MySQL{Place: mysql.Config{DSN: maria.DSN("reader", "shop")}, Access: access}},
		"maria-desk": {CAFile: maria.CAFile, MySQL: &connector.MySQL{Place: mysql.Config{DSN: maria.DSN("desk", "shop")}, Access: access, Common: raise}},
		"file":       {SQLite: &connector.SQLite{Place: sqlite.Config{File: file}}},
		"file-desk":  {SQLite: &connector.SQLite{Place: sqlite.Config{File: file}, Common: raise}},
	}})
	agent := s.Agent(t, true)
	for _, server := range []string{"maria", "file"} {
		if got := askTool(t, s, agent, server, "query", `{"sql":"SELECT count(*) AS n FROM orders WHERE id = ?","params":[1]}`); got.Result.IsError || got.text() != "[\"n\"]\n[1]\n" {
			t.Errorf("%s: %+v", server, got)
		}
		for _, sql := range []string{"DELETE FROM orders", "SELECT 1; DELETE FROM orders", "UPDATE orders SET total = 0 RETURNING id", "DROP TABLE orders"} {
			if got := askTool(t, s, agent, server, "query", fmt.Sprintf(`{"sql":%q}`, sql)); !got.Result.IsError {
				t.Errorf("%s: %s: %+v", server, sql, got)
			}
		}
		if got := askTool(t, s, agent, server, "describe_table", `{"table":"orders"}`); got.Result.IsError || !strings.Contains(got.text(), `"total"`) {
			t.Errorf("%s: %+v", server, got)
		}
		if got := askTool(t, s, agent, server, "explain", `{"sql":"SELECT * FROM orders WHERE id = 1"}`); got.Result.IsError || got.text() == "" {
			t.Errorf("%s: %+v", server, got)
		}
		if got := askTool(t, s, agent, server+"-desk", "raise", `{"order":1,"total":13.75}`); got.Result.Structured.Affected != 1 {
			t.Errorf("%s: %+v", server, got)
		}
		if got := askTool(t, s, agent, server, "query", `{"sql":"SELECT total FROM orders WHERE id = 1"}`); !strings.Contains(got.text(), "13.75") {
			t.Errorf("%s: %+v", server, got)
		}
	}
	facts, errs := s.Connector.Check(t.Context())
	if len(errs) > 0 || len(facts) < 4 {
		t.Errorf("--check: %v, %v", facts, errs)
	}
}
