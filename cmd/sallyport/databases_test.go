package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/mcp/postgres/postgrestest"
)

// The example with a database works as it is written: on a real PostgreSQL that its own script has set up, whose logins may do
// what it says and nothing else.
func TestDatabasesExample(t *testing.T) {
	pg := postgrestest.Start(t)
	script, err := os.ReadFile(filepath.Join(deploy, "examples/databases/orders.sql"))
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(script), "\\connect orders\n")
	if !ok {
		t.Fatal("orders.sql connects to nothing")
	}
	pg.SQL(t, "postgres", before)
	pg.SQL(t, "orders", after)

	s := newSite(t)
	for _, role := range []string{"reader", "support"} {
		password := role + "-password-Zq7Lw2Xp"
		s.tokens[role+".password"] = password
		write(t, s.etc(role+".password"), password+"\n")
		pg.SQL(t, "postgres", fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", role, password))
	}
	s.private = map[string]string{"@db.internal/": fmt.Sprintf("@127.0.0.1:%d/", pg.Port)}
	path := s.install(t, "databases/connector.yaml")
	theirs, err := os.ReadFile(pg.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile(s.etc("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.etc("ca.crt"), string(ours)+string(theirs))

	g, c := startPair(t, s.install(t, "production/gateway-behind-balancer.yaml"), path)
	call := func(server, tool, arguments string) string {
		t.Helper()
		_, answer := s.call(t, server, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, tool, arguments))
		return answer
	}
	for _, row := range []struct{ server, tool, arguments, want string }{
		{"orders", "query", `{"sql":"SELECT name, sum(total) FROM orders JOIN customers ON customers.id = customer GROUP BY name ORDER BY name"}`, `["Olga","112.40"],["Otto","7.00"]`},
		{"orders", "query", `{"sql":"SELECT email FROM customers WHERE id = $1","params":[2]}`, "otto@example.com"},
		{"orders", "query", `{"sql":"UPDATE orders SET total = 0 RETURNING id"}`, `"isError":true`},
		{"orders", "describe_table", `{"table":"orders"}`, "Why it was refunded"},
		{"desk", "orders_of", `{"customer":1}`, `"99.90"`},
		{"desk", "query", `{"sql":"SELECT email FROM customers"}`, "-32003"},
	} {
		if got := call(row.server, row.tool, row.arguments); !strings.Contains(got, row.want) {
			t.Errorf("%s at %s: %s", row.tool, row.server, got)
		}
	}

	answered := make(chan string, 1)
	go func() { answered <- call("desk", "refund", `{"order":3,"reason":"late"}`) }()
	id := ""
	for end := time.Now().Add(10 * time.Second); id == "" && time.Now().Before(end); {
		list := execute(t, "", "approvals", "list", "-c", path)
		if id = regexp.MustCompile(`(?m)^[A-Z2-7]{10,}`).FindString(list.out); id == "" {
			<-time.After(50 * time.Millisecond)
		}
	}
	if r := execute(t, "", "approvals", "allow", "-c", path, id); r.code != 0 {
		t.Errorf("approvals allow %s: %d\n%s%s", id, r.code, r.out, r.errOut)
	}
	if got := <-answered; !strings.Contains(got, `"affected":1`) {
		t.Errorf("refund: %s", got)
	}
	if rows := pg.SQL(t, "orders", "SELECT id, refunded FROM orders WHERE refunded IS NOT NULL"); len(rows) != 1 || rows[0][1] != "late" {
		t.Errorf("refunded: %v", rows)
	}

	status := execute(t, "", "connector", "status", "-c", path)
	if status.code != 0 || !strings.Contains(status.out, "postgres://127.0.0.1:") || strings.Contains(status.out, "superuser") {
		t.Errorf("status: %d\n%s%s", status.code, status.out, status.errOut)
	}
	if log := execute(t, "", "audit", "verify", "-c", path); log.code != 0 {
		t.Errorf("audit verify: %d\n%s%s", log.code, log.out, log.errOut)
	}
	c.stop(t, syscall.SIGTERM)
	g.stop(t, syscall.SIGTERM)
	for _, role := range []string{"reader", "support"} {
		if strings.Contains(g.errOut.String()+c.errOut.String()+status.out, s.tokens[role+".password"]) {
			t.Error("a password is printed")
		}
	}
}
