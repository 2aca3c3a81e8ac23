package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/connector"
)

// The peers that the connector starts itself, by their names in the table.
const (
	goSDKStdio      = "go-sdk over stdio"
	mcpGoStdio      = "mcp-go over stdio"
	referenceStdio  = "server-everything over stdio"
	filesystemStdio = "server-filesystem over stdio"
)

// local is a command that is a server over stdio.
type local struct {
	command []string
	env     map[string]string
	read    []string
	record  string // a folder
}

// configured is the connector's configuration of it.
func (l local) configured() connector.Server {
	env := make(map[string]connector.Variable)
	for name, text := range l.env {
		env[name] = connector.Variable{Text: text}
	}
	return connector.Server{Command: l.command, Env: env, Read: l.read, Write: []string{l.record}}
}

// environ is its environment without a connector.
func (l local) environ() []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.record}
	for name, text := range l.env {
		env = append(env, name+"="+text)
	}
	return env
}

// cmd prepares it to be run without a connector.
func (l local) cmd() *exec.Cmd {
	cmd := exec.Command(l.command[0], l.command[1:]...)
	cmd.Env = l.environ()
	return cmd
}

// serveLocal makes a command of a server, and returns how it is used.
func serveLocal(t *testing.T, name string) (local, *server) {
	t.Helper()
	var peer *server
	var l local
	switch name {
	case goSDKStdio, mcpGoStdio:
		l = thisBinary(t, strings.TrimSuffix(name, " over stdio"))
		peer = &server{script: plain(), waiting: make(chan struct{}, 10), cancelled: make(chan struct{}, 10)}
		peer.news = func(ctx context.Context, c client) { _, _ = c.call(ctx, request{"change", noArguments()}) }
		watch(t, transcript{l.record}, peer)
	case referenceStdio:
		l = nodeServer(t, "server-everything", "stdio")
		peer = everythingOverStdio()
	case filesystemStdio:
		dir := t.TempDir()
		file := filepath.Join(dir, "odd.txt")
		if err := os.WriteFile(file, []byte(oddText), 0o644); err != nil {
			t.Fatal(err)
		}
		l = nodeServer(t, "server-filesystem", dir)
		l.read = append(l.read, dir)
		peer = &server{script: script{echo: func(string) request { return request{"read_text_file", map[string]any{"path": file}} }}}
	}
	peer.release, peer.close = func() {}, func() {}
	return l, peer
}

// thisBinary makes this binary the command, which plays a peer.
func thisBinary(t *testing.T, peer string, args ...string) local {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const nobody = 65534
	if os.Getuid() == 0 { // a command may not write where root does
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return local{command: append([]string{self}, args...), env: map[string]string{peerVar: peer, recordVar: dir}, record: dir}
}

// nodeServer is a server of the npm packages, behind what records its input.
func nodeServer(t *testing.T, name string, args ...string) local {
	t.Helper()
	program, err := exec.LookPath("node")
	if err == nil {
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil {
		t.Fatalf("Node.js is missing: run make setup (%v)", err)
	}
	peers, err := filepath.Abs(peersDir)
	if err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(peers, "node_modules/@modelcontextprotocol", name, "dist/index.js")
	if _, err := os.Stat(main); err != nil {
		t.Fatalf("%s is not installed: run make setup (%v)", name, err)
	}
	l := thisBinary(t, another, append([]string{program, main}, args...)...)
	l.read = []string{peers, filepath.Dir(program)}
	return l
}

// watch lets a peer here tell what the process of it has recorded, until the
// test ends.
func watch(t *testing.T, of transcript, peer *server) {
	ctx, stop := context.WithCancel(context.Background())
	var crew sync.WaitGroup
	crew.Go(func() {
		told := make(map[string]int)
		for ctx.Err() == nil {
			for event, happens := range map[string]chan struct{}{waits: peer.waiting, stops: peer.cancelled} {
				for n := of.count(event); told[event] < n; told[event]++ {
					happens <- struct{}{}
				}
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(func() {
		stop()
		crew.Wait()
	})
}

// transcript is the folder of the records of a command's processes.
type transcript struct{ dir string }

var _ witness = transcript{}

// heard is what is looked for in a message.
type heard struct {
	event  string
	Method string
	ID     json.RawMessage
	Params struct {
		ProtocolVersion string
		RequestID       json.RawMessage
		ClientInfo      struct{ Name string }
		Meta            struct {
			Version string                `json:"io.modelcontextprotocol/protocolVersion"`
			Client  struct{ Name string } `json:"io.modelcontextprotocol/clientInfo"`
		} `json:"_meta"`
	}
}

// ours is the client that lists a command's tools when the connector starts.
const ours = "sallyport"

// lines returns what has come at the processes, but those that the connector
// has called for itself.
func (r transcript) lines() (all []heard) {
	files, _ := filepath.Glob(filepath.Join(r.dir, "record*"))
	for _, file := range files {
		text, _ := os.ReadFile(file) // it is read again
		own := false
		var of []heard
		for line := range bytes.Lines(text) {
			var e entry
			if json.Unmarshal(line, &e) != nil { // it is being written
				break
			}
			h := heard{event: e.Event}
			_ = json.Unmarshal(e.Message, &h) // what is no message is the server's to refuse
			own = own || h.Params.ClientInfo.Name == ours || h.Params.Meta.Client.Name == ours
			of = append(of, h)
		}
		if !own {
			all = append(all, of...)
		}
	}
	return all
}

func (r transcript) count(event string) (n int) {
	for _, h := range r.lines() {
		if h.event == event {
			n++
		}
	}
	return n
}

func (r transcript) calls() (n int) {
	for _, h := range r.lines() {
		if h.Method == "tools/call" {
			n++
		}
	}
	return n
}

func (r transcript) told() (cancelled bool) {
	var last string
	for _, h := range r.lines() {
		switch h.Method {
		case "tools/call":
			last, cancelled = string(h.ID), false
		case "notifications/cancelled":
			cancelled = cancelled || string(h.Params.RequestID) == last
		}
	}
	return cancelled
}

// listens cannot be seen over stdio, where nothing is said about it; what the
// server says before is kept for the client.
func (transcript) listens() bool { return true }

func (r transcript) ended() bool { return r.count(leave) > 0 }

func (r transcript) spoke() []string {
	revisions := make(map[string]bool)
	for _, h := range r.lines() {
		revisions[h.Params.Meta.Version] = true
		if h.Method == "initialize" {
			revisions[h.Params.ProtocolVersion] = true
		}
	}
	delete(revisions, "")
	return slices.Sorted(maps.Keys(revisions))
}
