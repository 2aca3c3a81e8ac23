package agent

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	strict "github.com/go-json-experiment/json"
	"github.com/mark3labs/mcp-go/mcp"
)

// maxColumn is how much of a description stands in the table, in characters.
const maxColumn = 72

// PrintTools writes a table: name, first line of the description, required arguments.
func PrintTools(w io.Writer, tools []mcp.Tool) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TOOL\tDESCRIPTION\tREQUIRED")
	for _, tool := range tools {
		fmt.Fprintf(table, "%s\t%s\t%s\n", oneLine(tool.Name), shorten(oneLine(tool.Description)), oneLine(cmp.Or(strings.Join(required(tool), " "), "-")))
	}
	return table.Flush()
}

// required reads the names from the schema, in whichever of its two forms the library has it.
func required(tool mcp.Tool) []string {
	if tool.RawInputSchema != nil {
		var schema struct {
			Required []string `json:"required"`
		}
		_ = strict.Unmarshal(tool.RawInputSchema, &schema) // a schema of another shape has none to show
		return schema.Required
	}
	return tool.InputSchema.Required
}

// PrintResult writes a tool's answer: texts as they are but for control characters, a note for what is no text, and
// structured content as JSON unless it only repeats the text.
func PrintResult(w io.Writer, result *mcp.CallToolResult) error {
	var out strings.Builder
	for _, content := range result.Content {
		text := describe(content)
		out.WriteString(plain(text))
		if !strings.HasSuffix(text, "\n") {
			out.WriteByte('\n')
		}
	}
	if raw := result.RawStructuredContent; len(raw) > 0 && !repeats(raw, result.Content) {
		var indented bytes.Buffer
		if json.Indent(&indented, raw, "", "  ") == nil {
			out.WriteString(plain(indented.String()) + "\n")
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func describe(content mcp.Content) string {
	switch c := content.(type) {
	case mcp.TextContent:
		return c.Text
	case mcp.ImageContent:
		return fmt.Sprintf("[image, %s, %d bytes of base64; use --json]", c.MIMEType, len(c.Data))
	case mcp.AudioContent:
		return fmt.Sprintf("[audio, %s, %d bytes of base64; use --json]", c.MIMEType, len(c.Data))
	case mcp.ResourceLink:
		return fmt.Sprintf("[link to %s]", c.URI)
	case mcp.EmbeddedResource:
		if text, ok := c.Resource.(mcp.TextResourceContents); ok {
			return text.Text
		}
		return "[embedded resource; use --json]"
	}
	return fmt.Sprintf("[content of type %T; use --json]", content)
}

// repeats reports whether a text content is the same JSON.
func repeats(raw json.RawMessage, contents []mcp.Content) bool {
	var want bytes.Buffer
	if json.Compact(&want, raw) != nil {
		return true // no JSON, nothing to show
	}
	return slices.ContainsFunc(contents, func(c mcp.Content) bool {
		var got bytes.Buffer
		text, ok := c.(mcp.TextContent)
		return ok && json.Compact(&got, []byte(text.Text)) == nil && bytes.Equal(got.Bytes(), want.Bytes())
	})
}

// plain takes out what could steer a terminal: a stranger wrote the text. Line breaks and tabs stay.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) || unicode.Is(unicode.Zs, r) {
			return r
		}
		return -1
	}, text)
}

func oneLine(text string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.ReplaceAll(plain(first), "\t", " ")
}

func shorten(text string) string {
	if runes := []rune(text); len(runes) > maxColumn {
		return string(runes[:maxColumn-1]) + "…"
	}
	return text
}
