package telemetry

import "sync"

// Other stands for all texts that are no labels.
const Other = "_OTHER"

// Labels are the texts of strangers that may be labels of metrics: a bounded number of them, so that nobody can make as many
// series as he likes. It is safe for concurrent use.
type Labels struct {
	most int

	mu    sync.RWMutex // guards known
	known map[string]struct{}
}

// NewLabels admits at most so many texts, of which some are known already.
func NewLabels(most int, known ...string) *Labels {
	l := &Labels{most: most, known: make(map[string]struct{})}
	for _, text := range known {
		l.known[text] = struct{}{}
	}
	return l
}

// Admit lets a text be a label from now on, if there is room. It reports whether it is one.
func (l *Labels) Admit(text string) bool {
	if l.has(text) {
		return true
	}
	if text == "" || len(text) > maxShort {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= l.most {
		return false
	}
	l.known[text] = struct{}{}
	return true
}

// Label is the text, or [Other] for one that was not admitted.
func (l *Labels) Label(text string) string {
	if text == "" || l.has(text) {
		return text
	}
	return Other
}

func (l *Labels) has(text string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, ok := l.known[text]
	return ok
}

// What [NameLabels] admits.
const (
	maxLabelledServers = 256
	maxLabelledTools   = 64 // of one server
)

// NameLabels are the names of servers, and of their tools, that may be labels: at most 256 servers with 64 tools each. A tool
// should be admitted once a call of it has succeeded, because anybody can call one that does not exist. It is safe for
// concurrent use.
type NameLabels struct {
	mu      sync.RWMutex // guards servers
	servers map[string]*Labels
}

// Admit lets a server and, unless it is empty, a tool of it be labels from now on, if there is room.
func (n *NameLabels) Admit(server, tool string) {
	n.mu.RLock()
	tools := n.servers[server]
	n.mu.RUnlock()
	if tools == nil {
		if tools = n.add(server); tools == nil {
			return
		}
	}
	tools.Admit(tool)
}

func (n *NameLabels) add(server string) *Labels {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.servers[server] == nil {
		if len(n.servers) >= maxLabelledServers || len(server) > maxShort {
			return nil
		}
		if n.servers == nil {
			n.servers = make(map[string]*Labels)
		}
		n.servers[server] = NewLabels(maxLabelledTools)
	}
	return n.servers[server]
}

// Label gives the two names, or [Other] in place of one that was not admitted. An empty one stays.
func (n *NameLabels) Label(server, tool string) (serverLabel, toolLabel string) {
	n.mu.RLock()
	tools := n.servers[server]
	n.mu.RUnlock()
	switch {
	case tools != nil:
		return server, tools.Label(tool)
	case server != "":
		server = Other
	}
	if tool != "" {
		tool = Other
	}
	return server, tool
}
