package mcp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// listCall is a call of one request, as Inspect hands it on.
func listCall(id, method string) *Call {
	return &Call{Messages: []Message{{Kind: Request, ID: []byte(id), Method: method}}}
}

// not keeps all elements but those of these names.
func not(names ...string) func(string, Element) bool {
	return func(_ string, e Element) bool { return !slices.Contains(names, e.Name) }
}

// TestListIsFiltered: the exact bytes. In want, what is between ⟦ and ⟧ is what of text is not there any more.
func TestListIsFiltered(t *testing.T) {
	const head = `{"jsonrpc":"2.0","id":7,"result":`
	const a, b, c = `{"name":"a"}`, `{"name":"b","inputSchema":{"name":"x","tools":[{"name":"a"}]}}`, `{"description":"[,]}\"","name":"c"}`
	tools := func(list string) string { return head + `{"tools":` + list + `}}` }
	for name, test := range map[string]struct {
		method  string // default tools/list
		drop    string // names, by a space
		text    string // with ⟦…⟧ around what goes, and ⟪…⟫ around what comes
		dropped int
	}{
		"nothing is refused":                 {text: tools(`[` + a + `,` + b + `]`)},
		"an empty list":                      {drop: "a", text: tools(`[ ]`)},
		"the first":                          {drop: "a", text: tools(`[⟦` + a + `,⟧` + b + `,` + c + `]`), dropped: 1},
		"the middle":                         {drop: "b", text: tools(`[` + a + `,⟦` + b + `,⟧` + c + `]`), dropped: 1},
		"the last":                           {drop: "c", text: tools(`[` + a + `,` + b + `⟦,` + c + `⟧]`), dropped: 1},
		"the first and the last":             {drop: "a c", text: tools(`[⟦` + a + `,⟧` + b + `⟦,` + c + `⟧]`), dropped: 2},
		"all but the first":                  {drop: "b c", text: tools(`[` + a + `⟦,` + b + `,` + c + `⟧]`), dropped: 2},
		"all but the last":                   {drop: "a b", text: tools(`[⟦` + a + `,` + b + `,⟧` + c + `]`), dropped: 2},
		"all":                                {drop: "a b c", text: tools(`[⟦` + a + `,` + b + `,` + c + `⟧]`), dropped: 3},
		"the only one":                       {drop: "a", text: tools(`[⟦` + a + `⟧]`), dropped: 1},
		"one name twice":                     {drop: "a", text: tools(`[⟦` + a + `,⟧` + b + `⟦,` + a + `⟧]`), dropped: 2},
		"white space, the first":             {drop: "a", text: tools("\r\n\t[ ⟦" + a + "⟧ ⟦,⟧\n" + b + "\t]\n"), dropped: 1},
		"white space, the last":              {drop: "b", text: tools("[ " + a + " ⟦,⟧\n ⟦" + b + "⟧\t]"), dropped: 1},
		"white space, all":                   {drop: "a b c", text: tools("[ ⟦" + a + "⟧ ⟦,⟧  ⟦" + b + "⟧\n⟦," + c + "⟧ ]"), dropped: 3},
		"white space inside an element":      {drop: "a", text: tools("[⟦{ \"name\" : \"a\" , \"x\" : [ ] }⟧ ⟦,⟧ " + b + "]"), dropped: 1},
		"a name that is escaped":             {drop: "a/b", text: tools(`[` + c + `⟦,{"name":"\u0061\/b"}⟧]`), dropped: 1},
		"the name is the last member":        {drop: "c", text: tools(`[⟦` + c + `,⟧{"title":"c","name":"d"}]`), dropped: 1},
		"a nextCursor before":                {drop: "a", text: head + `{"nextCursor":"x","tools":[⟦` + a + `⟧]}}`, dropped: 1},
		"a nextCursor behind":                {drop: "a", text: head + `{"tools":[⟦` + a + `⟧],"nextCursor":null}}`, dropped: 1},
		"cacheScope before":                  {drop: "a", text: head + `{"cacheScope": ⟦"public"⟧⟪"private"⟫ ,"ttlMs":5,"tools":[⟦` + a + `⟧]}}`, dropped: 1},
		"cacheScope behind":                  {drop: "a", text: head + `{"tools":[⟦` + a + `⟧],"ttlMs":5,"cacheScope":⟦"public"⟧⟪"private"⟫}}`, dropped: 1},
		"cacheScope with nothing refused":    {text: head + `{"tools":[` + a + `],"cacheScope":⟦"public"⟧⟪"private"⟫}}`},
		"cacheScope is private":              {drop: "a", text: head + `{"tools":[⟦` + a + `⟧],"cacheScope":"private","ttlMs":5}}`, dropped: 1},
		"cacheScope spelled with an escape":  {text: head + `{"tools":[` + a + `],"cacheScope":⟦"publi\u0063"⟧⟪"private"⟫}}`},
		"cacheScope of another kind":         {text: head + `{"tools":[` + a + `],"cacheScope":⟦{"a":[1]}⟧⟪"private"⟫}}`},
		"no cacheScope":                      {drop: "b", text: tools(`[` + a + `⟦,` + b + `⟧]`), dropped: 1},
		"no cacheScope, but ttlMs":           {drop: "a", text: head + `{"tools":[⟦` + a + `⟧], ⟪"cacheScope":"private",⟫"ttlMs" : 5}}`, dropped: 1},
		"ttlMs first":                        {text: head + `{⟪"cacheScope":"private",⟫"ttlMs":5,"tools":[]}}`},
		"a cacheScope elsewhere":             {drop: "a", text: head + `{"_meta":{"cacheScope":"public"},"tools":[⟦` + a + `⟧]}}`, dropped: 1},
		"unknown members":                    {drop: "a", text: `{"x":[{"name":"a"}],"result":{"y":{"tools":[{"name":"a"}]},"tools":[⟦` + a + `⟧],"z":1e999},"id":7.0,"jsonrpc":"2.0","w":null}` + "\r\n", dropped: 1},
		"the result before the id":           {drop: "a", text: `{"result":{"tools":[⟦` + a + `⟧]},"jsonrpc":"2.0","id":7}`, dropped: 1},
		"other lists beside it stay":         {drop: "a", text: head + `{"prompts":[{"name":"a"},5],"tools":[⟦` + a + `⟧],"resources":"x"}}`, dropped: 1},
		"prompts":                            {method: "prompts/list", drop: "a", text: head + `{"prompts":[⟦{"name":"a","uri":"b"},⟧{"name":"b","uri":"a"}]}}`, dropped: 1},
		"resources":                          {method: "resources/list", drop: "file:///a", text: head + `{"resources":[{"uri":"file:///b","name":"file:///a"}⟦,{"name":"x","uri":"file:///a"}⟧]}}`, dropped: 1},
		"templates":                          {method: "resources/templates/list", drop: "file:///{a}", text: head + `{"resourceTemplates":[⟦{"uriTemplate":"file:///{a}","name":"x"}⟧]}}`, dropped: 1},
		"lookalikes elsewhere":               {drop: "a", text: head + `{"_meta":{"Tools":1,"tools":[{}]},"tools":[{"name":"b","URI":1,"annotations":{"Name":"a"}}⟦,` + a + `⟧]}}`, dropped: 1},
		"an error":                           {drop: "a", text: `{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"a","data":{"tools":[{"name":"a"}]}}}`},
		"an error that answers nothing":      {text: `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"a"}}`},
		"a batch":                            {drop: "a", text: `[` + head + `{"tools":[⟦` + a + `⟧]}} , {"jsonrpc":"2.0","method":"notifications/message","params":{"tools":[{"name":"a"}]}}]`, dropped: 1},
		"deep, but not too deep":             {drop: "a", text: tools(`[{"name":"b","x":` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `}⟦,` + a + `⟧]`), dropped: 1},
		"brackets and a NUL in strings":      {drop: "a", text: tools(`[{"name":"b","x":"` + strings.Repeat("[", 100) + `\u0000"}⟦,` + a + `⟧]`), dropped: 1},
		"a name of the empty string":         {text: tools(`[{"name":""}]`)},
		"an id that is spelled in a new way": {drop: "a", text: `{"jsonrpc":"2.0","id":70e-1,"result":{"tools":[⟦` + a + `⟧]}}`, dropped: 1},
	} {
		if test.method == "" {
			test.method = "tools/list"
		}
		text, want := unmark(test.text)
		f := NewListFilter(listCall("7", test.method), ListRules{Keep: not(strings.Fields(test.drop)...)})
		kept := strings.Clone(text)
		got, err := f.Filter([]byte(text))
		if err != nil || string(got) != want || f.Dropped() != test.dropped {
			t.Errorf("%s: %v, dropped %d\ngot  %s\nwant %s", name, err, f.Dropped(), got, want)
		}
		if text != kept {
			t.Errorf("%s: the text was changed", name)
		}
	}
}

// unmark gives a text before and after: ⟦…⟧ is only before, ⟪…⟫ only after.
func unmark(marked string) (before, after string) {
	var b, a strings.Builder
	into := 3
	for _, r := range marked {
		switch r {
		case '⟦':
			into = 1
		case '⟪':
			into = 2
		case '⟧', '⟫':
			into = 3
		default:
			if into&1 != 0 {
				b.WriteRune(r)
			}
			if into&2 != 0 {
				a.WriteRune(r)
			}
		}
	}
	return b.String(), a.String()
}

// TestListIsRefused: what is not read in one way by all readers does not pass, and is not quoted.
func TestListIsRefused(t *testing.T) {
	const head = `{"jsonrpc":"2.0","id":7,"result":`
	tools := func(list string) string { return head + `{"tools":` + list + `}}` }
	for name, text := range map[string]string{
		"nothing":                              "",
		"no JSON":                              "c4n4ry",
		"cut short":                            head + `{"tools":[{"name":"c4n4ry"}`,
		"something behind it":                  tools(`[]`) + ` c4n4ry`,
		"a second message":                     tools(`[]`) + "\n" + tools(`[{"name":"c4n4ry"}]`),
		"a byte order mark":                    "\xef\xbb\xbf" + tools(`[]`),
		"invalid UTF-8":                        tools(`[{"name":"c4n4ry` + "\xff" + `"}]`),
		"invalid UTF-8 elsewhere":              head + `{"tools":[],"x":["` + "\xff" + `"]}}`,
		"a lone surrogate":                     tools(`[{"name":"\ud800"}]`),
		"a comma behind the last":              tools(`[{"name":"c4n4ry"},]`),
		"a comment":                            tools(`[/*c4n4ry*/]`),
		"the list twice":                       head + `{"tools":[],"tools":[{"name":"c4n4ry"}]}}`,
		"the list twice, once escaped":         head + `{"tools":[],"t\u006fols":[{"name":"c4n4ry"}]}}`,
		"the result twice":                     `{"jsonrpc":"2.0","id":7,"result":{"tools":[]},"result":{"tools":[{"name":"c4n4ry"}]}}`,
		"a name twice":                         tools(`[{"name":"a","name":"c4n4ry"}]`),
		"a name twice, deep":                   tools(`[{"name":"a","x":[{"c4n4ry":1,"c4n4ry":2}]}]`),
		"cacheScope twice":                     head + `{"tools":[],"cacheScope":"private","cacheScope":"public"}}`,
		"too deep":                             tools(`[{"name":"a","x":` + strings.Repeat("[", 61) + strings.Repeat("]", 61) + `}]`),
		"too deep in _meta":                    head + `{"tools":[],"_meta":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}}`,
		"NUL in a name":                        tools(`[{"name":"a","x":{"c4n4ry\u0000":1}}]`),
		"jsonrpc in another case":              `{"JSONRPC":"2.0","jsonrpc":"2.0","id":7,"result":{"tools":[]}}`,
		"no jsonrpc":                           `{"id":7,"result":{"tools":[]}}`,
		"id in another case":                   `{"jsonrpc":"2.0","id":7,"Id":8,"result":{"tools":[]}}`,
		"another id":                           `{"jsonrpc":"2.0","id":8,"result":{"tools":[]}}`,
		"a string for the id":                  `{"jsonrpc":"2.0","id":"7","result":{"tools":[]}}`,
		"no id":                                `{"jsonrpc":"2.0","result":{"tools":[]}}`,
		"the id null":                          `{"jsonrpc":"2.0","id":null,"result":{"tools":[]}}`,
		"the id true":                          `{"jsonrpc":"2.0","id":true,"result":{"tools":[]}}`,
		"result in another case":               `{"jsonrpc":"2.0","id":7,"result":{"tools":[]},"Result":{"tools":[{"name":"c4n4ry"}]}}`,
		"result escaped":                       `{"jsonrpc":"2.0","id":7,"resul\u0074":{"tools":[{"name":"c4n4ry"}]}}`,
		"error escaped":                        head + `{"tools":[]},"\u0065rror":{}}`,
		"a result and an error":                head + `{"tools":[{"name":"c4n4ry"}]},"error":null}`,
		"a result and a method":                head + `{"tools":[{"name":"c4n4ry"}]},"method":"x"}`,
		"neither":                              `{"jsonrpc":"2.0","id":7}`,
		"no message":                           `"c4n4ry"`,
		"an empty batch":                       `[]`,
		"a batch of something else":            `["c4n4ry"]`,
		"a batch in a batch":                   `[[` + tools(`[]`) + `]`,
		"a batch with one that is bad":         `[` + tools(`[]`) + `,` + tools(`[1]`) + `]`,
		"a result that is a list":              head + `[{"name":"c4n4ry"}]}`,
		"a result that is null":                head + `null}`,
		"no list":                              head + `{}}`,
		"another list":                         head + `{"prompts":[{"name":"c4n4ry"}]}}`,
		"more is asked (MRTR, not for a list)": head + `{"resultType":"input_required","inputRequests":{}}}`,
		"the list is null":                     tools(`null`),
		"the list is an object":                tools(`{"0":{"name":"c4n4ry"}}`),
		"the list in another case":             head + `{"tools":[],"Tools":[{"name":"c4n4ry"}]}}`,
		"the list with a long s":               head + `{"tools":[],"toolſ":[{"name":"c4n4ry"}]}}`,
		"nextCursor in another case":           head + `{"tools":[],"nextcursor":"c4n4ry"}}`,
		"cacheScope escaped":                   head + `{"tools":[],"cache\u0053cope":"public"}}`,
		"cacheScope in another case":           head + `{"tools":[],"CacheScope":"public"}}`,
		"ttlMs in another case":                head + `{"tools":[],"ttlms":1}}`,
		"an element that is null":              tools(`[null]`),
		"an element that is a string":          tools(`[{"name":"a"},"c4n4ry"]`),
		"an element that is an array":          tools(`[[{"name":"c4n4ry"}]]`),
		"an element without a name":            tools(`[{"title":"c4n4ry"}]`),
		"an element whose name is a number":    tools(`[{"name":1},{"name":"a"}]`),
		"an element whose name is null":        tools(`[{"name":null}]`),
		"Name beside name":                     tools(`[{"name":"a","Name":"c4n4ry"}]`),
		"Name before name":                     tools(`[{"NAME":"c4n4ry","name":"a"}]`),
		"an escaped name":                      tools(`[{"n\u0061me":"c4n4ry"}]`),
		"too long":                             tools(`[` + strings.Repeat(" ", MaxList) + `]`),
		"too many":                             tools(`[` + strings.Repeat(`{"name":"a"},`, maxElements) + `{"name":"a"}]`),
	} {
		f := NewListFilter(listCall("7", "tools/list"), ListRules{Keep: not("b")})
		got, err := f.Filter([]byte(text))
		if got != nil || !errors.Is(err, errList) || f.Dropped() != 0 {
			t.Errorf("%s: %v, %.100s", name, err, got)
		}
		if quoted := fmt.Sprintf("%+v", err); strings.Contains(quoted, "c4n4ry") {
			t.Errorf("%s: the error says %s", name, quoted)
		}
	}
	longest := tools(`[` + strings.Repeat(" ", MaxList-len(tools("[]"))) + `]`)
	if _, err := NewListFilter(listCall("7", "tools/list"), ListRules{Keep: not()}).Filter([]byte(longest)); err != nil {
		t.Errorf("the longest: %v", err)
	}
}

// TestListOfABatch: each response is judged by the request that it answers.
func TestListOfABatch(t *testing.T) {
	c := &Call{Batch: true, Messages: []Message{
		{Kind: Request, ID: []byte("1"), Method: "tools/list"},
		{Kind: Request, ID: []byte(`"p"`), Method: "prompts/list"},
		{Kind: Notification, Method: "resources/list"},
		{Kind: Request, ID: []byte("3"), Method: "tools/call"},
		{Kind: Request, ID: []byte("4"), Method: "tools/list"},
		{Kind: Request, ID: []byte("4.0"), Method: "tools/call"},
	}}
	const list = `{"tools":[{"name":"a"}],"prompts":[{"name":"a"}],"resources":[7]}`
	answer := func(id, result string) string { return `{"jsonrpc":"2.0","id":` + id + `,"result":` + result + `}` }
	f := NewListFilter(c, ListRules{Keep: not("a")})
	text := `[` + answer("3", list) + `,` + answer(`"\u0070"`, list) + `,` + answer("1", list) + `]`
	want := `[` + answer("3", list) + `,` + answer(`"\u0070"`, strings.Replace(list, `"prompts":[{"name":"a"}]`, `"prompts":[]`, 1)) +
		`,` + answer("1", strings.Replace(list, `"tools":[{"name":"a"}]`, `"tools":[]`, 1)) + `]`
	if got, err := f.Filter([]byte(text)); err != nil || string(got) != want || f.Dropped() != 2 {
		t.Errorf("%v, dropped %d\ngot  %s\nwant %s", err, f.Dropped(), got, want)
	}
	for _, id := range []string{"4", "5", "null"} {
		if got, err := f.Filter([]byte(answer(id, list))); err == nil {
			t.Errorf("the answer to %s passes: %s", id, got)
		}
	}
}

// TestListByShape: where no requests are known, what has the shape of a list is one.
func TestListByShape(t *testing.T) {
	for name, test := range map[string]struct{ text, bad string }{
		"tools":             {text: `{"tools":[⟦{"name":"a"}⟧]}`},
		"templates":         {text: `{"resourceTemplates":[{"uriTemplate":"b"}⟦,{"uriTemplate":"a"}⟧],"cacheScope":⟦1⟧⟪"private"⟫}`},
		"two lists":         {text: `{"resources":[⟦{"uri":"a"}⟧],⟪"cacheScope":"private",⟫"ttlMs":1,"tools":[⟦{"name":"a"}⟧]}`},
		"something else":    {text: `{"content":[{"name":"a"}],"cacheScope":"public","ttlMs":5,"tools":{"name":"a"}}`},
		"no object":         {text: `[{"tools":[{"name":"a"}]}]`},
		"a bad element":     {bad: `{"tools":[1]}`},
		"an almost list":    {bad: `{"Tools":[{"name":"a"}]}`},
		"a list and almost": {bad: `{"tools":[],"Prompts":[{"name":"a"}]}`},
	} {
		f := NewListFilter(new(Call), ListRules{Keep: not("a")})
		for i, result := range []string{test.text, test.bad} {
			if result == "" {
				continue
			}
			text, want := unmark(`{"jsonrpc":"2.0","id":"any","result":` + result + `}`)
			got, err := f.Filter([]byte(text))
			if (err == nil) != (i == 0) || err == nil && string(got) != want {
				t.Errorf("%s: %v\ngot  %s\nwant %s", name, err, got, want)
			}
		}
	}
}

// TestNoListFilter: where there is nothing to filter there is no filter, and nothing is held.
func TestNoListFilter(t *testing.T) {
	response := &Call{Messages: []Message{{Kind: Response, ID: []byte("1")}}}
	for name, f := range map[string]*ListFilter{
		"without keep":   NewListFilter(listCall("1", "tools/list"), ListRules{Keep: nil}),
		"a call":         NewListFilter(listCall("1", "tools/call"), ListRules{Keep: not()}),
		"a response":     NewListFilter(response, ListRules{Keep: not()}),
		"a notification": NewListFilter(&Call{Messages: []Message{{Kind: Notification, Method: "tools/list"}}}, ListRules{Keep: not()}),
	} {
		if f != nil || f.Dropped() != 0 {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestListElements: keep is told the method and gets the element's own bytes, which it cannot append to.
func TestListElements(t *testing.T) {
	text := []byte(`{"jsonrpc":"2.0","id":7,"result":{"resources":[ {"uri":"a\/b" , "x":[1]} ,{"uri":"c"}]}}`)
	kept := string(text)
	var got []string
	f := NewListFilter(listCall("7", "resources/list"), ListRules{Keep: func(method string, e Element) bool {
		got = append(got, method, e.Name, string(e.Raw))
		_ = append(e.Raw, "garbage"...)
		return true
	}})
	out, err := f.Filter(text)
	if want := []string{"resources/list", "a/b", `{"uri":"a\/b" , "x":[1]}`, "resources/list", "c", `{"uri":"c"}`}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %q", err, got)
	}
	if string(out) != kept || string(text) != kept || &out[0] != &text[0] {
		t.Errorf("what stays whole was copied or changed: %s", out)
	}
}

// Whoever looks sees each page whole, and may take elements out without the list becoming one of the caller's own.
func TestListPages(t *testing.T) {
	text := `{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"a"},{"name":"b"},{"name":"c"}],"nextCursor":"p\u0032","cacheScope":"public"}}`
	call := &Call{Messages: []Message{{Kind: Request, ID: []byte("7"), Method: "tools/list", Params: []byte(`{"cursor":"p1","x":1}`)}}}
	var seen []ListPage
	f := NewListFilter(call, ListRules{Page: func(p ListPage) []bool {
		seen = append(seen, p)
		return []bool{true, false, true}
	}})
	out, err := f.Filter([]byte(text))
	if want := strings.Replace(text, `,{"name":"b"}`, "", 1); err != nil || string(out) != want {
		t.Errorf("%v, %s", err, out)
	}
	if len(seen) != 1 || seen[0].Method != "tools/list" || seen[0].Cursor != "p1" || !seen[0].Known || seen[0].Next != "p2" || len(seen[0].Elements) != 3 || f.Dropped() != 1 {
		t.Errorf("%+v", seen)
	}
	shape := NewListFilter(new(Call), ListRules{Page: func(p ListPage) []bool {
		seen = append(seen, p)
		return nil
	}})
	if out, err := shape.Filter([]byte(text)); err != nil || string(out) != text || len(seen) != 2 || seen[1].Known {
		t.Errorf("%v, %s", err, out)
	}
	odd := `{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"a","x":1,"x":2}]}}`
	if _, err := NewListFilter(call, ListRules{Page: func(ListPage) []bool { return nil }}).Filter([]byte(odd)); err == nil {
		t.Error("what cannot be read passes")
	}
	tolerant := NewListFilter(call, ListRules{Tolerant: true, Page: func(ListPage) []bool { t.Error("it is seen"); return nil }})
	if out, err := tolerant.Filter([]byte(odd)); err != nil || string(out) != odd {
		t.Errorf("%v, %s", err, out)
	}
	for _, size := range []int{1, 100, 5 << 20} {
		stream := "data: " + odd + "\n\n"
		if size > 100 {
			stream = `data: {"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"` + strings.Repeat("x", 5<<20) + "\"}]}}\n\n"
		}
		f := EventFilter{Judge: func(*Event) error { return nil }, Lists: tolerant}
		var got strings.Builder
		for rest := stream; rest != ""; {
			n := min(max(size, 1), len(rest), 100<<10)
			passed, err := f.Write([]byte(rest[:n]))
			if err != nil {
				t.Fatal(err)
			}
			got.Write(passed)
			rest = rest[n:]
		}
		if got.String() != stream {
			t.Errorf("in pieces of %d, %d bytes pass of %d", size, got.Len(), len(stream))
		}
	}
}
