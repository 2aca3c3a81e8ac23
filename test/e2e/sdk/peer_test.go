package sdk_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// What makes this binary a server over stdio: the server's name, and the
// folder for its record.
const (
	peerVar   = "COMPATIBILITY_PEER"
	recordVar = "COMPATIBILITY_RECORD"
)

// another is the name for a command of others, which are the arguments.
const another = "another"

// playPeer is the whole process, if the environment makes it a server.
func playPeer() {
	name := os.Getenv(peerVar)
	if name == "" {
		return
	}
	if err := servePeer(name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// servePeer serves over stdin and stdout, and records what comes.
func servePeer(name string) error {
	file, err := os.CreateTemp(os.Getenv(recordVar), "record")
	if err != nil {
		return err
	}
	note := &record{to: file}
	in := &tap{from: os.Stdin, note: note}
	if name == another {
		cmd := exec.Command(os.Args[1], os.Args[2:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = in, os.Stdout, os.Stderr
		cmd.WaitDelay = time.Second // for its input, if it has ended by itself
		return cmd.Run()
	}
	peer := map[string]func(string) *server{goSDK: serveGoSDK, mcpGo: serveMCPGo}[name](stateless)
	var crew sync.WaitGroup
	for event, happens := range map[string]chan struct{}{waits: peer.waiting, stops: peer.cancelled} {
		crew.Go(func() {
			for range happens {
				note.add(entry{Event: event})
			}
		})
	}
	err = peer.stdio(context.Background(), in, os.Stdout)
	peer.close()
	return err
}

// The events of a record.
const (
	waits = "waits" // the call of wait has begun
	stops = "stops" // it has been cancelled
	leave = "leave" // the input has ended
)

// entry is one line of a record.
type entry struct {
	Event   string          `json:"event,omitempty"`
	Message json.RawMessage `json:"message,omitempty"`
}

// record is a file of what has come at one process.
type record struct {
	mu sync.Mutex // guards to
	to io.Writer
}

func (r *record) add(e entry) {
	line, err := json.Marshal(e)
	if err != nil {
		line = []byte("{}") // no message: it is the server's to refuse
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = r.to.Write(append(line, '\n')) // whoever misses it fails
}

// tap notes the lines of what is read through it.
type tap struct {
	from io.ReadCloser
	note *record
	line []byte
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	for _, b := range p[:n] {
		if t.line = append(t.line, b); b == '\n' {
			t.note.add(entry{Message: t.line[:len(t.line)-1]})
			t.line = nil
		}
	}
	if err != nil {
		t.note.add(entry{Event: leave})
	}
	return n, err
}

func (t *tap) Close() error { return t.from.Close() }
