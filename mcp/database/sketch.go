package database

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/mark3labs/mcp-go/mcp"
)

const (
	// sketchTime bounds what a list of tools waits for the database.
	sketchTime = 2 * time.Second
	// sketchTables and sketchSize bound what is said of the schema, in tables and in bytes.
	sketchTables = 16
	sketchSize   = 3 << 10
	// sketchComment bounds a comment, in characters.
	sketchComment = 100
)

// sketch says in the description of query what tables there are, so that a model need not ask for that first: names, types and
// comments, never data. Comments are written by whoever may change the schema: they are quoted, on one line, and short. A
// database that does not answer in time leaves the description as it is.
func (s *Server) sketch(ctx context.Context, _ any, _ *mcp.ListToolsRequest, result *mcp.ListToolsResult) {
	i := slices.IndexFunc(result.Tools, func(t mcp.Tool) bool { return t.Name == toolQuery })
	if i < 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sketchTime)
	defer cancel()
	if text := s.sketchOf(ctx, callerFrom(ctx).Login); text != "" {
		result.Tools = slices.Clone(result.Tools)
		result.Tools[i].Description += "\n\nTables (more by list_tables and describe_table):\n" + text
	}
}

func (s *Server) sketchOf(ctx context.Context, as Login) string {
	schemas, err := s.schema.schemas(ctx, as)
	if err != nil {
		return ""
	}
	var b strings.Builder
	left := sketchTables
	for _, schema := range schemas {
		tables, _, err := s.schema.tables(ctx, as, schema.Name, "")
		if err != nil {
			break
		}
		for _, t := range tables {
			if left--; left < 0 {
				return b.String()
			}
			whole, err := s.schema.describe(ctx, as, schema.Name, t.Name)
			if err != nil {
				return b.String()
			}
			line := sketchTable(&whole)
			if b.Len()+len(line) > sketchSize {
				return b.String()
			}
			b.WriteString(line)
		}
	}
	return b.String()
}

// sketchTable is a line about a table.
func sketchTable(t *Table) string {
	columns := make([]string, 0, len(t.Columns))
	for _, c := range t.Columns {
		columns = append(columns, strings.TrimSpace(oneLine(c.Name)+" "+oneLine(c.Type)))
	}
	line := fmt.Sprintf("%s.%s(%s)", oneLine(t.Schema), oneLine(t.Name), strings.Join(columns, ", "))
	if t.Comment != "" {
		line += fmt.Sprintf(" -- %q", oneLine(t.Comment))
	}
	return line + "\n"
}

// oneLine makes a text of the schema's one that stays on its line.
func oneLine(text string) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > sketchComment {
		runes = append(runes[:sketchComment-1], '…')
	}
	return string(slices.DeleteFunc(runes, func(r rune) bool { return !unicode.IsPrint(r) }))
}
