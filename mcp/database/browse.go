package database

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// browseTimeout bounds a look at the schema.
const browseTimeout = 10 * time.Second

// schemaList, tableList and Table are what the tools that look at the schema return, and the resources as well.
type schemaList struct {
	Schemas []Schema `json:"schemas"`
}

type tableList struct {
	Schema string  `json:"schema"`
	Tables []Table `json:"tables"`
	// More says that there are more tables, and After is what to ask for them with.
	More  bool   `json:"more"`
	After string `json:"after,omitempty"`
}

// where are the arguments of these tools.
type where struct {
	Schema string `json:"schema"`
	Table  string `json:"table"`
	After  string `json:"after"`
}

// browser makes one of these tools.
func (s *Server) browser(name, description, schema string, look func(ctx context.Context, as Login, w where) (any, error)) server.ServerTool {
	tool := mcp.NewToolWithRawSchema(name, description, json.RawMessage(schema))
	tool.Annotations = reads()
	return server.ServerTool{Tool: tool, Handler: func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		var w where
		if err := decode(r, &w); err != nil {
			return s.failure(ctx, name, err)
		}
		ctx, cancel := context.WithTimeout(ctx, browseTimeout)
		defer cancel()
		found, err := look(ctx, callerFrom(ctx).Login, w)
		if err != nil {
			return s.failure(ctx, name, err)
		}
		return mcp.NewToolResultStructured(found, asJSON(found)), nil
	}}
}

// asJSON is what structured content says, for those who read text alone.
func asJSON(v any) string {
	text, _ := json.MarshalIndent(v, "", " ") // structs of texts and numbers always can be
	return string(text)
}

func (s *Server) listSchemas() server.ServerTool {
	return s.browser(toolSchemas, "Lists the schemas that there are.", `{"type":"object","properties":{},"additionalProperties":false}`,
		func(ctx context.Context, as Login, _ where) (any, error) {
			found, err := s.schema.schemas(ctx, as)
			return schemaList{orEmpty(found)}, err
		})
}

func (s *Server) listTables() server.ServerTool {
	return s.browser(toolTables, fmt.Sprintf("Lists the tables and views of a schema, %d at a time, with comments and an estimate of their rows.", page),
		`{"type":"object","properties":{"schema":{"type":"string","description":"Name of the schema. `+s.defaultSchema()+`"},`+
			`"after":{"type":"string","description":"Go on after this name, which the page before has given."}},"additionalProperties":false}`,
		func(ctx context.Context, as Login, w where) (any, error) {
			schema, err := s.schemaNamed(ctx, as, w.Schema)
			if err != nil {
				return nil, err
			}
			return s.tables(ctx, as, schema, w.After)
		})
}

func (s *Server) tables(ctx context.Context, as Login, schema, after string) (any, error) {
	found, more, err := s.schema.tables(ctx, as, schema, after)
	list := tableList{Schema: schema, Tables: orEmpty(found), More: more}
	if more {
		list.After = found[len(found)-1].Name
	}
	return list, err
}

func (s *Server) describeTable() server.ServerTool {
	return s.browser(toolDescribe, "Describes a table or view: columns with types, defaults and comments, indexes, foreign keys. It shows no data.",
		`{"type":"object","properties":{"schema":{"type":"string","description":"Name of the schema. `+s.defaultSchema()+`"},`+
			`"table":{"type":"string","description":"Name of the table, without its schema."}},"required":["table"],"additionalProperties":false}`,
		func(ctx context.Context, as Login, w where) (any, error) {
			schema, err := s.schemaNamed(ctx, as, w.Schema)
			if err != nil {
				return nil, err
			}
			return s.schema.describe(ctx, as, schema, w.Table)
		})
}

func (s *Server) defaultSchema() string {
	if s.dialect.DefaultSchema == "" {
		return "It may be left out where there is one alone."
	}
	return "Default " + strings.ReplaceAll(strings.ReplaceAll(s.dialect.DefaultSchema, `\`, ``), `"`, ``) + "."
}

// schemaNamed is the schema that is meant. It is one that the login may use.
func (s *Server) schemaNamed(ctx context.Context, as Login, name string) (string, error) {
	found, err := s.schema.schemas(ctx, as)
	if err != nil {
		return "", err
	}
	names := make([]string, 0, len(found))
	for _, one := range found {
		names = append(names, one.Name)
	}
	switch {
	case name != "" && slices.Contains(names, name):
		return name, nil
	case name != "":
		return "", &Error{Text: "there is no such schema, or this login may not use it: list_schemas shows what there is"}
	case slices.Contains(names, s.dialect.DefaultSchema):
		return s.dialect.DefaultSchema, nil
	case len(names) == 1:
		return names[0], nil
	case len(names) == 0:
		return "", &Error{Text: "there is no schema that this login may use"}
	}
	return "", &Error{Text: "there are several schemas, so name one: list_schemas shows them"}
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
