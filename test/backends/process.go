package backends

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// startTimeout bounds waiting for a process that was started, and answerTimeout for what one is asked.
const (
	startTimeout  = 30 * time.Second
	answerTimeout = 10 * time.Second
)

// keeper runs a command, and ends it when its descriptor 3 ends: with the test, however that ends.
const keeper = `"$@" 3<&- & pid=$!
( cat >/dev/null <&3; kill -KILL $pid ) >/dev/null 2>&1 &
wait $pid`

// process is a backend that runs.
type process struct {
	name  string
	said  *bytes.Buffer // to be read when it has ended
	ended chan struct{}
	life  io.Closer
}

// run starts a command that ends with the test, and waits until ready has no error any more.
func run(t testing.TB, dir string, env []string, ready func(context.Context) error, command ...string) error {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	cmd := exec.CommandContext(context.Background(), "/bin/sh", append([]string{"-c", keeper, "keeper"}, command...)...)
	p := &process{name: filepath.Base(command[0]), said: new(bytes.Buffer), ended: make(chan struct{}), life: write}
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = dir, p.said, p.said, []*os.File{read}
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		_ = write.Close()
		return err
	}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // it is killed, or says why not
	}()
	if err := p.await(ready); err != nil {
		p.stop()
		return fmt.Errorf("%s does not start: %w\n%s", p.name, err, p.said)
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", p.name, tail(p.said.Bytes()))
		}
	})
	return nil
}

func (p *process) stop() {
	_ = p.life.Close()
	<-p.ended
}

func (p *process) await(ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return errors.New("it has ended")
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", startTimeout, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tail is the end of what a process said.
func tail(said []byte) []byte {
	const most = 4 << 10
	return said[max(0, len(said)-most):]
}

// ports finds addresses on loopback that are free on TCP and UDP. They are below those that the system gives to whoever asks for any,
// so that nobody gets one between being found and being used but by asking for it.
func ports(t testing.TB, n int) []string {
	t.Helper()
	const lowest, highest = 20000, 32767
	var found []string
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(highest-lowest+1))
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		defer tcp.Close() // together at the end, so that none is found twice
		udp, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		defer udp.Close()
		if found = append(found, addr); len(found) == n {
			return found
		}
	}
	t.Fatalf("there are no %d free ports", n)
	return nil
}

// tool finds a program in bin/tools, where make setup puts what the tests need, or in PATH.
func tool(t testing.TB, name, hint string) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(file), "../../bin/tools", name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: run make setup, or %s", name, hint)
	}
	return path
}

// client has no connections that outlive an answer.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: answerTimeout}

// ask gets a URL, whose answer is JSON unless into is nil.
func ask(ctx context.Context, url string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, resp.Status, tail(body))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(body, into)
}
