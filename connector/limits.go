package connector

import (
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sallyport.dev/auth"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
)

// maxCounted is how many pairs of a rule and a principal are counted at once.
const maxCounted = 16384

// limits counts what principals do by rules that bound it. policy names the bounds; here is what they are held against. It
// outlasts a reload: a rule that keeps its name and its bounds goes on counting.
type limits struct {
	mu      sync.Mutex // guards counted
	counted map[counted]*count
}

// counted is what has a count of its own.
type counted struct {
	rule            string
	issuer, subject string
	limits          policy.Limits
}

type count struct {
	rate    *rate.Limiter // nil: not bounded
	running int
	last    time.Time
}

func newLimits() *limits { return &limits{counted: make(map[counted]*count)} }

// take counts a message, or says why it is too much. giveBack is called once, when the call has ended.
func (l *limits) take(n *note, d policy.Decision, m mcp.Message) (giveBack func(), refused *mcp.Error) {
	if d.Limits.Arguments > 0 && int64(len(m.Params)) > d.Limits.Arguments {
		return nil, mcp.TooLarge()
	}
	if d.Limits.Rate == 0 && d.Limits.Concurrent == 0 {
		return func() {}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.of(d, n.principal)
	if c == nil {
		return nil, mcp.Overloaded()
	}
	if d.Limits.Concurrent > 0 && c.running >= d.Limits.Concurrent {
		return nil, mcp.RateLimited(time.Second)
	}
	c.last = time.Now()
	if c.rate != nil {
		if reserved := c.rate.ReserveN(c.last, 1); reserved.DelayFrom(c.last) > 0 {
			wait := reserved.DelayFrom(c.last)
			reserved.CancelAt(c.last)
			return nil, mcp.RateLimited(wait)
		}
	}
	c.running++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		c.running--
	}, nil
}

// of finds or begins a count; nil if there is no room. l.mu is held.
func (l *limits) of(d policy.Decision, who auth.Principal) *count {
	key := counted{d.Rule, who.Issuer, who.Subject, *d.Limits}
	c := l.counted[key]
	if c != nil {
		return c
	}
	if len(l.counted) >= maxCounted {
		l.sweep()
	}
	if len(l.counted) >= maxCounted {
		return nil
	}
	c = new(count)
	if d.Limits.Rate > 0 {
		c.rate = rate.NewLimiter(rate.Every(d.Limits.Per/time.Duration(d.Limits.Rate)), d.Limits.Rate)
	}
	l.counted[key] = c
	return c
}

// len is how many pairs of a rule and a principal are counted.
func (l *limits) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.counted)
}

// sweep forgets counts that are as good as new.
func (l *limits) sweep() {
	for key, c := range l.counted {
		if c.running == 0 && time.Since(c.last) > key.limits.Per {
			delete(l.counted, key)
		}
	}
}

// capResult bounds an answer, or refuses one that says that it is longer.
func capResult(resp *http.Response, most int64) *mcp.Error {
	if most == 0 {
		return nil
	}
	if resp.ContentLength > most {
		return mcp.ResultTooLarge()
	}
	resp.Body = &cappedBody{resp.Body, most}
	return nil
}

// cappedBody gives an error in the place of what is too much.
type cappedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *cappedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		n, err = int(b.left), mcp.ResultTooLarge()
	}
	b.left -= int64(n)
	return n, err
}
