package database

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// named are statements to test with.
var named = []Named{
	{Name: "refund", Description: "Refunds an order.", SQL: "UPDATE orders SET refunded = ? WHERE id = ?", Write: true, Params: []Param{
		{Name: "why", Enum: []string{"late", "broken"}, Optional: true}, {Name: "id", Type: "integer", Minimum: new(float64)},
	}},
	{Name: "top", Description: "The best customers.", SQL: "SELECT 1"},
}

func TestTools(t *testing.T) {
	for version, options := range eras {
		f := &fake{rows: 3}
		p := connect(t, Config{Statements: named, MaxRows: 2}, f, Caller{Login: Login{Key: "k", User: "reader"}}, options...)
		list, err := p.ListTools(t.Context(), mcp.ListToolsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, tool := range list.Tools {
			names = append(names, tool.Name)
			switch tool.Name {
			case "query":
				want := "main.orders(id bigint, total numeric(12,2)) -- \"One row an order [31m\"\n"
				if !strings.Contains(tool.Description, want) || !strings.Contains(tool.Description, `quoted as "name"`) || strings.Contains(tool.Description, "\x1b") || !strings.Contains(string(tool.RawInputSchema)+fmt.Sprint(tool.InputSchema), "?, ?") {
					t.Errorf("%s: query is described as %q", version, tool.Description)
				}
			case "refund":
				if *tool.Annotations.ReadOnlyHint || !*tool.Annotations.DestructiveHint {
					t.Errorf("%s: a write says that it is none", version)
				}
			}
		}
		if got := strings.Join(names, " "); got != "describe_table explain list_schemas list_tables query refund top" {
			t.Errorf("%s: tools are %s", version, got)
		}
		for _, row := range []struct {
			tool, arguments string
			failed          bool
			want            string
		}{
			{"query", `{"sql":"SELECT 1","params":[123456789012345678901234567890,"x",null]}`, false, "[\"n\",\"te\\\"xt\"]\n[9007199254740990,\"é\\n\"]\n[9007199254740991,\"é\\n\"]\n-- TRUNCATED: there are more than 2 rows;"},
			{"query", `{"sql":""}`, true, "there is no statement"},
			{"query", `{"sql":"SELECT \u0000"}`, true, "holds a NUL"},
			{"query", `{"sql":"x","other":1}`, true, "other"},
			{"query", `{}`, true, "sql"},
			{"query", `{"sql":1}`, true, "sql"},
			{"explain", `{"sql":"SELECT 1"}`, false, "Seq Scan"},
			{"list_schemas", `{}`, false, `"comment": "Sales"`},
			{"list_tables", `{}`, false, `"schema": "main"`},
			{"list_tables", `{"schema":"none"}`, true, "there is no such schema"},
			{"describe_table", `{"table":"orders"}`, false, `"type": "numeric(12,2)"`},
			{"describe_table", `{"table":"gone"}`, true, "there is no such table"},
			{"refund", `{"id":7}`, false, "-- 3 rows affected"},
			{"refund", `{"id":7,"why":"late"}`, false, "-- 3 rows affected"},
			{"refund", `{"id":7,"why":"gone"}`, true, "why"},
			{"refund", `{"id":-1}`, true, "id"},
			{"refund", `{"why":"late"}`, true, "id"},
			{"refund", `{"id":7,"role":"admin"}`, true, "role"},
			{"top", `{}`, false, "TRUNCATED"},
		} {
			result := p.call(t, row.tool, row.arguments)
			if result.IsError != row.failed || !strings.Contains(textOf(result), row.want) {
				t.Errorf("%s: %s %s: error %v, %s", version, row.tool, row.arguments, result.IsError, textOf(result))
			}
		}
		if first := f.ran[0]; first.SQL != "SELECT 1" || len(first.Params) != 3 || string(first.Params[0]) != "123456789012345678901234567890" || first.Write || first.Timeout != defaultTimeout || f.as[0].User != "reader" {
			t.Errorf("%s: it ran %+v as %+v", version, first, f.as[0])
		}
		for _, s := range f.ran {
			if s.Write && (string(s.Params[1]) != "7" || string(s.Params[0]) != "null" && string(s.Params[0]) != `"late"`) {
				t.Errorf("%s: it ran %+v", version, s)
			}
		}
	}
}

func TestStructuredResult(t *testing.T) {
	f := &fake{rows: 1}
	answer := connect(t, Config{}, f, Caller{}).call(t, "query", `{"sql":"x"}`)
	text, err := json.Marshal(answer.StructuredContent)
	if err != nil {
		t.Fatal(err)
	}
	var got result
	if err := json.Unmarshal(text, &got); err != nil || got.RowCount != 1 || got.Truncated || len(got.Rows) != 1 || got.Columns[0].Type != "bigint" || got.Affected != nil {
		t.Errorf("%v: %s", err, text)
	}
}

func TestNamedOnly(t *testing.T) {
	cfg := Config{NamedOnly: true, Statements: named, RoleFrom: "claims.db_role", Session: map[string]string{"app.user": "principal.subject", "app.n": "claims.n"}}
	f := &fake{}
	p := connect(t, cfg, f, Caller{Issuer: "https://i", Subject: "olga", Claims: map[string]any{"db_role": "sales", "n": 7.0}})
	list, err := p.ListTools(t.Context(), mcp.ListToolsRequest{})
	if err != nil || len(list.Tools) != 2 || f.looks != 0 {
		t.Errorf("%v, %d looks: %+v", err, f.looks, list)
	}
	if _, err := p.ListResources(t.Context(), mcp.ListResourcesRequest{}); err == nil {
		t.Error("there are resources")
	}
	p.call(t, "top", `{}`)
	if s := f.ran[0]; s.Role != "sales" || fmt.Sprint(s.Session) != "[{app.n 7} {app.user olga}]" {
		t.Errorf("%+v", s)
	}
	other := connect(t, cfg, f, Caller{Issuer: "https://i", Subject: "otto"})
	if result := other.call(t, "top", `{}`); !result.IsError || !strings.Contains(textOf(result), "your identity has no claims.db_role") || len(f.ran) != 1 {
		t.Errorf("%s, %d ran", textOf(result), len(f.ran))
	}
}

// What an agent is not told goes to the log.
func TestFailures(t *testing.T) {
	for _, row := range []struct {
		err  error
		want string
	}{
		{errors.New("dial tcp 10.0.0.7: password canary"), "the database failed"},
		{Unreachable(errors.New("canary")), "the database cannot be reached, and nothing was run"},
		{&Error{Code: "42P01", Text: "relation does not exist"}, "42P01: relation does not exist"},
		{&Error{Text: "the connection broke", Unknown: true}, "it is not known whether it was done"},
	} {
		f := &fake{err: row.err}
		p := connect(t, Config{}, f, Caller{})
		for _, tool := range []string{"query", "explain", "list_schemas", "list_tables"} {
			arguments := `{}`
			if tool == "query" || tool == "explain" {
				arguments = `{"sql":"x"}`
			}
			if result := p.call(t, tool, arguments); !result.IsError || !strings.Contains(textOf(result), row.want) || strings.Contains(textOf(result), "canary") {
				t.Errorf("%s: %s", tool, textOf(result))
			}
		}
		var read mcp.ReadResourceRequest
		read.Params.URI = "fake://orders"
		if _, err := p.ReadResource(t.Context(), read); err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("a resource: %v", err)
		}
	}
}

func TestResources(t *testing.T) {
	f := &fake{tables: 450}
	p := connect(t, Config{}, f, Caller{})
	templates, err := p.ListResourceTemplates(t.Context(), mcp.ListResourceTemplatesRequest{})
	if err != nil || len(templates.ResourceTemplates) != 2 {
		t.Errorf("%v: %+v", err, templates)
	}
	for uri, want := range map[string]string{
		"fake://orders":                  `"name": "many"`,
		"fake://orders/main":             `"name": "odd/name"`,
		"fake://orders/many":             `"after": "t00199"`,
		"fake://orders/main/orders":      `"type": "numeric(12,2)"`,
		"fake://orders/main/odd%2Fname":  `"name": "odd/name"`,
		"fake://orders/none":             "",
		"fake://orders/main/gone":        "",
		"fake://orders/main/orders/more": "",
		"fake://other/main":              "",
		"fake://orders/":                 "",
		"fake://orders//orders":          "",
	} {
		var read mcp.ReadResourceRequest
		read.Params.URI = uri
		got, err := p.ReadResource(t.Context(), read)
		if (err == nil) != (want != "") {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if err == nil && !strings.Contains(got.Contents[0].(mcp.TextResourceContents).Text, want) {
			t.Errorf("%s: %+v", uri, got)
		}
	}
	for _, row := range []struct {
		argument, value, schema string
		want                    int
		more                    bool
	}{
		{"schema", "m", "", 2, false}, {"schema", "MA", "", 2, false}, {"schema", "x", "", 0, false}, {"table", "or", "", 1, false},
		{"table", "t", "many", 100, true}, {"table", "t0044", "many", 10, false}, {"other", "", "", 0, false},
	} {
		var ask mcp.CompleteRequest
		ask.Params.Ref = mcp.ResourceReference{Type: "ref/resource", URI: "fake://orders/{schema}/{table}"}
		ask.Params.Argument = mcp.CompleteArgument{Name: row.argument, Value: row.value}
		if row.schema != "" {
			ask.Params.Context = mcp.CompleteContext{Arguments: map[string]string{"schema": row.schema}}
		}
		got, err := p.Complete(t.Context(), ask)
		if err != nil || len(got.Completion.Values) != row.want || got.Completion.HasMore != row.more {
			t.Errorf("%+v: %v, %+v", row, err, got)
		}
	}
}

// What is known of the schema is asked for once in a while, and by each login for itself.
func TestCatalogueIsRemembered(t *testing.T) {
	f := &fake{}
	c := newCatalogue(f)
	ask := func(key string) {
		if _, err := c.schemas(t.Context(), Login{Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	ask("a")
	ask("a")
	ask("b")
	if f.looks != 2 {
		t.Errorf("%d looks", f.looks)
	}
	f.err = errors.New("down")
	if _, err := c.schemas(t.Context(), Login{Key: "c"}); err == nil {
		t.Error("a failure is no failure")
	}
	f.err = nil
	ask("c")
	for i := range 2 * maxKnown {
		ask(fmt.Sprint(i))
	}
	if len(c.known) > maxKnown {
		t.Errorf("%d are known", len(c.known))
	}
}

// A caller who wants progress hears that a statement runs, and one who leaves ends it.
func TestProgressAndCancel(t *testing.T) {
	t.Parallel()
	f := &fake{rows: 1, delay: reportEvery + reportEvery/2}
	p := connect(t, Config{}, f, Caller{}, eras["2025-11-25"]...)
	if result := p.call(t, "query", `{"sql":"x"}`); result.IsError {
		t.Error(textOf(result))
	}
	p.mu.Lock()
	if p.progress != 1 {
		t.Errorf("%d notices of progress", p.progress)
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var r mcp.CallToolRequest
	r.Params.Name, r.Params.Arguments = "query", json.RawMessage(`{"sql":"x"}`)
	start := time.Now()
	if _, err := p.CallTool(ctx, r); err == nil || time.Since(start) > 3*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

func TestConfigs(t *testing.T) {
	good := Named{Name: "a", Description: "d", SQL: "SELECT 1"}
	for name, test := range map[string]struct {
		cfg  Config
		want string
	}{
		"none":                {Config{}, ""},
		"all":                 {Config{Statements: named, StatementTimeout: time.Second, MaxRows: 1, MaxBytes: 1024, MaxConnections: 1}, ""},
		"timeout":             {Config{StatementTimeout: 1}, "statement_timeout"},
		"rows":                {Config{MaxRows: -1}, "max_rows"},
		"bytes":               {Config{MaxBytes: 1 << 40}, "max_bytes"},
		"connections":         {Config{MaxConnections: 65}, "max_connections"},
		"no tool":             {Config{NamedOnly: true}, "named_only"},
		"role with free SQL":  {Config{Statements: []Named{good}, RoleFrom: "claims.r"}, "they need named_only"},
		"session with it":     {Config{Session: map[string]string{"a.b": "claims.r"}}, "they need named_only"},
		"role of nothing":     {Config{NamedOnly: true, Statements: []Named{good}, RoleFrom: "sales"}, "role_from: write claims.NAME"},
		"session of nothing":  {Config{NamedOnly: true, Statements: []Named{good}, Session: map[string]string{"a.b": "sales"}}, "session: a value comes from"},
		"statement's name":    {Config{Statements: []Named{{Name: "a b", Description: "d", SQL: "x"}}}, "number 1: name"},
		"no description":      {Config{Statements: []Named{{Name: "a", SQL: "x"}}}, "description"},
		"no SQL":              {Config{Statements: []Named{{Name: "a", Description: "d", SQL: " "}}}, "there is no statement"},
		"two of one name":     {Config{Statements: []Named{good, {Name: "A", Description: "d", SQL: "x"}}}, "number 2: name: there is a tool"},
		"name of a tool":      {Config{Statements: []Named{{Name: "Query", Description: "d", SQL: "x"}}}, "there is a tool"},
		"parameter's name":    {Config{Statements: []Named{{Name: "a", Description: "d", SQL: "x", Params: []Param{{Name: "a-b"}}}}}, "params: number 1: name"},
		"parameter twice":     {Config{Statements: []Named{{Name: "a", Description: "d", SQL: "x", Params: []Param{{Name: "a"}, {Name: "a"}}}}}, "given twice"},
		"type":                {Config{Statements: []Named{{Name: "a", Description: "d", SQL: "x", Params: []Param{{Name: "a", Type: "date"}}}}}, "type: one of"},
		"enum of a number":    {Config{Statements: []Named{{Name: "a", Description: "d", SQL: "x", Params: []Param{{Name: "a", Type: "number", Enum: []string{"1"}}}}}}, "for a string"},
		"minimum of a string": {Config{Statements: []Named{{Name: "a", Description: "d", SQL: "x", Params: []Param{{Name: "a", Minimum: new(float64)}}}}}, "for an integer"},
		"pattern":             {Config{Statements: []Named{{Name: "a", Description: "d", SQL: "x", Params: []Param{{Name: "a", Pattern: "("}}}}}, "pattern"},
	} {
		err := test.cfg.Validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
