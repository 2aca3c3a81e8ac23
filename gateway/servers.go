package gateway

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// servers are the HTTP servers of one run.
type servers struct {
	list []*http.Server
	crew sync.WaitGroup
}

// start serves l in the background.
func (s *servers) start(server *http.Server, l net.Listener) {
	s.list = append(s.list, server)
	s.crew.Go(func() { _ = server.Serve(l) }) // ends with shutdown or close
}

// shutdown takes no new calls and waits for those in flight. After d it has
// giveUp cancel them, which lets each say what it knows, and a second later it
// closes what is left.
func (s *servers) shutdown(d time.Duration, giveUp func()) {
	timer := time.AfterFunc(d, giveUp)
	defer timer.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), d+lastWords)
	defer cancel()
	var waiting sync.WaitGroup
	for _, server := range s.list {
		waiting.Go(func() {
			if server.Shutdown(ctx) != nil {
				_ = server.Close()
			}
		})
	}
	waiting.Wait()
	s.crew.Wait()
}

// lastWords is how long calls that were given up may take to say so.
const lastWords = time.Second
