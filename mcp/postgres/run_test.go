package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/mcp/database"
	"sallyport.dev/secret"
)

func TestRunRefuses(t *testing.T) {
	b := newBench(t)
	b.sql(t, "CREATE TABLE t (n int); GRANT ALL ON t TO PUBLIC")
	for sql, want := range map[string]string{
		"":                                     "returns no rows",
		"COMMIT":                               "returns no rows",
		"INSERT INTO t VALUES (1)":             "returns no rows",
		"INSERT INTO t VALUES (1) RETURNING n": "25006",
		"SELECT 1; SELECT 2":                   "more than one statement",
		"SELECT FROM nowhere":                  "42P01: relation \"nowhere\" does not exist (at character 13)",
		"SELECT * FROM pg_authid":              "42501: permission denied for table pg_authid",
		"SELECT 'é' FROM x y z":                "42601: syntax error at or near \"z\" (at character 21)",
		"SELECT 1/0":                           "22012: division by zero",
	} {
		_, err := b.run(t.Context(), statement(sql))
		fails(t, err, want)
	}
	if n := b.sql(t, "SELECT count(*) FROM t")[0][0]; n != "0" {
		t.Errorf("%s rows were written", n)
	}
	word, _ := json.Marshal(password)
	_, err := b.run(t.Context(), statement("SELECT $1::int", string(word)))
	fails(t, err, "[redacted]")
	harmless(t, err)
}

func TestRunBounds(t *testing.T) {
	b := newBench(t)
	out := database.NewRows(3, 1000)
	if err := b.driver.Run(t.Context(), b.login, statement("SELECT generate_series(1, 5)"), out); err != nil {
		t.Fatal(err)
	}
	if len(out.All()) != 3 || !strings.Contains(out.Truncated(), "3 rows") {
		t.Errorf("%d rows, truncated: %q", len(out.All()), out.Truncated())
	}
	before := b.value(t, "SELECT pg_backend_pid()")
	out = database.NewRows(100_000, 1000)
	if err := b.driver.Run(t.Context(), b.login, statement("SELECT repeat('x', 600) FROM generate_series(1, 1000)"), out); err != nil {
		t.Fatal(err)
	}
	if len(out.All()) != 1 || out.Truncated() == "" {
		t.Errorf("%d rows, truncated: %q", len(out.All()), out.Truncated())
	}
	if after := b.value(t, "SELECT pg_backend_pid()"); after != before {
		t.Error("the connection of a result that was read to its end was not kept")
	}
	start := time.Now()
	if _, err := b.run(t.Context(), statement("SELECT repeat('x', 1000) FROM generate_series(1, 10000000)")); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
	out, err := b.run(t.Context(), statement("SELECT FROM generate_series(1, 2)"))
	if err != nil || len(out.All()) != 2 || len(out.Columns()) != 0 {
		t.Errorf("a result without columns: %v, %v", out.All(), err)
	}
	long := statement("SELECT repeat('x', 500 * 1024 * 1024)")
	long.Timeout = time.Minute // the server makes it first, and that takes seconds
	_, err = b.run(t.Context(), long)
	fails(t, err, "a row of the result has more than 1048576 bytes")
	b.none(t, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND usename = '"+b.login.User+"'")
}

// none waits until a count is 0.
func (b *bench) none(t *testing.T, sql string) {
	t.Helper()
	got := ""
	for range 250 {
		if got = b.sql(t, sql)[0][0]; got == "0" {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Errorf("%s: %s", sql, got)
}

func TestWrite(t *testing.T) {
	b := newBench(t)
	b.sql(t, fmt.Sprintf(`CREATE TABLE t (n int PRIMARY KEY, who text DEFAULT current_setting('app.user', true), role text DEFAULT current_user);
		CREATE ROLE "r "" x%[1]s"; GRANT ALL ON t TO "r "" x%[1]s", %[1]s; GRANT "r "" x%[1]s" TO %[1]s;
		CREATE TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED); GRANT ALL ON late TO %[1]s`, b.login.User))
	write := func(sql string, params ...string) (*database.Rows, error) {
		s := statement(sql, params...)
		s.Write, s.Role, s.Session = true, `r " x`+b.login.User, []database.Variable{{Name: "app.user", Value: "o'neil"}}
		return b.run(t.Context(), s)
	}
	out, err := write("INSERT INTO t VALUES ($1), ($2) RETURNING n, who, role", "1", "2")
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(out.All())
	if want := fmt.Sprintf(`[[1,"o'neil","r \" x%[1]s"],[2,"o'neil","r \" x%[1]s"]]`, b.login.User); string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err = write("UPDATE t SET n = n + 10"); err != nil {
		t.Fatal(err)
	}
	if got := b.sql(t, "SELECT sum(n) FROM t")[0][0]; got != "23" {
		t.Errorf("the sum is %s", got)
	}
	for _, name := range []string{"app.user", "role", "transaction_read_only", "default_transaction_read_only"} {
		want := map[string]string{"app.user": `""`, "role": `"none"`}[name]
		if want == "" {
			want = `"on"`
		}
		if got := b.value(t, "SELECT coalesce(current_setting('"+name+"', true), '')"); got != want {
			t.Errorf("%s is %s afterwards", name, got)
		}
	}
	_, err = write("INSERT INTO t VALUES (11)")
	fails(t, err, "23505: duplicate key")
	for sql, want := range map[string]string{
		"COPY t FROM STDIN":                  "nothing was copied",
		"COPY t TO STDOUT":                   "nothing was copied",
		"COMMIT":                             "ended its transaction itself",
		"ROLLBACK":                           "ended its transaction itself",
		"INSERT INTO t VALUES (8); SELECT 1": "more than one statement",
		"VACUUM":                             "25001",
	} {
		_, err := write(sql)
		fails(t, err, want)
	}
	s := statement("INSERT INTO late VALUES (1), (1)")
	s.Write = true
	_, err = b.run(t.Context(), s)
	fails(t, err, "23505: duplicate key")
	if e, ok := errors.AsType[*database.Error](err); !ok || e.Unknown {
		t.Errorf("a constraint that is checked at the end: %v", err)
	}
	for _, name := range []string{"role", "statement_timeout", "app.", "app.x'", "1.a", "a..b", "transaction_read_only", ""} {
		s := statement("SELECT 1")
		s.Session = []database.Variable{{Name: name}}
		_, err := b.run(t.Context(), s)
		fails(t, err, "a session variable has a name such as app.user")
	}
	s = statement("SELECT 1")
	s.Role = `x"; DROP TABLE t; --`
	_, err = b.run(t.Context(), s)
	fails(t, err, "does not exist")
}

func TestCommitLost(t *testing.T) {
	b := newBench(t)
	b.sql(t, `CREATE TABLE t (n int); GRANT ALL ON t TO PUBLIC;
		CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
		CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()`)
	s := statement("INSERT INTO t VALUES (1)")
	s.Write = true
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := b.run(ctx, s)
	fails(t, err, "it is not known whether it was done")
	if e, ok := errors.AsType[*database.Error](err); !ok || !e.Unknown {
		t.Errorf("not marked as unknown: %v", err)
	}
}

func TestTimeout(t *testing.T) {
	b := newBench(t)
	s := statement("SELECT pg_sleep(60)")
	s.Timeout = 300 * time.Millisecond
	start := time.Now()
	_, err := b.run(t.Context(), s)
	fails(t, err, "longer than 300ms")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	_, err = b.run(t.Context(), statement("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(60)"))
	fails(t, err, "57014: canceling statement due to user request")
}

func TestCancelStopsTheStatement(t *testing.T) {
	var dials atomic.Int64
	b := newBench(t, func(o *database.Options) {
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := statement("SELECT pg_sleep(600)")
	s.Timeout = time.Hour
	go func() {
		_, err := b.run(ctx, s)
		done <- err
	}()
	active := "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND usename = '" + b.login.User + "'"
	for b.sql(t, active)[0][0] == "0" {
		<-time.After(10 * time.Millisecond)
	}
	start := time.Now()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the call ends with %v", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the call ends after %s", took)
	}
	b.none(t, active)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the statement is stopped after %s", took)
	}
	if n := dials.Load(); n != 2 {
		t.Errorf("%d dials, want one to ask and one to cancel", n)
	}
}

func TestSessionsAreClean(t *testing.T) {
	b := newBench(t, func(o *database.Options) { o.MaxConnections = 1 })
	pid := b.value(t, "SELECT pg_backend_pid()")
	b.value(t, `SELECT set_config('statement_timeout', '7', false) || set_config('app.user', 'x', false) || set_config('search_path', 'y', false)
		|| set_config('default_transaction_read_only', 'off', false) || set_config('bytea_output', 'escape', false)
		|| pg_advisory_lock(1)::text || pg_advisory_lock_shared(2)::text`)
	for name, want := range map[string]string{
		"app.user": `""`, "search_path": `"\"$user\", public"`, "default_transaction_read_only": `"on"`, "transaction_read_only": `"on"`,
		"statement_timeout": `"5s"`, "bytea_output": `"hex"`, "TimeZone": `"UTC"`,
	} {
		if got := b.value(t, "SELECT coalesce(current_setting('"+name+"', true), '')"); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
	if again := b.value(t, "SELECT pg_backend_pid()"); again != pid {
		t.Error("the connection was not kept")
	}
	b.none(t, "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND usename = '"+b.login.User+"'")
}

func TestPools(t *testing.T) {
	b := newBench(t)
	var calls sync.WaitGroup
	for i := range 40 {
		calls.Go(func() {
			if _, err := b.run(t.Context(), statement("SELECT $1::int, pg_sleep(0.01)", fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	open := "SELECT count(*) FROM pg_stat_activity WHERE usename = '" + b.login.User + "'"
	if n := b.sql(t, open)[0][0]; n != "2" {
		t.Errorf("there are %s connections, want 2", n)
	}

	// The server ends all connections: each next call works nevertheless.
	b.sql(t, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '"+b.login.User+"'")
	b.none(t, open)
	for range 3 {
		b.value(t, "SELECT 1")
	}

	// The password changes, and the key with it.
	b.sql(t, "ALTER ROLE "+b.login.User+" PASSWORD 'another'")
	b.value(t, "SELECT 'the connection that is open goes on'")
	next := b.login
	next.Key, next.Password = "k2", secret.New("another")
	if err := b.driver.Run(t.Context(), next, statement("SELECT 1"), database.NewRows(1, 100)); err != nil {
		t.Error(err)
	}
	wrong := b.login
	wrong.Key = "k3"
	err := b.driver.Run(t.Context(), wrong, statement("SELECT 1"), database.NewRows(1, 100))
	fails(t, err, "refused the connector's login")

	endAll(b.driver.expire(time.Now()))
	b.none(t, open)
	if n := len(b.driver.pools); n != 0 {
		t.Errorf("%d pools are left", n)
	}
	b.driver.Close()
	b.driver.Close()
	_, err = b.run(t.Context(), statement("SELECT 1"))
	fails(t, err, "shutting down")
}

func TestPoolsAreBounded(t *testing.T) {
	b := newBench(t)
	b.value(t, "SELECT 1")
	for i := range maxPools + 5 {
		p, err := b.driver.hold(database.Login{Key: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		b.driver.leave(p)
	}
	if n := len(b.driver.pools); n != maxPools {
		t.Errorf("there are %d pools", n)
	}
	b.none(t, "SELECT count(*) FROM pg_stat_activity WHERE usename = '"+b.login.User+"'")
	p := &pool{slots: make(chan struct{}, 1)}
	if err := p.acquire(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
	fails(t, p.acquire(t.Context(), 10*time.Millisecond), "all connections to the database are in use")
}

func TestCloseEndsCalls(t *testing.T) {
	b := newBench(t)
	done := make(chan error, 1)
	go func() {
		s := statement("SELECT pg_sleep(60)")
		s.Timeout = time.Minute
		_, err := b.run(t.Context(), s)
		done <- err
	}()
	for b.sql(t, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND usename = '"+b.login.User+"'")[0][0] == "0" {
		<-time.After(10 * time.Millisecond)
	}
	start := time.Now()
	b.driver.Close()
	fails(t, <-done, "shutting down")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	b.none(t, "SELECT count(*) FROM pg_stat_activity WHERE usename = '"+b.login.User+"'")
}

func TestConnectErrors(t *testing.T) {
	b := newBench(t)
	run := func(c Config, o database.Options, as database.Login) error {
		t.Helper()
		err := newDriver(t, c, o).Run(t.Context(), as, statement("SELECT 1"), database.NewRows(1, 100))
		if err == nil {
			t.Fatal("no error")
		}
		for _, word := range []string{password, "wr0ng-word", b.login.User, b.database, "127.0.0.1", "nowhere.invalid"} {
			if strings.Contains(err.Error(), word) {
				t.Errorf("the error holds %q: %v", word, err)
			}
		}
		if cause := errors.Unwrap(err); cause == nil || strings.Contains(cause.Error(), "wr0ng-word") || strings.Contains(cause.Error(), password) {
			t.Errorf("the cause is %v", cause)
		}
		return err
	}
	good := Config{DSN: b.server.DSN(b.login.User, b.database)}
	wrong := b.login
	wrong.Password = secret.New("wr0ng-word")
	fails(t, run(good, b.options, wrong), "refused the connector's login")
	fails(t, run(Config{DSN: "postgres://" + b.login.User + "@127.0.0.1:1/" + b.database}, b.options, b.login), "cannot be reached")
	fails(t, run(Config{DSN: "postgres://" + b.login.User + "@nowhere.invalid/" + b.database}, b.options, b.login), "cannot be reached")
	fails(t, run(Config{DSN: b.server.DSN(b.login.User, "nowhere")}, b.options, b.login), "cannot be reached")
	o := b.options
	o.Roots = nil
	fails(t, run(good, o, b.login), "cannot be reached") // the system does not know the test's CA
	o = b.options
	o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("not allowed") }
	fails(t, run(good, o, b.login), "cannot be reached")
}

// TestTransports runs over what the DSN can say, with an environment that says otherwise.
func TestTransports(t *testing.T) {
	b := newBench(t)
	for name, value := range map[string]string{
		"PGHOST": "192.0.2.1", "PGPORT": "1", "PGUSER": "postgres", "PGPASSWORD": "stolen", "PGDATABASE": "postgres", "PGSSLMODE": "disable",
		"PGSSLROOTCERT": "/nowhere", "PGSSLCERT": "/nowhere", "PGSSLKEY": "/nowhere", "PGSSLNEGOTIATION": "direct", "PGSSLSNI": "0",
		"PGOPTIONS": "-c default_transaction_read_only=off", "PGTZ": "Europe/Berlin", "PGAPPNAME": "evil", "PGCONNECT_TIMEOUT": "x",
		"PGTARGETSESSIONATTRS": "standby", "PGPASSFILE": "/nowhere", "PGSERVICEFILE": "/nowhere", "PGREQUIREAUTH": "none", "PGCHANNELBINDING": "x",
		"PGMINPROTOCOLVERSION": "x", "PGMAXPROTOCOLVERSION": "x", "PGKRBSRVNAME": "x", "HOME": t.TempDir(), "PGSSLCERTMODE": "require",
		"PGSSLPASSWORD": "x", "PGGSSENCMODE": "require", "PGCLIENTENCODING": "LATIN1", "PGDATESTYLE": "German",
	} {
		t.Setenv(name, value)
	}
	port := b.server.Port
	at := func(host, params string) string {
		return fmt.Sprintf("postgres://%s@%s:%d/%s%s", b.login.User, host, port, b.database, params)
	}
	for dsn, tls := range map[string]string{
		at("127.0.0.1", ""):                                     "true",
		at("localhost", ""):                                     "true",
		at("127.0.0.1", "?sslmode=verify-ca"):                   "true",
		at("127.0.0.1", "?sslmode=require"):                     "true",
		at("127.0.0.1", "?sslmode=disable"):                     "false",
		at("", "?host="+b.server.SocketDir):                     "null",
		at("127.0.0.1", "?search_path=x&application_name=mine"): "true",
	} {
		d := newDriver(t, Config{DSN: dsn, AllowPlaintext: true}, b.options)
		out := database.NewRows(1, 1000)
		err := d.Run(t.Context(), b.login, statement(`SELECT ssl, current_user, current_database(), current_setting('TimeZone'), application_name, search_path
			FROM pg_stat_ssl JOIN pg_stat_activity USING (pid), current_setting('search_path') search_path WHERE pid = pg_backend_pid()`), out)
		if err != nil {
			t.Errorf("%s: %v: %v", dsn, err, errors.Unwrap(err))
			continue
		}
		if row := out.All()[0]; string(row[0]) != tls && tls != "null" || string(row[1]) != `"`+b.login.User+`"` || string(row[3]) != `"UTC"` {
			t.Errorf("%s: %s", dsn, row)
		}
	}
	for _, mode := range []string{"", "?sslmode=verify-ca"} {
		o := b.options
		o.Roots = nil
		err := newDriver(t, Config{DSN: at("127.0.0.1", mode)}, o).Run(t.Context(), b.login, statement("SELECT 1"), database.NewRows(1, 100))
		fails(t, err, "cannot be reached")
	}
	// A certificate for another name is for verify-ca alone.
	o := b.options
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != fmt.Sprintf("other.example:%d", port) {
			t.Errorf("dials %s", address)
		}
		return b.options.Dial(ctx, network, fmt.Sprintf("127.0.0.1:%d", port))
	}
	err := newDriver(t, Config{DSN: at("other.example", "")}, o).Run(t.Context(), b.login, statement("SELECT 1"), database.NewRows(1, 100))
	fails(t, err, "cannot be reached")
	if err := newDriver(t, Config{DSN: at("other.example", "?sslmode=verify-ca")}, o).Run(t.Context(), b.login, statement("SELECT 1"), database.NewRows(1, 100)); err != nil {
		t.Error(err)
	}
	t.Setenv("PGSERVICE", "evil")
	_, err = New(Config{DSN: at("127.0.0.1", "")}, b.options)
	fails(t, err, "PGSERVICE")
}
