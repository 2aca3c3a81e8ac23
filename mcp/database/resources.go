package database

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

const mimeJSON = "application/json"

// addResources adds what the tools that look at the schema return as resources: the schemas at postgres://orders, the tables of
// one at postgres://orders/public, and a table at postgres://orders/public/customers.
func (s *Server) addResources() {
	root := s.dialect.Scheme + "://" + s.name
	s.mcp.AddResource(mcp.NewResource(root, "schemas", mcp.WithResourceDescription("The schemas that there are."), mcp.WithMIMEType(mimeJSON)), s.read)
	template := func(uri, name, description string) {
		s.mcp.AddResourceTemplate(mcp.NewResourceTemplate(uri, name, mcp.WithTemplateDescription(description), mcp.WithTemplateMIMEType(mimeJSON)), server.ResourceTemplateHandlerFunc(s.read))
	}
	template(root+"/{schema}", "tables", "The tables and views of a schema; the first of them, if there are many.")
	template(root+"/{schema}/{table}", "table", "A table or view: its columns, indexes and foreign keys.")
}

// read reads a resource of any depth.
func (s *Server) read(ctx context.Context, r mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
	ctx, cancel := context.WithTimeout(ctx, browseTimeout)
	defer cancel()
	found, err := s.look(ctx, callerFrom(ctx).Login, r.Params.URI)
	if err != nil {
		e := asError(err)
		if e.Err != nil {
			s.failed("resources/read", e.Err)
		}
		return nil, errors.New(e.Error())
	}
	return []mcp.ResourceContents{mcp.TextResourceContents{URI: r.Params.URI, MIMEType: mimeJSON, Text: asJSON(found)}}, nil
}

var errNoResource = &Error{Text: "there is no such resource: list_schemas and list_tables show what there is"}

func (s *Server) look(ctx context.Context, as Login, uri string) (any, error) {
	path, ok := strings.CutPrefix(uri, s.dialect.Scheme+"://"+s.name)
	if !ok {
		return nil, errNoResource
	}
	if path == "" {
		found, err := s.schema.schemas(ctx, as)
		return schemaList{orEmpty(found)}, err
	}
	parts := strings.Split(path, "/")[1:]
	for i, part := range parts {
		name, err := url.PathUnescape(part)
		if err != nil || name == "" {
			return nil, errNoResource
		}
		parts[i] = name
	}
	schema, err := s.schemaNamed(ctx, as, parts[0])
	switch {
	case err != nil:
		return nil, err
	case len(parts) == 1:
		return s.tables(ctx, as, schema, "")
	case len(parts) == 2:
		return s.schema.describe(ctx, as, schema, parts[1])
	}
	return nil, errNoResource
}

// maxCompletions is how many values a completion may have (MCP, completion).
const maxCompletions = 100

// CompleteResourceArgument completes the names of schemas and tables.
func (s *Server) CompleteResourceArgument(ctx context.Context, _ string, argument mcp.CompleteArgument, known mcp.CompleteContext) (*mcp.Completion, error) {
	ctx, cancel := context.WithTimeout(ctx, browseTimeout)
	defer cancel()
	as := callerFrom(ctx).Login
	var names []string
	var err error
	switch argument.Name {
	case "schema":
		var schemas []Schema
		schemas, err = s.schema.schemas(ctx, as)
		for _, one := range schemas {
			names = append(names, one.Name)
		}
	case "table":
		names, err = s.tableNames(ctx, as, known.Arguments["schema"])
	}
	if err != nil {
		return nil, errors.New(asError(err).Error())
	}
	completion := &mcp.Completion{Values: []string{}}
	for _, name := range names {
		if !strings.HasPrefix(strings.ToLower(name), strings.ToLower(argument.Value)) {
			continue
		}
		if completion.HasMore = len(completion.Values) == maxCompletions; completion.HasMore {
			break
		}
		completion.Values = append(completion.Values, name)
	}
	return completion, nil
}

// maxPages bounds how far completion looks for names in a schema of many tables.
const maxPages = 25

// tableNames returns the names of the tables of a schema, the first 5000 of them.
func (s *Server) tableNames(ctx context.Context, as Login, schema string) (names []string, err error) {
	if schema, err = s.schemaNamed(ctx, as, schema); err != nil {
		return nil, err
	}
	after := ""
	for range maxPages {
		tables, more, err := s.schema.tables(ctx, as, schema, after)
		if err != nil {
			return nil, err
		}
		for _, t := range tables {
			names = append(names, t.Name)
			after = t.Name
		}
		if !more {
			break
		}
	}
	return names, nil
}
