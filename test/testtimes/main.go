// Command testtimes reads the stream of `go test -json` and prints it for people: a line for each package, the output of
// what failed, the slowest tests and a count. Its exit code is that of the tests. It does not know how they were run.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// slowest is how many tests the closing list names.
const slowest = 10

// longestLine bounds one line of the stream, in bytes; a test that prints more in one line is cut by the go command.
const longestLine = 16 << 20

func main() {
	ok, err := report(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testtimes:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// event is one line of the stream; see `go doc test2json`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64 // seconds
}

type testName struct{ pkg, test string }

type timed struct {
	testName
	seconds float64
}

// tally is what the stream has said so far.
type tally struct {
	w io.Writer
	// pending holds the output of what has not ended; a test that passes drops its own.
	pending map[testName][]string
	times   []timed
	// packages, passed, failed and skipped count what ended; subtests count, packages count apart.
	packages, passed, failed, skipped int
	// broken counts the packages that failed, and what failed to build.
	broken int
	// total is the sum of the packages' times in seconds.
	total float64
}

// report copies the readable part of the stream to w and says whether everything passed.
func report(r io.Reader, w io.Writer) (ok bool, err error) {
	t := &tally{w: w, pending: map[testName][]string{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		var e event
		if !strings.HasPrefix(lines.Text(), "{") || json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(w, lines.Text())
			continue
		}
		t.add(e)
	}
	if err := lines.Err(); err != nil {
		return false, fmt.Errorf("read the stream of go test: %w", err)
	}
	if t.packages == 0 && t.broken == 0 {
		return false, fmt.Errorf("the stream names no package; did go test start?")
	}
	t.close()
	return t.failed == 0 && t.broken == 0, nil
}

func (t *tally) add(e event) {
	name := testName{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(t.w, e.Output)
	case "build-fail":
		t.broken++
	case "output":
		t.pending[name] = append(t.pending[name], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.endPackage(e)
		} else {
			t.endTest(name, e)
		}
	}
}

func (t *tally) endTest(name testName, e event) {
	switch e.Action {
	case "pass":
		t.passed++
	case "skip":
		t.skipped++
	case "fail":
		t.failed++
		t.flush(name)
	}
	delete(t.pending, name)
	if !strings.Contains(e.Test, "/") {
		t.times = append(t.times, timed{name, e.Elapsed})
	}
}

func (t *tally) endPackage(e event) {
	if e.Action == "fail" {
		t.broken++
		for name := range t.pending { // tests that a panic or a timeout cut short
			if name.pkg == e.Package && name.test != "" {
				t.flush(name)
			}
		}
	}
	if e.Action != "skip" {
		t.packages++
		t.total += e.Elapsed
	}
	t.flush(testName{pkg: e.Package})
}

// flush prints what the named one said, but for the bare verdicts that the package's own line repeats.
func (t *tally) flush(name testName) {
	for _, line := range t.pending[name] {
		if line != "PASS\n" && line != "FAIL\n" && !strings.HasPrefix(line, "=== ") {
			fmt.Fprint(t.w, line)
		}
	}
	delete(t.pending, name)
}

func (t *tally) close() {
	slices.SortStableFunc(t.times, func(a, b timed) int { return cmp.Compare(b.seconds, a.seconds) })
	fmt.Fprintf(t.w, "\nslowest tests:\n")
	for _, x := range t.times[:min(slowest, len(t.times))] {
		fmt.Fprintf(t.w, "%8.2fs  %s %s\n", x.seconds, x.pkg, x.test)
	}
	fmt.Fprintf(t.w, "\n%d packages in %.1fs of test time: %d tests passed, %d failed, %d skipped\n",
		t.packages, t.total, t.passed, t.failed, t.skipped)
	if t.broken > 0 {
		fmt.Fprintf(t.w, "FAIL: %d packages or builds failed\n", t.broken)
	}
}
