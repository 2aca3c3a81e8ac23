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

// admitted is Label for a text that is let in before, if there is room.
func (l *Labels) admitted(text string) string {
	if text == "" || l.Admit(text) {
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

// ServerName is a server's name under its tunnel, which may be left out where there is only one.
type ServerName struct{ Tunnel, Name string }

// NameLabels are the names of servers, and of their tools, that may be labels: at most 256 servers with 64 tools each. It is safe for
// concurrent use.
type NameLabels struct {
	mu      sync.RWMutex // guards servers
	servers map[ServerName]*Labels
}

// Claimed gives the labels of a server that exists, and of a tool that somebody has called, with or without success: anybody can call
// one that there is not. For what is no label there is [Other]; for no tool, none.
func (n *NameLabels) Claimed(server ServerName, tool string) (serverLabel ServerName, toolLabel string) {
	return n.label(server, tool, (*Labels).Label)
}

// Proven is [NameLabels.Claimed] for a tool that exists, because a call of it has succeeded: it is a label from now on, if there is room.
func (n *NameLabels) Proven(server ServerName, tool string) (serverLabel ServerName, toolLabel string) {
	return n.label(server, tool, (*Labels).admitted)
}

func (n *NameLabels) label(server ServerName, tool string, label func(*Labels, string) string) (ServerName, string) {
	n.mu.RLock()
	tools := n.servers[server]
	n.mu.RUnlock()
	if tools == nil {
		tools = n.add(server)
	}
	switch {
	case tools != nil:
		return server, label(tools, tool)
	case server.Tunnel != "":
		server.Tunnel = Other
	}
	server.Name = Other
	if tool != "" {
		tool = Other
	}
	return server, tool
}

func (n *NameLabels) add(server ServerName) *Labels {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.servers[server] == nil {
		if len(n.servers) >= maxLabelledServers || len(server.Tunnel)+len(server.Name) > maxShort {
			return nil
		}
		if n.servers == nil {
			n.servers = make(map[ServerName]*Labels)
		}
		n.servers[server] = NewLabels(maxLabelledTools)
	}
	return n.servers[server]
}
