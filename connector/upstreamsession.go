package connector

import (
	"context"
	"net/http"
	"sync"
	"time"

	"sallyport.dev/credential"
)

const (
	maxUpstreamSessions  = 16384          // MCP sessions of one server that are remembered
	keepUpstreamSessions = 24 * time.Hour // since their last call
)

// upstreamSessions remembers by which credentials the MCP sessions of an upstream were begun, where each principal has his
// own: a session goes on for that principal and those credentials alone. What was begun before the connector started is not
// known here; that it belongs to its principal is what the gateway's binding says.
type upstreamSessions struct {
	mu    sync.Mutex // guards known
	known map[string]*upstreamSession
}

type upstreamSession struct {
	who     credential.Principal
	version credential.Version
	last    time.Time
}

func newUpstreamSessions() *upstreamSessions {
	return &upstreamSessions{known: make(map[string]*upstreamSession)}
}

// admits reports whether a session may go on for a principal with credentials of a version.
func (s *upstreamSessions) admits(id string, who credential.Principal, version credential.Version) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	begun := s.known[id]
	if begun == nil {
		return true
	}
	if begun.who != who || begun.version != version {
		return false
	}
	begun.last = time.Now()
	return true
}

// began remembers a session.
func (s *upstreamSessions) began(id string, who credential.Principal, version credential.Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxUpstreamSessions {
		s.sweep()
	}
	s.known[id] = &upstreamSession{who, version, time.Now()}
}

// sweep forgets what is old, and the oldest in any case. s.mu is held.
func (s *upstreamSessions) sweep() {
	var oldest string
	for id, session := range s.known {
		if time.Since(session.last) > keepUpstreamSessions {
			delete(s.known, id)
		} else if first := s.known[oldest]; first == nil || session.last.Before(first.last) {
			oldest = id
		}
	}
	if len(s.known) >= maxUpstreamSessions {
		delete(s.known, oldest)
	}
}

// continues reports whether the MCP session of a call, if it is in one, may go on with the credentials of now, and returns
// their version.
func (u *upstream) continues(ctx context.Context, n *note) (now credential.Version, ok bool, err error) {
	if u.sessions == nil {
		return 0, true, nil
	}
	if now, err = u.versions(ctx, n.caller()); err != nil {
		return 0, false, err
	}
	return now, n.call.SessionID == "" || u.sessions.admits(n.call.SessionID, n.caller(), now), nil
}

// began remembers the session that an answer begins, if it does.
func (u *upstream) began(n *note, answer http.Header, version credential.Version) {
	if id := answer.Get(headerMCPSession); u.sessions != nil && n.call.SessionID == "" && id != "" {
		u.sessions.began(id, n.caller(), version)
	}
}
