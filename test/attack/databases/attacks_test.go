package databases

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/connector"
	"sallyport.dev/mcp/database"
	"sallyport.dev/mcp/mysql"
	"sallyport.dev/mcp/mysql/mysqltest"
	"sallyport.dev/mcp/postgres"
	"sallyport.dev/mcp/postgres/postgrestest"
	"sallyport.dev/mcp/sqlite"
	"sallyport.dev/mcp/sqlite/sqlitetest"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	password = "canary-password-of-the-database-Zq7Lw2"
	limit    = time.Second
	// most is how long an attack may take: its time, the time in which a driver ends it, and what a busy machine adds.
	most = 3 * (limit + 6*time.Second)
)

// attack is one statement.
type attack struct {
	name, sql string
	params    []json.RawMessage
	mustFail  bool
}

// kind is one kind of database.
type kind struct {
	name    string
	server  connector.Server
	attacks []attack
	// probe is a query that is answered after each attack, always alike.
	probe string
	// left says what an attack has left behind.
	left func(t *testing.T) []string
}

// What comes of an attack.
const (
	refused  = "an error"
	answered = "answered, and nothing is left of it"
)

// outcome is what came of an attack.
type outcome struct {
	attack    attack
	transport tunnel.Transport
	answer    string
}

func TestAttacks(t *testing.T) {
	kinds := []kind{onPostgres(t), onMySQL(t), onSQLite(t)}
	outcomes := make([][]outcome, len(kinds))
	t.Run("all", func(t *testing.T) {
		for i, k := range kinds {
			t.Run(k.name, func(t *testing.T) {
				t.Parallel()
				outcomes[i] = try(t, k)
			})
		}
	})
	if !t.Failed() {
		compare(t, kinds, outcomes)
	}
}

// try makes all attacks on a database, each over another transport than the one before.
func try(t *testing.T, k kind) (list []outcome) {
	k.server.CallTimeout = time.Minute
	var stacks []*stack.Stack
	var agents []*http.Client
	for _, transport := range stack.Transports() {
		s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"db": k.server}})
		stacks, agents = append(stacks, s), append(agents, s.Agent(t, true))
	}
	want := make([]string, len(stacks))
	for i := range stacks {
		failed, text := query(t, stacks[i], agents[i], attack{sql: k.probe})
		if failed {
			t.Fatalf("before all attacks: %s", text)
		}
		want[i] = text
	}
	for i, a := range k.attacks {
		on := i % len(stacks)
		start := time.Now()
		failed, text := query(t, stacks[on], agents[on], a)
		if took := time.Since(start); took > most {
			t.Errorf("%s: it took %s", a.name, took)
		}
		answer := answered
		if failed {
			answer = refused
		} else if a.mustFail {
			t.Errorf("%s: answered: %.300s", a.name, text)
		}
		if failed && len(text) > 8<<10+len(a.sql)+len(bytes.Join(rawBytes(a.params), nil)) { // a library may quote the call to its caller
			t.Errorf("%s: an error of %d bytes: %.200s", a.name, len(text), text)
		}
		if got := k.left(t); len(got) > 0 {
			t.Errorf("%s: it leaves %q", a.name, got)
		}
		if failed, text := query(t, stacks[on], agents[on], attack{sql: k.probe}); failed || text != want[on] {
			t.Errorf("%s: the next query gives %s, not %s", a.name, text, want[on])
		}
		list = append(list, outcome{a, stack.Transports()[on], answer})
	}
	for _, s := range stacks {
		s.StopConnector()
		if strings.Contains(s.Log.String(), "canary") {
			t.Error("the password is in a log")
		}
	}
	return list
}

// query sends a statement as an agent does.
func query(t *testing.T, s *stack.Stack, agent *http.Client, a attack) (failed bool, text string) {
	t.Helper()
	params := []byte("[]")
	if a.params != nil {
		var err error
		if params, err = json.Marshal(a.params); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.Post(t.Context(), "db", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"query","arguments":{"sql":`+quoted(a.sql)+`,"params":`+string(params)+`}}}`)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := agent.Do(r)
	if err != nil {
		t.Fatalf("%s: %v", a.name, err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatalf("%s: %v", a.name, err)
	}
	if bytes.Contains(body, []byte("canary")) {
		t.Errorf("%s: the password is in the answer", a.name)
	}
	if bytes.HasPrefix(body, []byte("event: message\ndata: ")) { // the library answers a call with progress so
		body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("event: message\ndata: ")))
	}
	var answer struct {
		Result *struct {
			IsError bool `json:"isError"`
			Content []struct {
				Text string `json:"text"`
			} `json:"content"`
		} `json:"result"`
		Error *struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Result == nil && answer.Error == nil {
		t.Fatalf("%s: %d %.300s: %v", a.name, resp.StatusCode, body, err)
	}
	if answer.Error != nil {
		return true, answer.Error.Message
	}
	if len(answer.Result.Content) > 0 {
		text = answer.Result.Content[0].Text
	}
	return answer.Result.IsError, text
}

// quoted is a text as a JSON string, with every byte of it, also those that are no UTF-8.
func quoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(c))
		case c < ' ':
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String() + `"`
}

// login is how the connector logs in.
func login(t *testing.T) connector.Access {
	return connector.Access{Password: connector.Password{Secret: stack.SecretFile(t, t.TempDir(), "password", password)}}
}

func common() database.Config {
	return database.Config{StatementTimeout: limit, MaxConnections: 1}
}

func onPostgres(t *testing.T) kind {
	s := postgrestest.Start(t)
	s.Database(t, "target")
	s.Role(t, postgrestest.Attacker, password)
	s.SQL(t, "target", postgrestest.Schema)
	k := kind{
		name:   "PostgreSQL",
		server: connector.Server{CAFile: s.CAFile, Postgres: &connector.Postgres{Place: postgres.Config{DSN: s.DSN(postgrestest.Attacker, "target")}, Access: login(t), Common: common()}},
		probe: `SELECT current_setting('transaction_read_only'), current_setting('statement_timeout'), current_setting('search_path'), current_setting('role'), current_user,
			(SELECT count(*) FROM pg_cursors WHERE is_holdable), (SELECT count(*) FROM pg_listening_channels()), pg_my_temp_schema(), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')`,
		left: func(t *testing.T) []string { return s.Traces(t, "target") },
	}
	for _, a := range postgrestest.Attacks() {
		if a.Setup != "" {
			s.SQL(t, "target", a.Setup)
		}
		k.attacks = append(k.attacks, attack{strings.ReplaceAll(a.Name, "_", " "), a.SQL, a.Params, !a.MayWork})
	}
	return k
}

func onMySQL(t *testing.T) kind {
	s := mysqltest.Start(t)
	s.MakeTarget(t, password)
	before := s.State(t)
	k := kind{
		name:   "MariaDB",
		server: connector.Server{CAFile: s.CAFile, MySQL: &connector.MySQL{Place: mysql.Config{DSN: s.DSN("mighty", "target")}, Access: login(t), Common: common()}},
		probe:  "SELECT COUNT(*), @@session.sql_mode FROM t",
		left: func(t *testing.T) []string {
			s.AwaitNoConnections(t, "mighty", 10*time.Second)
			if after := s.State(t); after != before {
				return []string{after}
			}
			return nil
		},
	}
	for _, a := range mysqltest.Attacks() {
		k.attacks = append(k.attacks, attack{a.Name, a.SQL, raw(a.Params), false})
	}
	return k
}

func onSQLite(t *testing.T) kind {
	file := sqlitetest.Sample(t)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	several := common()
	several.MaxConnections = 4 // what SQLite does not stop at once holds a connection for a while
	k := kind{
		name:   "SQLite",
		server: connector.Server{SQLite: &connector.SQLite{Place: sqlite.Config{File: file}, Common: several}},
		probe:  "SELECT count(*) FROM orders",
		left: func(t *testing.T) (found []string) {
			after, err := os.ReadFile(file)
			if err != nil || !bytes.Equal(before, after) {
				found = append(found, fmt.Sprintf("another database: %v", err))
			}
			beside, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
			if err != nil || len(beside) != 1 {
				found = append(found, fmt.Sprintf("files: %q, %v", beside, err))
			}
			return found
		},
	}
	for _, a := range sqlitetest.Attacks() {
		k.attacks = append(k.attacks, attack{a.Name, a.SQL, raw(a.Params), a.Fails})
	}
	return k
}

func rawBytes(params []json.RawMessage) (list [][]byte) {
	for _, p := range params {
		list = append(list, p)
	}
	return list
}

func raw(params []string) (list []json.RawMessage) {
	for _, p := range params {
		list = append(list, json.RawMessage(p))
	}
	return list
}
