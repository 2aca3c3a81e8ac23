package mcp

import (
	"encoding/json"
	"testing"
)

// What a careless reader takes for something that is asked of the client is seen, or the result is refused.
func FuzzInputRequests(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"result":{"inputRequests":{"a":{"method":"roots/list","params":{}}}}}`))
	f.Add([]byte(`{"result":{"InputRequests":{"a":{"method":"x"}}}}`))
	f.Add([]byte(`{"result":{"input\u0052equests":{"a":{"method":"x"}}}}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		var careless struct {
			Result struct {
				InputRequests map[string]struct{ Method string }
			}
		}
		if json.Unmarshal(message, &careless) != nil || len(careless.Result.InputRequests) == 0 {
			return
		}
		scanner := NewAnswerScanner(&Call{Messages: []Message{{Kind: Request, ID: []byte("1")}}}, AnswerRules{Asks: true})
		if scanner.Write(message) != nil || scanner.End() != nil {
			return
		}
		if !scanner.Asks() {
			t.Fatalf("the scanner does not see what %q asks", message)
		}
		requests, err := InputRequests(message)
		if err != nil {
			return
		}
		seen := make(map[string]bool)
		for _, r := range requests {
			seen[r.Method] = true
		}
		for _, asked := range careless.Result.InputRequests {
			if !seen[asked.Method] {
				t.Errorf("%q asks %q, and %v was seen", message, asked.Method, requests)
			}
		}
	})
}

// So is every URL that an error has the client visit.
func FuzzElicitations(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"error":{"code":-32042,"message":"x","data":{"elicitations":[{"mode":"url","url":"a"},{"url":"b"}]}}}`))
	f.Add([]byte(`{"id":1,"error":{"data":{"Elicitations":[{"url":"a"}]}}}`))
	f.Add([]byte(`{"id":1,"error":{"Data":{"elicit\u0061tions":[{"URL":"a"}]}}}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		var careless struct {
			Error struct {
				Data struct{ Elicitations []struct{ URL string } }
			}
		}
		if json.Unmarshal(message, &careless) != nil || len(careless.Error.Data.Elicitations) == 0 {
			return
		}
		for _, failed := range []bool{false, true} {
			scanner := NewAnswerScanner(&Call{Messages: []Message{{Kind: Request, ID: []byte("1")}}}, AnswerRules{Elicits: true, Failed: failed})
			if scanner.Write(message) != nil || scanner.End() != nil {
				continue
			}
			if !scanner.Asks() {
				t.Fatalf("the scanner does not see where %q leads", message)
			}
			requests, err := InputRequests(message)
			if err == nil && len(requests) != len(careless.Error.Data.Elicitations) {
				t.Errorf("%q leads to %v, and %v was seen", message, careless, requests)
			}
		}
	})
}
