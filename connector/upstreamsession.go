package connector

import (
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

// continues reports whether the MCP session of a call, if it is in one, may go on with the credentials of now. after notes
// the session that the answer begins.
func (u *upstream) continues(r *http.Request, n *note) (ok bool, after func(*http.Response), err error) {
	if u.sessions == nil {
		return true, func(*http.Response) {}, nil
	}
	who := n.caller()
	version, err := u.versions(r.Context(), who)
	if err != nil {
		return false, nil, err
	}
	if id := n.call.SessionID; id != "" {
		return u.sessions.admits(id, who, version), func(*http.Response) {}, nil
	}
	return true, func(resp *http.Response) {
		if id := resp.Header.Get(headerMCPSession); id != "" {
			u.sessions.began(id, who, version)
		}
	}, nil
}
