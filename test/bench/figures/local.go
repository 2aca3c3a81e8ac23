package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"sync"
	"time"

	"sallyport.dev/cell"
	"sallyport.dev/mcp"
	"sallyport.dev/mcp/stdio"
)

// echoArgument is the first argument of this program as a local MCP server that answers everything at once.
const echoArgument = "echo"

const (
	lineCall   = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"lookup","arguments":{"key":"a-key-of-some-length"}}}`
	lineAnswer = `,"result":{"content":[{"type":"text","text":"an answer of some length, as a lookup gives it"}]}}` + "\n"
)

// echo is the local server.
func echo(in io.Reader, out io.Writer) error {
	for lines := bufio.NewReader(in); ; {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return nil //nolint:nilerr // the end of its input is its end
		}
		_, rest, _ := bytes.Cut(line, []byte(`"id":`))
		id, _, _ := bytes.Cut(rest, []byte(","))
		answer := append([]byte(`{"jsonrpc":"2.0","id":`), id...)
		if _, err := out.Write(append(answer, lineAnswer...)); err != nil {
			return err
		}
	}
}

// localFigures are what local commands cost, one value a round.
type localFigures struct {
	plain, none, namespaces []time.Duration // from the start of a process to its first answer
	direct, bridge          []float64       // calls a second of many callers
	alone, bridged          []time.Duration // one call at a time, the median
}

// measureLocal measures in turn what a start costs without a cell, in one without isolation and in one with it, and what
// calls cost a client of the command itself and one behind the bridge.
func (p plan) measureLocal(ctx context.Context, self string) (f localFigures, err error) {
	nursery, err := cell.NewNursery(cell.Config{})
	if err != nil {
		return f, err
	}
	defer nursery.Close()
	spec := func(isolation cell.Isolation) cell.Spec {
		return cell.Spec{Command: []string{self, echoArgument}, Isolation: isolation, Network: true}
	}
	start := func(isolation cell.Isolation) (time.Duration, error) {
		began := time.Now()
		process, err := nursery.Start(spec(isolation))
		if err != nil {
			return 0, err
		}
		defer process.Stop(time.Second)
		return since(began, process.Stdin, process.Stdout)
	}
	for range p.rounds {
		took, err := startPlain(ctx, self)
		if err != nil {
			return f, err
		}
		f.plain = append(f.plain, took)
		if took, err = start(cell.None); err != nil {
			return f, err
		}
		f.none = append(f.none, took)
		if took, err = start(cell.Namespaces); err != nil {
			return f, err
		}
		f.namespaces = append(f.namespaces, took)
	}
	process, err := nursery.Start(spec(cell.Namespaces))
	if err != nil {
		return f, err
	}
	defer process.Stop(time.Second)
	other, err := nursery.Start(spec(cell.Namespaces))
	if err != nil {
		return f, err
	}
	defer other.Stop(time.Second)
	conn := stdio.New(stdio.Config{In: other.Stdin, Out: other.Stdout, Kind: stdio.Stateless, CallTimeout: time.Minute})
	life, end := context.WithCancel(ctx)
	var crew sync.WaitGroup
	crew.Go(func() { _ = conn.Run(life) }) // ends with the command
	defer crew.Wait()
	defer end()
	return f, p.measureLines(ctx, &f, process, conn)
}

func (p plan) measureLines(ctx context.Context, f *localFigures, process *cell.Process, conn *stdio.Conn) error {
	answers := bufio.NewReader(process.Stdout)
	for range p.rounds {
		calls, took, err := window(process.Stdin, answers, p.agents, p.load)
		if err != nil {
			return err
		}
		f.direct = append(f.direct, float64(calls)/took.Seconds())
		if calls, took, err = bridge(ctx, conn, p.agents, p.load); err != nil {
			return err
		}
		f.bridge = append(f.bridge, float64(calls)/took.Seconds())
		if calls, took, err = window(process.Stdin, answers, 1, p.single); err != nil {
			return err
		}
		f.alone = append(f.alone, took/time.Duration(calls))
		if calls, took, err = bridge(ctx, conn, 1, p.single); err != nil {
			return err
		}
		f.bridged = append(f.bridged, took/time.Duration(calls))
	}
	return nil
}

// startPlain starts the command as any program would, and waits for its first answer.
func startPlain(ctx context.Context, self string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, self, echoArgument)
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	took, err := since(began, in, out)
	_ = in.Close()
	return took, errors.Join(err, cmd.Wait())
}

// since makes one call and says how long after a moment it was answered.
func since(began time.Time, in io.Writer, out io.Reader) (time.Duration, error) {
	if _, err := io.WriteString(in, lineCall+"\n"); err != nil {
		return 0, err
	}
	_, err := bufio.NewReader(out).ReadSlice('\n')
	return time.Since(began), err
}

// window keeps some calls under way at the command itself.
func window(in io.Writer, out *bufio.Reader, size int, d time.Duration) (calls int, took time.Duration, err error) {
	began, open := time.Now(), 0
	for {
		for ; open < size && time.Since(began) < d; open++ {
			if _, err := io.WriteString(in, lineCall+"\n"); err != nil {
				return 0, 0, err
			}
		}
		if open == 0 {
			return calls, time.Since(began), nil
		}
		if _, err := out.ReadSlice('\n'); err != nil {
			return 0, 0, err
		}
		open--
		calls++
	}
}

// bridge keeps some calls under way behind the bridge.
func bridge(ctx context.Context, conn *stdio.Conn, callers int, d time.Duration) (calls int, took time.Duration, err error) {
	msgs, _, err := mcp.Parse([]byte(lineCall))
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	counts, errs := make([]int, callers), make([]error, callers)
	var crew sync.WaitGroup
	for i := range callers {
		crew.Go(func() {
			for time.Since(began) < d && errs[i] == nil {
				call := mcp.Call{Messages: msgs, Body: []byte(lineCall)}
				resp, err := conn.Do(ctx, &call)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
				counts[i]++
				errs[i] = err
			}
		})
	}
	crew.Wait()
	for _, n := range counts {
		calls += n
	}
	return calls, time.Since(began), errors.Join(errs...)
}

// middle is the median.
func middle[T float64 | time.Duration](values []T) T {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

// table is what local commands cost, in Markdown.
func (f localFigures) table(agents int) string {
	ratios := make([]float64, len(f.bridge))
	for i := range ratios {
		ratios[i] = f.bridge[i] / f.direct[i]
	}
	start := func(name string, values []time.Duration) string {
		return fmt.Sprintf("| %s | %.1f | %+.1f |\n", name, microseconds(middle(values))/1000, microseconds(middle(values)-middle(f.plain))/1000)
	}
	return "| start, to the first answer | ms | above a plain process |\n|---|--:|--:|\n" +
		start("a plain process", f.plain) + start("in a cell, `isolation: none`", f.none) + start("in a cell, isolated", f.namespaces) +
		fmt.Sprintf("\n| calls | %d at once, calls/s | against the command itself | one at a time, µs |\n|---|--:|--:|--:|\n", agents) +
		fmt.Sprintf("| to the command itself | %.0f | 1.00 | %.0f |\n", middle(f.direct), microseconds(middle(f.alone))) +
		fmt.Sprintf("| behind the bridge | %.0f | %.2f | %.0f |\n", middle(f.bridge), middle(ratios), microseconds(middle(f.bridged)))
}
