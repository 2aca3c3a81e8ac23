package connector

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sallyport.dev/connector/pins"
)

// Status is what a running connector says of itself: names, numbers and times, and no value of a secret, an argument or an
// answer.
type Status struct {
	Version  string    `json:"version"`
	Instance string    `json:"instance"`
	Gateway  string    `json:"gateway"`
	Started  time.Time `json:"started"`
	// Configuration is when the one in use was read, and ConfigurationVersion what tells it from others: the SHA-256 of it in YAML, whose
	// secrets are references.
	Configuration        time.Time `json:"configuration"`
	ConfigurationVersion string    `json:"configuration_version"`
	// Waiting are the keys that have changed since, and count after a restart.
	Waiting     []string           `json:"waiting,omitempty"`
	Sessions    []SessionStatus    `json:"sessions"`
	Servers     []ServerStatus     `json:"servers"`
	Policy      PolicyStatus       `json:"policy"`
	Credentials []CredentialStatus `json:"credentials,omitempty"`
	// Agents are the identity providers whose tokens are verified here; none if the gateway's word is enough.
	Agents []IssuerStatus `json:"verify_agents,omitempty"`
	// Approvals is how many calls wait for a human.
	Approvals int `json:"approvals"`
	// Audit is the audit log, if there is one.
	Audit *AuditStatus `json:"audit,omitempty"`
	// Warnings are what is open or weak.
	Warnings []string `json:"warnings,omitempty"`
}

// SessionStatus is one session to a gateway.
type SessionStatus struct {
	ID        string    `json:"id"`
	Gateway   string    `json:"gateway"` // the address that was dialled
	Transport string    `json:"transport"`
	Since     time.Time `json:"since"`
}

// ServerStatus is one server, and how calls to it have gone since the connector started or its configuration changed.
type ServerStatus struct {
	Name string `json:"name"`
	// Upstream is its origin, or the program of a local command. No path, query or argument is said.
	Upstream string `json:"upstream"`
	// Answered and Failed are numbers of calls. Calls that were refused here count as neither.
	Answered int64 `json:"answered"`
	Failed   int64 `json:"failed"`
	// LastAnswer and LastFailure are when; the zero time if never. Failure is the reason of the last one.
	LastAnswer  time.Time `json:"last_answer,omitzero"`
	LastFailure time.Time `json:"last_failure,omitzero"`
	Failure     string    `json:"failure,omitempty"`
	// Pins is what happens with tools that are not as pinned: off, report or quarantine. Tools are those that are kept, by
	// state; PinsUnreadable says that they cannot be read.
	Pins           pins.Mode      `json:"pins"`
	Tools          map[string]int `json:"tools,omitempty"`
	PinsUnreadable bool           `json:"pins_unreadable,omitempty"`
	// Masked is how many secrets were found in its answers, and Quarantined that it gets no more calls for that.
	Masked      int64 `json:"masked,omitempty"`
	Quarantined bool  `json:"quarantined,omitempty"`
}

// PolicyStatus is what decides.
type PolicyStatus struct {
	// Mode is OPEN or rules.
	Mode string `json:"mode"`
	// Rules is their number.
	Rules int `json:"rules"`
	// NotEnforced names the rules in report mode.
	NotEnforced []string `json:"not_enforced,omitempty"`
	// Limited is how many pairs of a rule and a caller are being counted.
	Limited int `json:"limited,omitempty"`
}

// IssuerStatus is one identity provider.
type IssuerStatus struct {
	Issuer string `json:"issuer"`
	// Keys is how many of its keys count, 0 before a token of it was seen, and FetchedSeconds how long ago they were got.
	Keys           int   `json:"keys"`
	FetchedSeconds int64 `json:"fetched_seconds_ago,omitempty"`
	// Failure says what is wrong with it.
	Failure string `json:"failure,omitempty"`
}

// AuditStatus is the audit log.
type AuditStatus struct {
	Mode string `json:"mode"`
	Path string `json:"path"`
	// Lost is how many events were not written since the connector started, and Error why nothing can be written now.
	Lost  int64  `json:"lost"`
	Error string `json:"error,omitempty"`
}

// CredentialStatus is one credential, by name.
type CredentialStatus struct {
	Name string `json:"name"`
	As   string `json:"as"`
	From string `json:"from"`
	// Since is since when the value has been in use that was used last; the zero time if none has been.
	Since time.Time `json:"since,omitzero"`
	// Personal says that each caller has their own.
	Personal bool `json:"personal,omitempty"`
}

// health counts how calls to an upstream go.
type health struct {
	mu     sync.Mutex // guards status
	status ServerStatus
}

// note counts a call that has ended. That its caller has left says nothing of the upstream.
func (h *health) note(outcome string, left bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case outcome == "upstream":
		h.status.Answered++
		h.status.LastAnswer = time.Now()
	case left:
	case strings.HasPrefix(outcome, "upstream_"), outcome == "broken", outcome == "outcome_unknown", strings.HasPrefix(outcome, "credential_"):
		h.status.Failed++
		h.status.LastFailure, h.status.Failure = time.Now(), outcome
	}
}

// sessions are the live ones.
type sessions struct {
	mu   sync.Mutex // guards live
	live []*live
}

func (s *sessions) add(l *live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = append(s.live, l)
}

func (s *sessions) remove(l *live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = slices.DeleteFunc(s.live, func(other *live) bool { return other == l })
}

func (s *sessions) status() []SessionStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []SessionStatus{}
	for _, l := range s.live {
		peer := l.Peer()
		list = append(list, SessionStatus{ID: fmt.Sprint(l.ID()), Gateway: peer.Addr.String(), Transport: string(peer.Transport), Since: l.since})
	}
	return list
}

// Status says how the connector is doing now.
func (c *Connector) Status() Status {
	now := c.current()
	s := Status{
		Version: c.cfg.Version, Instance: c.instance, Gateway: c.cfg.Gateway, Started: c.started,
		Configuration: now.read, ConfigurationVersion: now.version(), Waiting: now.waiting, Sessions: c.sessions.status(), Warnings: c.Warnings(),
		Policy: PolicyStatus{Mode: "rules", Rules: now.cfg.Policy.Len(), NotEnforced: now.cfg.Policy.NotEnforced(), Limited: c.limits.len()},
	}
	if now.cfg.Policy.IsOpen() {
		s.Policy.Mode = "OPEN"
	}
	s.Approvals = len(c.approvals.list())
	if log := c.audit.Load(); log != nil {
		s.Audit = &AuditStatus{Mode: string(c.cfg.Audit.Mode), Path: c.cfg.Audit.Path(c.cfg.StateDir), Lost: log.Lost()}
		if err := log.Err(); err != nil {
			s.Audit.Error = err.Error()
		}
	}
	if c.agents != nil {
		for _, i := range c.agents.Issuers() {
			s.Agents = append(s.Agents, IssuerStatus{Issuer: i.Issuer, Keys: i.Keys, FetchedSeconds: int64(i.Age / time.Second), Failure: i.Fetch.Failure})
		}
	}
	for _, name := range now.names {
		u := now.servers[name]
		server := u.serverStatus()
		c.pinStatus(u, &server)
		s.Servers = append(s.Servers, server)
		s.Credentials = append(s.Credentials, u.credentialStatus()...)
	}
	return s
}

// pinStatus counts the tools of a server by state.
func (c *Connector) pinStatus(u *upstream, s *ServerStatus) {
	if s.Pins = c.pinsOf(&u.cfg); s.Pins == pins.Off {
		return
	}
	tools, err := c.pins.Tools(u.name)
	s.PinsUnreadable = err != nil
	for _, tool := range tools {
		if s.Tools == nil {
			s.Tools = make(map[string]int)
		}
		s.Tools[tool.State.String()]++
	}
}

// version tells configurations apart.
func (r *routes) version() string {
	sum := sha256.Sum256([]byte(inYAML(r.cfg) + inYAML(r.cfg.Policy.Rules()))) // an open policy has none
	return hex.EncodeToString(sum[:6])
}

func (u *upstream) serverStatus() ServerStatus {
	u.health.mu.Lock()
	s := u.health.status
	u.health.mu.Unlock()
	s.Name, s.Masked, s.Quarantined = u.name, u.guard.hits.Load(), u.guard.closed()
	switch {
	case u.command != nil:
		s.Upstream = u.cfg.Command[0]
	case u.database != nil:
		s.Upstream = u.database.kind.key() + ": " + u.database.kind.place()
	default:
		s.Upstream = u.origin().Scheme + "://" + u.origin().Host
	}
	return s
}

func (u *upstream) credentialStatus() (list []CredentialStatus) {
	if u.command != nil {
		for _, v := range u.command.env {
			if v.source != nil {
				ref := u.cfg.Env[v.name].Secret
				list = append(list, CredentialStatus{Name: u.name + "/env/" + v.name, As: "env " + v.name, From: ref.String(), Personal: u.command.isPersonal()})
			}
		}
		return list
	}
	if u.database != nil {
		for i, l := range u.database.logins {
			if l.source != nil {
				list = append(list, CredentialStatus{Name: fmt.Sprintf("%s/login/%d", u.name, i+1), As: l.as(), From: l.from(), Personal: l.isPersonal()})
			}
		}
		return list
	}
	since := u.since()
	for i, b := range u.bindings {
		cred := &u.cfg.Credentials[i]
		list = append(list, CredentialStatus{Name: fmt.Sprintf("%s/%d", u.name, i+1), As: b.Injector.Place(), From: cred.from(), Since: since[i], Personal: cred.isPersonal()})
	}
	return list
}
