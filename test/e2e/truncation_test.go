package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
)

const (
	streamedPosts = 2000
	postsAtOnce   = 8
)

// A server that answers with events before it has read the request is what
// makes a proxy that streams request bodies cut about one answer in a hundred.
// Here not one of 2,000 is.
func TestNoStreamedAnswerIsTruncated(t *testing.T) {
	t.Parallel()
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		control := http.NewResponseController(w)
		for i := range 3 {
			fmt.Fprintf(w, "event: message\ndata: {\"method\":\"m\",\"params\":\"%s/%d\"}\n\n", r.Header.Get("X-Case"), i)
			_ = control.Flush()
		}
	})
	eachWay(t, func(*testing.T) map[string]connector.Server { return one("naive", upstream.URL) },
		func(t *testing.T, s *stack.Stack, agent *http.Client) {
			padding := strings.Repeat("p", 8<<10)
			var next, truncated atomic.Int64
			var crew sync.WaitGroup
			for range postsAtOnce {
				crew.Go(func() {
					for n := next.Add(1); n <= streamedPosts; n = next.Add(1) {
						body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/list","params":{"p":%q}}`, n, padding[:n*4])
						r, err := s.Post(t.Context(), "naive", body)
						if err != nil {
							t.Error(err)
							return
						}
						r.Header.Set("X-Case", fmt.Sprint(n))
						got, err := whole(agent, r)
						var want string
						for i := range 3 {
							want += fmt.Sprintf("event: message\ndata: {\"method\":\"m\",\"params\":\"%d/%d\"}\n\n", n, i)
						}
						if err != nil || string(got.body) != want || got.err != nil {
							truncated.Add(1)
							t.Logf("call %d: status %d, %v, %v, body %q", n, got.status, err, got.err, got.body)
						}
					}
				})
			}
			crew.Wait()
			if n := truncated.Load(); n > 0 {
				t.Errorf("%d of %d answers were cut or wrong", n, streamedPosts)
			}
		})
}
