package snippets

import (
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"text/template"
)

//go:embed clients
var files embed.FS

const suffix = ".tmpl"

// Clients are the names of the clients, each that of its file.
func Clients() []string {
	entries, _ := files.ReadDir("clients") // it is in the binary
	var names []string
	for _, entry := range entries {
		names = append(names, strings.TrimSuffix(entry.Name(), suffix))
	}
	return names
}

// values are what a client's file can refer to.
type values struct {
	Card
	SSE                         bool
	PublicURL, Variable, CAFile string
}

// Ref is a reference to the token's variable, in the form that shells and most clients expand.
func (v values) Ref() string { return "${" + v.Variable + "}" }

// write fills a client's file in. The file has lines of the form "key: value", an empty line and the text.
func write(client string, v values) (Snippet, error) {
	s := Snippet{Client: client}
	source, err := files.ReadFile("clients/" + client + suffix)
	if err != nil {
		return s, err
	}
	t, err := template.New(client).Option("missingkey=error").Funcs(template.FuncMap{"sh": shell, "str": quoted}).Parse(string(source))
	if err != nil {
		return s, err
	}
	var out strings.Builder
	if err := t.Execute(&out, v); err != nil {
		return s, err
	}
	head, text, ok := strings.Cut(out.String(), "\n\n")
	if !ok {
		return s, fmt.Errorf("snippets: %s has no text", client)
	}
	s.Text = strings.TrimRight(text, "\n")
	into := map[string]*string{"title": &s.Title, "where": &s.Where, "kind": &s.Kind, "status": &s.Status, "note": &s.Note}
	for line := range strings.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		field, known := into[key]
		if !known {
			return s, fmt.Errorf("snippets: %s has the key %q", client, key)
		}
		*field = value
	}
	return s, nil
}

// shell makes one word of text for a POSIX shell.
func shell(text string) string {
	if text != "" && strings.Trim(text, strings.Trim(urlChars, "[]")) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// quoted makes a string for JSON, which is one for TOML as well.
func quoted(text string) (string, error) {
	b, err := json.Marshal(text)
	return string(b), err
}
