package database

import (
	"context"
	"encoding/json"
	"fmt"

	strict "github.com/go-json-experiment/json"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// The names of the tools.
const (
	toolQuery    = "query"
	toolExplain  = "explain"
	toolSchemas  = "list_schemas"
	toolTables   = "list_tables"
	toolDescribe = "describe_table"
)

// sqlSchema is that of the arguments of query and explain.
func (s *Server) sqlSchema() json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"type":"object","properties":{`+
		`"sql":{"type":"string","description":"One %s statement. Write values as placeholders: %s"},`+
		`"params":{"type":"array","description":"The values of the placeholders, in order. Numbers beyond 2^53 may be written as text."}},`+
		`"required":["sql"],"additionalProperties":false}`, s.dialect.Name, s.dialect.Placeholders))
}

// resultSchema is that of a result.
const resultSchema = `{"type":"object","properties":{` +
	`"columns":{"type":"array","items":{"type":"object","properties":{"name":{"type":"string"},"type":{"type":"string"}},"required":["name","type"]}},` +
	`"rows":{"type":"array","items":{"type":"array"}},"row_count":{"type":"integer"},"truncated":{"type":"boolean"},"note":{"type":"string"},"affected":{"type":"integer"}},` +
	`"required":["columns","rows","row_count","truncated"]}`

// reads are the annotations of a tool that changes nothing, in a world that is this database.
func reads() mcp.ToolAnnotation {
	return mcp.ToolAnnotation{ReadOnlyHint: mcp.ToBoolPtr(true), DestructiveHint: mcp.ToBoolPtr(false), IdempotentHint: mcp.ToBoolPtr(true), OpenWorldHint: mcp.ToBoolPtr(false)}
}

func (s *Server) query() server.ServerTool {
	tool := mcp.NewToolWithRawSchema(toolQuery, fmt.Sprintf("Runs one read-only SQL statement on a %s database and returns its rows, at most %d rows and %d bytes. "+
		"Names are quoted as %s. Integers beyond 2^53 and exact decimals come as text. It is cancelled after %s.", s.dialect.Name, s.cfg.MaxRows, s.cfg.MaxBytes, s.dialect.Quoted, s.cfg.StatementTimeout), s.sqlSchema())
	tool.RawOutputSchema = json.RawMessage(resultSchema)
	tool.Annotations = reads()
	return server.ServerTool{Tool: tool, Handler: func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		statement, err := sqlArguments(r)
		if err != nil {
			return s.failure(ctx, toolQuery, err)
		}
		return s.run(ctx, r, callerFrom(ctx).Login, statement)
	}}
}

func (s *Server) explain() server.ServerTool {
	tool := mcp.NewToolWithRawSchema(toolExplain, "Returns the plan of an SQL statement, as the database prints it, without running it.", s.sqlSchema())
	tool.Annotations = reads()
	return server.ServerTool{Tool: tool, Handler: func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		statement, err := sqlArguments(r)
		if err != nil {
			return s.failure(ctx, toolExplain, err)
		}
		statement.Timeout = s.cfg.StatementTimeout
		ctx, cancel := context.WithTimeout(ctx, statement.Timeout+grace)
		defer cancel()
		plan, err := s.driver.Explain(ctx, callerFrom(ctx).Login, statement)
		if err != nil {
			return s.failure(ctx, toolExplain, err)
		}
		if int64(len(plan)) > s.cfg.MaxBytes {
			plan = plan[:s.cfg.MaxBytes] + "\n-- TRUNCATED"
		}
		return mcp.NewToolResultText(plan), nil
	}}
}

// sqlArguments reads the arguments of query and explain.
func sqlArguments(r mcp.CallToolRequest) (Statement, error) {
	var arguments struct {
		SQL    string            `json:"sql"`
		Params []json.RawMessage `json:"params"`
	}
	if err := decode(r, &arguments); err != nil {
		return Statement{}, err
	}
	return Statement{SQL: arguments.SQL, Params: arguments.Params}, checkSQL(arguments.SQL)
}

// decode reads the arguments of a tool, whose numbers keep all their digits.
func decode(r mcp.CallToolRequest, into any) error {
	raw := r.Params.RawArguments
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	if strict.Unmarshal(raw, into, strict.RejectUnknownMembers(true)) != nil {
		return &Error{Text: "the arguments are not as the tool's schema has them"}
	}
	return nil
}

// named is the tool of a named statement.
func (s *Server) named(n Named) server.ServerTool {
	tool := mcp.NewToolWithRawSchema(n.Name, n.Description, n.schema())
	tool.RawOutputSchema = json.RawMessage(resultSchema)
	if tool.Annotations = reads(); n.Write {
		tool.Annotations.ReadOnlyHint, tool.Annotations.DestructiveHint, tool.Annotations.IdempotentHint = mcp.ToBoolPtr(false), mcp.ToBoolPtr(true), mcp.ToBoolPtr(false)
	}
	return server.ServerTool{Tool: tool, Handler: func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		arguments := make(map[string]json.RawMessage)
		if err := decode(r, &arguments); err != nil {
			return s.failure(ctx, n.Name, err)
		}
		caller := callerFrom(ctx)
		role, session, err := s.cfg.standing(caller)
		if err != nil {
			return s.failure(ctx, n.Name, err)
		}
		statement := Statement{SQL: n.SQL, Write: n.Write, Role: role, Session: session}
		for _, p := range n.Params {
			value, ok := arguments[p.Name]
			if !ok {
				value = Null
			}
			statement.Params = append(statement.Params, value)
		}
		return s.run(ctx, r, caller.Login, statement)
	}}
}
