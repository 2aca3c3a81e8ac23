package mcp

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
)

// fuzzCall asks for everything, by ids that a fuzzer finds.
func fuzzCall() *Call {
	c := new(Call)
	for i, method := range []string{"tools/call", "tools/list", "prompts/list", "resources/list", "resources/templates/list"} {
		c.Messages = append(c.Messages, Message{Kind: Request, ID: []byte{byte('0' + i)}, Method: method})
	}
	return c
}

// fuzzKeep refuses names by a bit of the mask.
func fuzzKeep(mask byte) func(string) bool {
	return func(name string) bool { return len(name) == 0 || mask>>(name[0]%8)&1 == 0 }
}

// FuzzListFilter holds the filter to encoding/json. Of what is accepted, the output has to be the same value without the
// elements, and the same bytes but for the elements, their commas and cacheScope; and the most tolerant reader has to find none
// of what was refused.
func FuzzListFilter(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"} , {"name":"b","x":[1,{"name":"c"}]},{"name":"c"}],"nextCursor":"x","cacheScope":"public","ttlMs":1}}`,
		`{"result":{"ttlMs":5,"prompts":[{"title":"x","name":"\u0061"}]},"id":2,"jsonrpc":"2.0"}`,
		`[{"jsonrpc":"2.0","id":3,"result":{"resources":[{"uri":"a"},{"uri":"b"}]}},{"jsonrpc":"2.0","id":0,"result":{"tools":[{"name":"a"}]}},{"jsonrpc":"2.0","id":4,"error":{}}]`,
		`{"jsonrpc":"2.0","id":4.0,"result":{"resourceTemplates":[],"tool` + "ſ" + `":[{"name":"a"}],"x":1e999}}`,
		`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","NAME":"b"}],"Tools":[{"name":"\u0000"}],"cacheScope":{}}}`,
	} {
		f.Add([]byte(seed), byte(0), false)
		f.Add([]byte(seed), byte(255), false)
		f.Add([]byte(seed), byte(2), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, mask byte, shape bool) {
		kept := bytes.Clone(text)
		call, keep := fuzzCall(), fuzzKeep(mask)
		if shape {
			call = new(Call)
		}
		refused := 0 // bytes
		filter := NewListFilter(call, ListRules{Keep: func(_ string, e Element) bool {
			if keep(e.Name) {
				return true
			}
			refused += len(e.Raw)
			return false
		}})
		out, err := filter.Filter(text)
		if !bytes.Equal(text, kept) {
			t.Fatal("the text was changed")
		}
		if err != nil {
			if out != nil || filter.Dropped() != 0 {
				t.Fatalf("%v, but %q", err, out)
			}
			return
		}
		want := removed(decode(t, text), keep, shape)
		if got := decode(t, out); !reflect.DeepEqual(got, want.value) {
			t.Fatalf("%q became %q", text, out)
		}
		if filter.Dropped() != want.dropped {
			t.Fatalf("%q: dropped %d, want %d", text, filter.Dropped(), want.dropped)
		}
		checkSpans(t, call, keep, text, out, refused+want.commas)
		tolerant(t, out, keep, shape)
	})
}

// decode reads a text into plain values.
func decode(t *testing.T, text []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		t.Fatalf("%q: something follows", text)
	}
	return value
}

// expected is what a filter must do.
type expected struct {
	value           any
	dropped, commas int
}

// removed takes the elements out of plain values.
func removed(value any, keep func(string) bool, shape bool) (want expected) {
	want.value = value
	messages, batch := value.([]any)
	if !batch {
		messages = []any{value}
	}
	for _, m := range messages {
		message := m.(map[string]any)
		result, ok := message["result"].(map[string]any)
		if !ok {
			continue
		}
		listed := false
		for i := range lists {
			elements, isArray := result[lists[i].member].([]any)
			number, _ := message["id"].(json.Number)
			if id, err := number.Float64(); !shape && (err != nil || id != float64(i+1)) || shape && !isArray {
				continue
			}
			left := []any{}
			for _, e := range elements {
				if keep(e.(map[string]any)[lists[i].name].(string)) {
					left = append(left, e)
				}
			}
			gone := len(elements) - len(left)
			want.dropped += gone
			want.commas += min(gone, max(0, len(elements)-1))
			result[lists[i].member], listed = left, true
		}
		_, scoped := result["cacheScope"]
		_, timed := result["ttlMs"]
		if listed && (scoped || timed) {
			result["cacheScope"] = "private"
		}
	}
	return want
}

// checkSpans compares all that the filter does not name as changed, byte by byte, and how much it deletes.
func checkSpans(t *testing.T, call *Call, keep func(string) bool, text, out []byte, deleted int) {
	t.Helper()
	again := NewListFilter(call, ListRules{Keep: func(_ string, e Element) bool { return keep(e.Name) }})
	edits, _, err := again.edits(text)
	if err != nil {
		t.Fatal(err)
	}
	rest, at := out, 0
	for _, e := range inOrder(edits) {
		before := text[at:e.From]
		if !bytes.HasPrefix(rest, before) || !bytes.HasPrefix(rest[len(before):], e.With) {
			t.Fatalf("%q became %q, which differs before %v", text, out, e)
		}
		if rest, at = rest[len(before)+len(e.With):], e.To; len(e.With) == 0 {
			deleted -= e.To - e.From
		} else if !strings.Contains(string(e.With), private) {
			t.Fatalf("%q was put in", e.With)
		}
	}
	if !bytes.Equal(rest, text[at:]) || deleted != 0 {
		t.Fatalf("%q became %q, deleted %d bytes less than the elements and their commas", text, out, deleted)
	}
}

// inOrder sorts edits by where they stand, as a test may.
func inOrder(edits []Edit) []Edit {
	for i := range edits {
		for j := i; j > 0 && edits[j].From < edits[j-1].From; j-- {
			edits[j], edits[j-1] = edits[j-1], edits[j]
		}
	}
	return edits
}

// tolerant reads a filtered answer as a careless Go program would, folding case and letting the last of a name win, and looks
// for what was refused.
func tolerant(t *testing.T, out []byte, keep func(string) bool, shape bool) {
	t.Helper()
	type element struct {
		Name        string `json:"name"`
		URI         string `json:"uri"`
		URITemplate string `json:"uriTemplate"`
	}
	type answer struct {
		ID     any `json:"id"`
		Result struct {
			Tools             []element `json:"tools"`
			Prompts           []element `json:"prompts"`
			Resources         []element `json:"resources"`
			ResourceTemplates []element `json:"resourceTemplates"`
			CacheScope        any       `json:"cacheScope"`
			TTL               any       `json:"ttlMs"`
		} `json:"result"`
	}
	var all []answer
	if trimmed := bytes.TrimLeft(out, " \t\r\n"); trimmed[0] == '[' {
		_ = json.Unmarshal(out, &all) // members that are not read may be of any kind
	} else {
		all = make([]answer, 1)
		_ = json.Unmarshal(out, &all[0])
	}
	for _, a := range all {
		id, _ := a.ID.(float64)
		for i, elements := range [][]element{a.Result.Tools, a.Result.Prompts, a.Result.Resources, a.Result.ResourceTemplates} {
			if !shape && id != float64(i+1) {
				continue
			}
			if (a.Result.CacheScope != nil || a.Result.TTL != nil) && len(elements) > 0 && a.Result.CacheScope != "private" {
				t.Fatalf("%q has the scope %v", out, a.Result.CacheScope)
			}
			for _, e := range elements {
				if !keep([]string{e.Name, e.Name, e.URI, e.URITemplate}[i]) {
					t.Fatalf("%q still has %+v", out, e)
				}
			}
		}
	}
}
