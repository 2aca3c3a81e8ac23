package pins

import (
	"crypto/sha256"
	"fmt"
	"hash/maphash"
	"sync"
	"time"
)

// Mode is what happens with a tool that is not the pinned one, as written in configuration.
type Mode string

const (
	// Off neither pins nor inspects.
	Off Mode = "off"
	// Report pins and says what differs; the tool stays. It is meant to be the default.
	Report Mode = "report"
	// Quarantine also keeps what is not Pinned out of lists, and refuses calls of it.
	Quarantine Mode = "quarantine"
)

// Validate refuses any other word. Empty is allowed.
func (m Mode) Validate() error {
	switch m {
	case "", Off, Report, Quarantine:
		return nil
	}
	return fmt.Errorf("pins: %s, %s or %s is allowed", Off, Report, Quarantine)
}

// State is how a tool stands to its pin. Under quarantine only Pinned may be listed and called.
type State uint8

const (
	// Unknown is a tool of a server of which nothing is kept: no list was seen, or what was seen could not be stored.
	Unknown State = iota
	// Pinned is a tool whose definition, as it was seen last, is the pinned one.
	Pinned
	// Changed is a tool whose definition, as it was seen last, is another one than the pinned.
	Changed
	// New is a tool that is not pinned, of a server of which others are.
	New
	// Suspicious is a tool whose definition is not pinned and has findings of its own, as Inspect returns them.
	Suspicious
	// Unreadable is any tool of a server whose file cannot be used.
	Unreadable
)

// String returns one lower-case word.
func (s State) String() string {
	return [...]string{"unknown", "pinned", "changed", "new", "suspicious", "unreadable"}[s]
}

// MarshalText makes the word the form in JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reason says why quarantine refuses a tool, in words that may go to an agent; empty for Pinned.
func (s State) Reason() string {
	switch s {
	case Pinned:
		return ""
	case Changed:
		return "the tool's definition has changed since it was pinned, and the change has not been accepted"
	case New:
		return "the tool was not there when the server's tools were pinned, and has not been accepted"
	case Suspicious:
		return "the tool's definition is suspicious and has not been accepted"
	case Unreadable:
		return "what is pinned of this server cannot be read"
	}
	return "the server's tools are not pinned yet: list them first"
}

// Page is a result of tools/list as the upstream has sent it.
type Page struct {
	Tools []Definition
	// Cursor is that of the request, empty for the first page. When the first list has ended, and which tools are gone, depends on it.
	Cursor string
	// Next is the result's nextCursor, empty at the end of the list.
	Next string
}

const (
	window     = time.Minute      // how long pages of the first list may come
	writeEvery = 10 * time.Second // how often a file is written for what need not be stored at once
	writeRetry = 5 * time.Second  // how long a file that could not be written or read is left alone
	maxEmitted = 64               // findings of one page
	maxLists   = 32               // lists of one server that are followed from page to page
	maxCursor  = 1024             // bytes of a cursor by which one is
	maxOnce    = 4096             // findings of one server that are remembered so as not to be repeated
)

// Pins watches lists. It is safe for concurrent use; several processes may watch with one state_dir. Make it with [Open].
type Pins struct {
	store *Store
	now   func() time.Time

	mu      sync.Mutex // guards servers
	servers map[string]*server
}

// Open returns the pins below a state_dir, which is an absolute path. It reads nothing yet.
func Open(stateDir string) (*Pins, error) {
	store, err := NewStore(stateDir)
	if err != nil {
		return nil, err
	}
	return &Pins{store: store, now: time.Now, servers: make(map[string]*server)}, nil
}

// Observe takes a page of a server's list that passes. It returns the state of each of its definitions, judged by that
// definition and not by what others were shown meanwhile: under quarantine all but the Pinned are to be left out. Of
// several definitions with one name, none is better than the worst. The findings are what nobody was told yet: each once
// for a definition, as long as the process lives.
func (p *Pins) Observe(server string, page Page) ([]State, []Finding) {
	sights := make([]sight, len(page.Tools))
	for i, d := range page.Tools {
		sights[i] = sight{name: d.Name, raw: d.Raw, sum: sha256.Sum256(d.Raw)}
	}
	s := p.of(server)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.observe(page, sights, p.now())
}

// Tools returns what is kept of a server, by name; nothing if it was never listed.
func (p *Pins) Tools(server string) ([]Tool, error) { return p.store.Tools(server) }

// Status returns how a tool stands now, by the definition that anybody was shown last.
func (p *Pins) Status(server, tool string) State {
	s := p.of(server)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status(tool, p.now())
}

// Allowed reports whether quarantine lets a tool be called.
func (p *Pins) Allowed(server, tool string) bool { return p.Status(server, tool) == Pinned }

func (p *Pins) of(name string) *server {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.servers[name]
	if s == nil {
		s = &server{
			name: name, store: p.store, rec: newRecord(name), seen: make(map[string]*sighting),
			seed: maphash.MakeSeed(), lists: make(map[string]names), once: make(map[[32]byte]struct{}),
		}
		p.servers[name] = s
	}
	return s
}
