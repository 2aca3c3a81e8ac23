package mysql

import (
	"context"
	"sync"
	"time"

	"sallyport.dev/mcp/database"
)

// patience is how long a call waits for its turn.
const patience = 10 * time.Second

// slots bounds how many connections there are for each key at once.
type slots struct {
	size int

	// mu guards byKey.
	mu    sync.Mutex
	byKey map[string]*queue
}

// queue is what a key has. It is forgotten when nobody uses it.
type queue struct {
	taken chan struct{}
	users int // who holds or awaits a slot
}

// take waits for a slot. Whoever gets one has to give it back.
func (s *slots) take(ctx context.Context, key string) (giveBack func(), err error) {
	q := s.enter(key)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case q.taken <- struct{}{}:
		return func() {
			<-q.taken
			s.leave(key, q)
		}, nil
	case <-timer.C:
		err = database.Busy()
	case <-ctx.Done():
		err = database.Busy()
		if ctx.Err() == context.Canceled {
			err = ctx.Err()
		}
	}
	s.leave(key, q)
	return nil, err
}

func (s *slots) enter(key string) *queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.byKey[key]
	if q == nil {
		q = &queue{taken: make(chan struct{}, s.size)}
		s.byKey[key] = q
	}
	q.users++
	return q
}

func (s *slots) leave(key string, q *queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.users--; q.users == 0 {
		delete(s.byKey, key)
	}
}
