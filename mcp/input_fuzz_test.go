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
		scanner := NewAskScanner()
		if !scanner.Write(message) && !scanner.Bad() {
			t.Fatalf("the scanner does not see what %q asks", message)
		}
		if scanner.Bad() {
			return
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
