package mcp

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// scanAnswer scans an answer in pieces of a size.
func scanAnswer(c *Call, rules AnswerRules, text string, size int) error {
	s := NewAnswerScanner(c, rules)
	for len(text) > 0 {
		n := min(size, len(text))
		if err := s.Write([]byte(text[:n])); err != nil {
			return err
		}
		text = text[n:]
	}
	return s.End()
}

// calling is a call with requests of these raw ids.
func calling(batch bool, ids ...string) *Call {
	c := &Call{Batch: batch}
	for _, id := range ids {
		c.Messages = append(c.Messages, Message{Kind: Request, ID: []byte(id), Method: "tools/call"})
	}
	return c
}

func TestAnswerScanner(t *testing.T) {
	const (
		one    = `{"jsonrpc":"2.0","id":1,"result":{"x":[{"id":2,"method":"x"}]}}`
		two    = `{"jsonrpc":"2.0","id":"a","error":{"code":1,"message":"x"}}`
		nobody = `{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}`
		asks   = `{"jsonrpc":"2.0","id":77,"method":"sampling/createMessage","params":{}}`
	)
	single, batch, none := calling(false, "1"), calling(true, "1", `"a"`), calling(false)
	answer, failed, plain := AnswerRules{JSON: true}, AnswerRules{JSON: true, Failed: true}, AnswerRules{}
	for name, test := range map[string]struct {
		call  *Call
		rules AnswerRules
		text  string
		want  error
	}{
		"a result":                       {single, answer, one, nil},
		"with white space":               {single, answer, " \n" + one + "\r\n", nil},
		"the id last":                    {single, answer, `{"result":{},"id":1,"jsonrpc":"2.0"}`, nil},
		"an id of the same value":        {single, answer, strings.Replace(one, ":1,", ":1.0,", 1), nil},
		"an error to nobody":             {single, answer, nobody, nil},
		"nothing":                        {single, answer, "", nil},
		"an object that is no message":   {single, answer, `{"a":1,"a":[],"id":5}`, nil},
		"a text":                         {single, plain, "Accepted", nil},
		"a batch":                        {batch, answer, "[" + one + " , " + two + "]", nil},
		"some of a batch":                {batch, answer, "[" + two + "]", nil},
		"a batch that fails whole":       {batch, answer, nobody, nil},
		"a request":                      {single, answer, asks, errAnswerMethod},
		"a notification":                 {single, answer, `{"jsonrpc":"2.0","method":"notifications/message"}`, errAnswerMethod},
		"a request before its id":        {single, answer, `{"method":"x","params":`, errAnswerMethod},
		"an array":                       {single, answer, "[" + one + "]", errAnswerBatch},
		"an open array":                  {single, answer, "[", errAnswerBatch},
		"a request in a batch":           {batch, answer, "[" + one + "," + asks + "]", errAnswerMethod},
		"an answer twice":                {batch, answer, "[" + one + "," + one + "]", errAnswerID},
		"an error to nobody in a batch":  {batch, answer, "[" + one + "," + nobody + "]", errAnswerID},
		"no message in a batch":          {batch, answer, "[" + one + ",{}]", errAnswerJSON},
		"another id":                     {single, answer, strings.Replace(one, ":1,", ":7,", 1), errAnswerID},
		"another id, before the end":     {single, answer, `{"id":7,"result":{"x":`, errAnswerID},
		"an id of another type":          {single, answer, strings.Replace(two, `"a"`, `"1"`, 1), errAnswerID},
		"a result to nobody":             {single, answer, strings.Replace(one, ":1,", ":null,", 1), errAnswerID},
		"no id":                          {single, answer, `{"jsonrpc":"2.0","result":{}}`, errAnswerJSON},
		"a result and an error":          {single, answer, `{"id":1,"result":{},"error":{}}`, errAnswerJSON},
		"an id twice":                    {single, answer, `{"id":1,"id":7,"result":{}}`, errAnswerJSON},
		"an id in another case":          {single, answer, `{"id":1,"ID":7,"result":{}}`, errAnswerJSON},
		"a method in another case":       {single, answer, `{"id":1,"Method":"x"}`, errAnswerJSON},
		"a method with an escape":        {single, answer, `{"id":1,"meth\u006fd":"x"}`, errAnswerJSON},
		"a method with a long s":         {single, answer, `{"id":1,"reſult":{}}`, errAnswerJSON},
		"something behind it":            {single, answer, one + one, errAnswerJSON},
		"half of it":                     {single, answer, one[:len(one)-1], errAnswerCut},
		"a byte order mark":              {single, answer, byteOrderMark + one, errAnswerText},
		"a text of the type of JSON":     {single, answer, "Accepted", errAnswerText},
		"a text with a brace":            {single, plain, "data: " + one, errAnswerText},
		"JSON of another type":           {single, plain, asks, errAnswerMethod},
		"UTF-16":                         {single, plain, "\x00{\x00}", errAnswerText},
		"UTF-16 the other way":           {single, plain, "{\x00}\x00", errAnswerJSON},
		"a response without a request":   {none, answer, one, errAnswerID},
		"a page":                         {single, failed, "<html>{{</html>", nil},
		"a problem":                      {single, failed, `{"type":"about:blank","detail":[{"method":"x"}]}`, nil},
		"an error of another kind":       {single, failed, `{"error":"x","error":"y","Error":{}}`, nil},
		"an error with an id of its own": {single, failed, `{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"x"}}`, nil},
		"a failed result":                {single, failed, one, nil},
		"a failed result of another":     {single, failed, strings.Replace(one, ":1,", ":7,", 1), errAnswerID},
		"a request with an error":        {single, failed, `{"error":{},"id":1,"method":"x"`, errAnswerMethod},
		"a Result":                       {single, failed, `{"id":7,"Result":{}}`, errAnswerJSON},
		"a failed request":               {single, failed, asks, errAnswerMethod},
		"behind a byte order mark":       {single, failed, byteOrderMark + asks, errAnswerMethod},
		"a failed UTF-16":                {single, failed, "\x00{\x00}", errAnswerText},
		"with a byte order mark":         {single, failed, "\xff\xfe{\x00}\x00", errAnswerText},
	} {
		for _, size := range []int{1, 3, 1 << 20} {
			if err := scanAnswer(test.call, test.rules, test.text, size); !errors.Is(err, test.want) || err != nil && !errors.Is(err, ErrAnswer) {
				t.Errorf("%s, by %d: %v, want %v", name, size, err, test.want)
			}
		}
	}
}

// FuzzAnswerScanner: of what passes no careless reader reads a request, or a response to another call, and pieces do not matter.
func FuzzAnswerScanner(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{}}`, `{"ID":7,"result":{}}`, `[{"id":1,"error":{}},{"id":"a","result":[]}]`, `{"id":1,"meth\u006fd":"x"}`, `{"error":"x"}`, "\xef\xbb\xbf{}", "ok", " [ ] ",
	} {
		for _, rules := range []byte{0, 1, 2, 3, 4, 7} {
			f.Add([]byte(seed), rules, byte(2))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, rules, size byte) {
		c := calling(rules&4 != 0, "1", `"a"`)
		r := AnswerRules{JSON: rules&1 != 0, Failed: rules&2 != 0, Asks: rules&8 != 0, Elicits: rules&16 != 0}
		whole := scanAnswer(c, r, string(text), len(text)+1)
		if pieces := scanAnswer(c, r, string(text), int(size)+1); (pieces == nil) != (whole == nil) {
			t.Fatalf("%q whole: %v, in pieces: %v", text, whole, pieces)
		}
		if whole != nil {
			return
		}
		type careless struct {
			ID            json.RawMessage
			Method        *string
			Result, Error json.RawMessage
		}
		var messages []careless
		var one careless
		if json.Unmarshal(text, &one) == nil {
			messages = append(messages, one)
		} else if json.Unmarshal(text, &messages) != nil {
			return
		}
		for _, m := range messages {
			id := string(m.ID)
			ours := sameID(m.ID, []byte("1")) || sameID(m.ID, []byte(`"a"`))
			switch {
			case m.Method != nil:
				t.Errorf("%q has a request", text)
			case m.Result != nil && string(m.Result) != "null" && !ours:
				t.Errorf("%q has the result of %s", text, id)
			case m.Error != nil && string(m.Error) != "null" && !ours && id != "" && id != "null" && !r.Failed:
				t.Errorf("%q has the error of %s", text, id)
			}
		}
	})
}

// BenchmarkAnswerScanner is what a small answer pays.
func BenchmarkAnswerScanner(b *testing.B) {
	c := calling(false, "1")
	text := []byte(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hello"}],"isError":false}}`)
	b.ReportAllocs()
	for b.Loop() {
		s := NewAnswerScanner(c, AnswerRules{JSON: true, Elicits: true})
		if s.Write(text) != nil || s.End() != nil {
			b.Fatal("it is refused")
		}
	}
}
