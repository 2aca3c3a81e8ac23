package pins

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func named(names ...string) []Definition {
	var list []Definition
	for _, name := range names {
		raw, _ := json.Marshal(map[string]any{"name": name, "inputSchema": map[string]any{"type": "object"}})
		list = append(list, Definition{name, raw})
	}
	return list
}

func described(text string) []Definition {
	raw, _ := json.Marshal(map[string]any{"name": "t", "description": text})
	return []Definition{{"t", raw}}
}

func raw(text string) []Definition { return []Definition{{"t", []byte(text)}} }

func annotated(value string) []Definition {
	return raw(`{"name":"t","inputSchema":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":` + value + `}}}}`)
}

func TestInspect(t *testing.T) {
	const (
		sends    = "\u202e\u2066"
		england  = "\U0001F3F4\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F"
		selected = "a\U000E0101\U000E0150"
	)
	for _, c := range []struct {
		name string
		list []Definition
		want string // "kind tool: part of the text", one a line
	}{
		{"harmless", named("read", "write", "list_files", "list_file", "get-1", "get-2", "über", "uber", "读取", "読取"), ""},
		{"case", named("read", "Read"), "collision read: mistaken for Read: they differ in case, width\ncollision Read: mistaken for read"},
		{"width", named("read", "ｒｅａｄ"), "collision read: [U+FF52][U+FF45][U+FF41][U+FF44]\ncollision ｒｅａｄ: mistaken for read"},
		{"mathematical", named("read", "𝐫𝐞𝐚𝐝"), "collision read: case, width\ncollision 𝐫𝐞𝐚𝐝: case, width"},
		{"Cyrillic", named("pay", "рау"), "collision pay: [U+0440][U+0430][U+0443]: they differ in characters that look alike\ncollision рау: look alike"},
		{"Cyrillic and case", named("mail", "МАІL"), "collision mail: look alike\ncollision МАІL: look alike"},
		{"Greek", named("note", "nοte"), "collision note: look alike\ncollision nοte: look alike"},
		{"digits", named("list", "1ist"), "collision list: look alike\ncollision 1ist: look alike"},
		{"capital I", named("list", "Iist"), "collision list: look alike\ncollision Iist: look alike"},
		{"rn", named("form", "forrn"), "collision form: look alike\ncollision forrn: look alike"},
		{"dash", named("a-b", "a–b"), "collision a-b: look alike\ncollision a–b: look alike"},
		{"hidden in a name", named("read", "re\u200bad"), "collision read: hidden characters\nname re[U+200B]ad: U+200B\nhidden re[U+200B]ad: /name has U+200B\ncollision re[U+200B]ad: [U+200B]"},
		{"space at the end", named("read", "read "), "collision read: mistaken\nname read : ends with a space\ncollision read : mistaken"},
		{"other space", named("read\u00a0it"), "name read\u00a0it: U+00A0"},
		{"control", named("read\x1b[2K"), "name read[U+001B][2K: U+001B\nhidden read[U+001B][2K: /name has U+001B"},
		{"right to left", named("daer\u202e"), "name daer[U+202E]: U+202E\nhidden daer[U+202E]: U+202E"},
		{"no name", named(""), "name : the name is empty"},
		{"long name", named(strings.Repeat("a", 129)), "name " + strings.Repeat("a", 129) + ": 129 bytes"},
		{"a quote", named("x'; touch /tmp/pwned; echo '"), "name x'; touch /tmp/pwned; echo ': the character '"},
		{"double quotes", named(`a"b`), `name a"b: the character "`},
		{"a backtick", named("a`id`"), "name a`id`: the character `"},
		{"a dollar", named("a$(id)"), "name a$(id): the character $"},
		{"a semicolon", named("a;id"), "name a;id: the character ;"},
		{"a backslash", named(`a\b`), `name a\b: the character \`},
		{"a pipe", named("a|id"), "name a|id: the character |"},
		{"another command", named("a&id"), "name a&id: the character &"},
		{"a file", named("a>b"), "name a>b: the character >"},
		{"a line end", named("a\nb"), "name a[U+000A]b: U+000A"},
		{"a flag", named("--all"), "name --all: begins with -"},
		{"dots, slashes and spaces", named("files/read page.v2 (beta)-1_x"), ""},
		{"twice", []Definition{tool("t", "A."), tool("t", "B.")}, "collision t: more than once"},
		{"twice the same", []Definition{tool("t", "A."), tool("t", "A.")}, ""},

		{"plain text", described("Reads.\r\n\tThen – „writes“ naïve 日本語 עברית हिन्दी 👍🏽 ❤️ 👩‍💻 1️⃣ ©️"), ""},
		{"joiners of scripts", described("\u0645\u06cc\u200c\u062e\u0648 \u0915\u094d\u200d\u0937"), ""},
		{"zero width", described("Reads\u200b."), "hidden t: /description has U+200B"},
		{"joiners as bits", described("a\u200c\u200d\u200c"), "hidden t: U+200C U+200D U+200C"},
		{"joiners as bits in Arabic", described("م\u200c\u200d\u200cم"), "hidden t: U+200C U+200D U+200C"},
		{"tags", described("Reads.\U000E0069\U000E0067"), "hidden t: U+E0069 U+E0067"},
		{"tags behind a flag", described(england), "hidden t: U+E0067"},
		{"direction", described(sends), "hidden t: U+202E U+2066"},
		{"selectors", described(selected), "hidden t: U+E0101 U+E0150"},
		{"selectors behind an emoji", described("😀\ufe0f\ufe0e\ufe01"), "hidden t: U+FE0E U+FE01"},
		{"selector of a digit", described("1\ufe0f2\ufe0f"), "hidden t: U+FE0F U+FE0F"},
		{"joiner of digits", described("1\u200d2"), "hidden t: U+200D"},
		{"joiner behind a hidden selector", described("a\ufe0f\u200d😀"), "hidden t: U+FE0F U+200D"},
		{"selector of a letter", described("a\ufe0f"), "hidden t: U+FE0F"},
		{"fillers", described("a\u3164\u115f\u2800\u034f"), "hidden t: U+3164 U+115F U+2800 U+034F"},
		{"soft hyphen and BOM", described("a\u00ad\ufeff"), "hidden t: U+00AD U+FEFF"},
		{"escape sequence", described("a\x1b[8mb"), "hidden t: U+001B"},
		{"carriage return", described("a\rb"), "hidden t: U+000D"},
		{"line separator and C1", described("a\u2028\u0085"), "hidden t: U+2028 U+0085"},
		{"private use", described("\U000F0001"), "hidden t: U+F0001"},
		{"many", described(strings.Repeat("\u200b", 20)), "hidden t: and 12 more"},
		{"escaped in JSON", raw(`{"name":"t","title":"a\u200b"}`), "hidden t: /title has U+200B"},
		{"in a schema", raw(`{"name":"t","inputSchema":{"properties":{"a/b":{"enum":["x\u200b"]}}}}`), "hidden t: /inputSchema/properties/a~1b/enum/0 has U+200B"},
		{"in a member's name", raw(`{"name":"t","inputSchema":{"properties":{"a\u202e":true}}}`), "hidden t: the name of /inputSchema/properties/a[U+202E] has"},
		{"in _meta", raw(`{"name":"t","_meta":{"x":"\udb40\udc41"}}`), "hidden t: /_meta/x has U+E0041"},
		{"many places", raw(`{"name":"t","x":["\u200b","\u200b","\u200b","\u200b","\u200b","\u200b","\u200b"]}`), "hidden t: and 2 more places"},

		{"a good header", annotated(`"Region"`), ""},
		{"a header with _", annotated(`"user_id"`), ""},
		{"Authorization", annotated(`"Authorization"`), "header t: /inputSchema/properties/a/x-mcp-header names the header Authorization"},
		{"its case", annotated(`"aUTHORIZATION"`), "header t: aUTHORIZATION"},
		{"Cookie", annotated(`"Cookie"`), "header t: Cookie"},
		{"Host", annotated(`"Host"`), "header t: Host"},
		{"of MCP", annotated(`"Mcp-Method"`), "header t: Mcp-Method"},
		{"of MCP with _", annotated(`"mcp_session_id"`), "header t: mcp_session_id"},
		{"of ours", annotated(`"Sallyport-Outcome"`), "header t: Sallyport-Outcome"},
		{"of one connection", annotated(`"Transfer-Encoding"`), "header t: Transfer-Encoding"},
		{"of a proxy", annotated(`"Proxy-Authorization"`), "header t: Proxy-Authorization"},
		{"CRLF", annotated(`"X\r\nAuthorization: a"`), `header t: is "X[U+000D][U+000A]Authorization: a", which would begin another header`},
		{"NUL", annotated(`"X\u0000"`), "header t: [U+0000]\nhidden t: U+0000"},
		{"no token", annotated(`"X Y"`), "header t: no name of a header"},
		{"empty", annotated(`""`), "header t: is empty"},
		{"no string", annotated(`7`), "header t: is no string"},
		{"one twice", raw(`{"name":"t","inputSchema":{"properties":{"a":{"x-mcp-header":"R"},"b":{"properties":{"c":{"x-mcp-header":"r"}}}}}}`), "header t: names the same header as /inputSchema/properties/a/x-mcp-header"},
		{"in an array", raw(`{"name":"t","inputSchema":{"anyOf":[{"x-mcp-header":"Host"}]}}`), "header t: /inputSchema/anyOf/0/x-mcp-header"},
		{"below definitions", raw(`{"name":"t","inputSchema":{"$defs":{"d":{"x-mcp-header":"Host"}}}}`), "header t: /inputSchema/$defs/d/x-mcp-header"},
		{"in another case", raw(`{"name":"t","inputSchema":{"properties":{"a":{"X-MCP-Header":"Region"}}}}`), "header t: almost x-mcp-header"},
		{"among parameters", raw(`{"name":"t","inputSchema":{"properties":{"x-mcp-header":"Host"}}}`), "header t: Host"},
		{"a parameter of that name", raw(`{"name":"t","inputSchema":{"properties":{"x-mcp-header":{"type":"string"}}}}`), ""},
		{"data", raw(`{"name":"t","inputSchema":{"properties":{"a":{"default":{"x-mcp-header":"Host"}}}}}`), ""},
		{"a parameter called default", raw(`{"name":"t","inputSchema":{"properties":{"default":{"x-mcp-header":"Host"}}}}`), "header t: /inputSchema/properties/default/x-mcp-header"},

		{"no JSON", raw(`{"name":"t"`), "malformed t: no"},
		{"no object", raw(`["t"]`), "malformed t: no"},
		{"a name twice", raw(`{"name":"t","name":"t"}`), "malformed t: no"},
		{"no UTF-8", raw("{\"name\":\"t\",\"title\":\"\xff\"}"), "malformed t: no"},
		{"too deep", raw(`{"name":"t","x":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`), "malformed t: no"},
		{"something behind it", raw(`{"name":"t"}{}`), "malformed t: no"},
		{"another name", raw(`{"name":"u"}`), "malformed t: another name"},
		{"another case", raw(`{"name":"t","Description":"x"}`), `malformed t: "Description" is almost description`},
		{"folded", raw(`{"name":"t","deſcription":"x"}`), `malformed t: almost description`},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := Inspect(c.list)
			slices.SortStableFunc(found, func(a, b Finding) int { return strings.Compare(a.Tool, b.Tool) })
			var want []string
			if c.want != "" {
				want = strings.Split(c.want, "\n")
			}
			matched := len(found) == len(want)
			for _, w := range want {
				head, part, _ := strings.Cut(w, ": ")
				matched = matched && slices.ContainsFunc(found, func(f Finding) bool {
					return f.Kind+" "+f.Tool == head && strings.Contains(f.Text, part)
				})
			}
			if !matched {
				t.Errorf("found %q, want %q", found, want)
			}
			for _, f := range found {
				checkShown(t, f)
			}
		})
	}
}

func checkShown(t *testing.T, f Finding) {
	t.Helper()
	for _, text := range []string{f.Tool, f.Text} {
		for _, r := range text {
			if r < ' ' || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) && !unicode.In(r, seen...) && !strings.ContainsRune("\u200c\u200d", r) || len(text) > 4096 {
				t.Errorf("U+%04X is shown as it is in %q", r, text)
			}
		}
	}
}

func TestFingerprint(t *testing.T) {
	same := func(a, b string) bool { return fingerprint([]byte(a)) == fingerprint([]byte(b)) }
	for _, pair := range [][2]string{
		{`{"a":1,"b":2}`, " { \"b\" : 2,\n\"a\":1 } "},
		{`{"a":"é/A"}`, `{"a":"\u00e9\/\u0041"}`},
		{`{"a":{"x":1,"y":[{"p":1,"q":2}]}}`, `{"a":{"y":[{"q":2,"p":1}],"x":1}}`},
	} {
		if !same(pair[0], pair[1]) {
			t.Errorf("%s and %s differ", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]string{
		{`{"a":9007199254740993}`, `{"a":9007199254740992}`},
		{`{"a":0.1}`, `{"a":0.10000000000000000001}`},
		{`{"a":1e400}`, `{"a":1e401}`},
		{`{"a":"1"}`, `{"a":1}`},
		{`{"a":null}`, `{}`},
		{`{"a":[1,2]}`, `{"a":[2,1]}`},
		{`{"a":"e"}`, `{"a":"е"}`},
		{`{"a":"é"}`, `{"a":"e\u0301"}`},
		{`{"a":"x"}`, `{"a":"x\u200b"}`},
		{`{"a":1,"_meta":{"x":1}}`, `{"a":1,"_meta":{"x":2}}`},
		{`{"a":1,"a":1}`, `{"a":1}`},
		{`{"a":1,"a":1}`, `{"a": 1,"a":1}`}, // no strict JSON: the bytes count
	} {
		if same(pair[0], pair[1]) {
			t.Errorf("%s and %s are the same", pair[0], pair[1])
		}
	}
}

// TestInspectIsBounded in what it says and in time, whatever a list holds.
func TestInspectIsBounded(t *testing.T) {
	deep := strings.Repeat(`{"`+strings.Repeat("k", 50_000)+`":`, 60) + "1" + strings.Repeat("}", 60)
	var many, variants, headers strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&many, `,"%d\u200b":"\u200b"`, i)
	}
	for i := range 1 << 11 {
		name := []byte("description")
		for k := range name {
			if i>>k&1 == 1 {
				name[k] -= 32
			}
		}
		fmt.Fprintf(&variants, `,%q:1`, name)
	}
	for i := range 10_000 {
		fmt.Fprintf(&headers, `,"%d":{"x-mcp-header":"Host"}`, i)
	}
	list := raw(`{"name":"t","x":` + deep + many.String() + variants.String() + `,"inputSchema":{"properties":{"a":1` + headers.String() + `}}}`)
	for i := range 300 {
		list = append(list, named(strings.Repeat("а", i%300)+strings.Repeat("a", 300-i%300))...)
	}
	for _, f := range Inspect(list) {
		checkShown(t, f)
	}
}

func FuzzInspect(f *testing.F) {
	f.Add("t", []byte(`{"name":"t","description":"a\u200b","inputSchema":{"properties":{"a":{"x-mcp-header":"Host"}}}}`), "T")
	f.Add("рау", []byte(`{"name":1}`), "pay")
	f.Add("\xff\u2066", []byte(`[[[[`), " t")
	f.Fuzz(func(t *testing.T, name string, definition []byte, other string) {
		list := []Definition{{name, definition}, {other, definition}, {name, []byte(`{}`)}}
		found := Inspect(list)
		if len(found) > 8*len(list) {
			t.Errorf("%d findings", len(found))
		}
		for _, f := range found {
			checkShown(t, f)
		}
		for _, c := range Changes([]byte(`{"name":"t","description":"x\ny"}`), definition) {
			for _, line := range append(c.Lines, c.At) {
				if len(hidden(line)) > 0 || strings.ContainsAny(line, "\n\t\r") {
					t.Errorf("%q", line)
				}
			}
		}
		_, strict := canonicalize(definition)
		if _, err := parse(definition); err == nil && !strict {
			t.Error("it is parsed and has no canonical form")
		}
	})
}
