package config_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"sallyport.dev/config"
	"sallyport.dev/secret"
)

// canary stands for a secret that someone put where a reference or another value belongs.
const canary = "c4n4ry-Q7w9"

// gate is a role's configuration with one key of each kind.
type gate struct {
	Listen  string            `yaml:"listen"`
	For     time.Duration     `yaml:"for"`
	Limit   int               `yaml:"limit"`
	Ratio   float64           `yaml:"ratio"`
	Open    bool              `yaml:"open"`
	Token   secret.Ref        `yaml:"token"`
	Network netip.Prefix      `yaml:"network"`
	Tunnels []tunnel          `yaml:"tunnels"`
	Servers map[string]server `yaml:"servers"`
	TLS     *keyPair          `yaml:"tls"`
	Rules   rules             `yaml:"rules"`
	Common  common            `yaml:",inline"`
	Hidden  string            `yaml:"-"`

	required bool
}

type tunnel struct {
	Name string `yaml:"name"`
	Max  uint   `yaml:"max_connectors"`
}

type server struct {
	URL     string         `yaml:"url"`
	Headers map[string]int `yaml:"headers"`
	Extra   map[string]any `yaml:",inline"`
}

type keyPair struct {
	Cert string `yaml:"cert_file"`
	Key  string `yaml:"key_file"`
}

type common struct {
	StateDir string `yaml:"state_dir"`
}

// rules decodes itself, as a policy does.
type rules struct{ names []string }

func (r *rules) UnmarshalYAML(node *yaml.Node) error {
	var problems []error
	for _, child := range node.Content {
		if child.Value == "bad" {
			problems = append(problems, fmt.Errorf("line %d: no such rule", child.Line))
		}
		r.names = append(r.names, child.Value)
	}
	return errors.Join(problems...)
}

func (g *gate) Validate() error {
	var problems []error
	if g.Limit < 0 {
		problems = append(problems, errors.New("limit must not be negative; leave it out for 10"))
	}
	if g.required && g.Listen == "" {
		problems = append(problems, errors.New(`listen is required; write an address such as ":443"`))
	}
	return errors.Join(problems...)
}

func TestFiles(t *testing.T) {
	tests := []struct{ file, want string }{
		{"all.good.yml", ""},
		{"comments_only.good.yml", ""},
		{"null_keeps_default.good.yml", ""},
		{"unknown_key.bad.yml", `:3: unknown key "foo" (did you mean "for"?)`},
		{"unknown_nested.bad.yml", ":4: unknown key \"max_connector\" (did you mean \"max_connectors\"?)\n:7: unknown key \"password\" (known here: cert_file, key_file)"},
		{"unknown_case.bad.yml", `:2: unknown key "Listen" (did you mean "listen"?)`},
		{"hidden_key.bad.yml", `:1: unknown key "hidden" (known here: for, limit, listen`},
		{"secret_as_key.bad.yml", ":2: unknown key (known here: cert_file, key_file)"},
		{"secret_as_long_key.bad.yml", ":1: unknown key (known here: "},
		{"kinds.bad.yml", ":1: listen: expected a text\n:2: for: expected a duration such as 30s or 5m\n:3: limit: expected a whole number\n:4: ratio: expected a number\n:5: open: expected true or false\n:6: network: expected a value of type netip.Prefix\n:7: tunnels: expected a list\n:8: servers: expected keys with values\n:9: tls: expected keys with values"},
		{"nested_kinds.bad.yml", ":3: tunnels[0].max_connectors: expected a whole number, 0 or more\n:6: servers.entry \"wiki\".headers.entry \"x\": expected a whole number"},
		{"duration_number.bad.yml", ":1: for: expected a duration"},
		{"pasted_secret.bad.yml", ":2: token: secret: not a reference: it has no scheme"},
		{"duplicate.bad.yml", `:3: key "listen" is given twice, first on line 1`},
		{"duplicate_nested.bad.yml", `:4: key "url" is given twice, first on line 3`},
		{"alias.bad.yml", ":1: anchors and aliases are not supported"},
		{"bomb.bad.yml", ":2: anchors and aliases are not supported"},
		{"merge.bad.yml", "merging with << is not supported"},
		{"tag.bad.yml", ":1: tags are not supported"},
		{"key_list.bad.yml", ":1: a key must be plain text"},
		{"two_documents.bad.yml", "a second document begins"},
		{"syntax.bad.yml", "not valid YAML"},
		{"syntax_quotes.bad.yml", "not valid YAML"},
		{"not_a_mapping.bad.yml", ":1: expected keys with values"},
		{"own_decoder.bad.yml", ":2: rules: no such rule\n:4: rules: no such rule"},
		{"validate.bad.yml", ": limit must not be negative; leave it out for 10"},
	}
	listed := map[string]bool{}
	for _, test := range tests {
		listed[test.file] = true
		t.Run(test.file, func(t *testing.T) {
			path := filepath.Join("testdata", test.file)
			var got gate
			err := config.Load(path, &got)
			if test.want == "" {
				if err != nil {
					t.Fatalf("a good file is refused: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("a bad file is accepted")
			}
			text := strings.ReplaceAll(err.Error(), path, "")
			if !strings.Contains(text, test.want) {
				t.Errorf("it says\n%s\nwant\n%s", text, test.want)
			}
			if strings.Count(text, "\n") != strings.Count(test.want, "\n") {
				t.Errorf("it reports more or less than expected:\n%s", text)
			}
			if strings.Contains(text, canary) {
				t.Errorf("it repeats a value: %s", text)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil || len(files) != len(tests) {
		t.Errorf("testdata has %d files, the table %d (%v)", len(files), len(tests), err)
	}
	for _, file := range files {
		if !listed[filepath.Base(file)] {
			t.Errorf("%s is in no row", file)
		}
	}
}

func TestEveryKeyArrives(t *testing.T) {
	got := gate{Hidden: "kept", Limit: 10}
	if err := config.Load("testdata/all.good.yml", &got); err != nil {
		t.Fatal(err)
	}
	token, err := secret.ParseRef("file:/run/secrets/acme")
	if err != nil {
		t.Fatal(err)
	}
	want := gate{
		Listen: ":443", For: 90 * time.Second, Limit: 10, Ratio: 0.5, Open: true, Token: token,
		Network: netip.MustParsePrefix("10.0.0.0/8"),
		Tunnels: []tunnel{{"acme", 2}, {"beta", 0}},
		Servers: map[string]server{"wiki": {URL: "https://wiki.internal/mcp", Headers: map[string]int{"a": 1}, Extra: map[string]any{"more": "x"}}},
		TLS:     &keyPair{"/a.crt", "/a.key"},
		Rules:   rules{[]string{"one", "two"}},
		Common:  common{"/var/lib/sallyport"},
		Hidden:  "kept",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestNothingInTheFileStillMeetsValidate(t *testing.T) {
	err := config.Decode("gateway.yaml", []byte("# only a comment\n"), &gate{required: true})
	want := `gateway.yaml: listen is required; write an address such as ":443"`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLoadSaysWhichFile(t *testing.T) {
	err := config.Load("testdata/none.yml", &gate{})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "testdata/none.yml") {
		t.Errorf("got %v", err)
	}
}

func TestTooLargeAndTooDeep(t *testing.T) {
	for text, says := range map[string]string{
		strings.Repeat("#", config.MaxSize+1):                         "is larger than 1024 KiB",
		"rules: " + strings.Repeat("[", 70) + strings.Repeat("]", 70): "nested deeper than 64 levels",
	} {
		if err := config.Decode("f", []byte(text), &gate{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %s", err, says)
		}
	}
}

func TestManyProblemsAreCut(t *testing.T) {
	var text strings.Builder
	for i := range 25 {
		fmt.Fprintf(&text, "zz%d: 1\n", i)
	}
	err := config.Decode("f", []byte(text.String()), &gate{})
	var list *config.Error
	if !errors.As(err, &list) || len(list.Problems) != 25 || list.Problems[24].Line != 25 {
		t.Fatalf("got %v", err)
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 21 || lines[20] != "f: and 5 more" {
		t.Errorf("printed as\n%v", err)
	}
}

func TestOnlyAPointerCanBeDecodedInto(t *testing.T) {
	for _, into := range []any{gate{}, nil, (*gate)(nil)} {
		if err := config.Decode("f", []byte("listen: x"), into); err == nil {
			t.Errorf("%T is accepted", into)
		}
	}
}

func FuzzDecodeNeverRepeatsAValue(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		var got gate
		_ = config.Decode("f", []byte(text), &got)   // must not panic
		marker := "zqzqzqzqzqzqzqzqzqzqzqzqzqzqzqzq" // as long as the shortest token
		err := config.Decode("f", []byte(strings.ReplaceAll(text, canary, marker)), &got)
		if err != nil && strings.Contains(err.Error(), marker) {
			t.Errorf("repeated: %v", err)
		}
	})
}
