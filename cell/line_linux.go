package cell

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// The descriptors that a warden inherits beside the standard three, which are the command's.
const (
	controlFD = 3 // the order, then single bytes; its end means: kill all
	reportFD  = 4 // reports, one a line
	lockFD    = 5 // without namespaces: the lock on its room, which needs no more than to be held
)

// terminateAll, on the control pipe, asks the warden to send SIGTERM to all in the cell.
const terminateAll = 't'

const (
	// startTime bounds the making of a cell: it takes milliseconds, and a second on a machine that thrashes.
	startTime = 15 * time.Second
	// leaveTime is what a warden without namespaces gets to kill what it has started, before it is killed itself.
	leaveTime = 5 * time.Second
	// maxReport bounds a line of a warden's report, and the text of one that crashed.
	maxReport = 8 << 10
)

// errVanished is the reason of a cell whose warden ended without a word.
var errVanished = errors.New("cell: killed")

// report is what a warden says.
type report struct {
	// Started says that the command runs.
	Started bool `json:"started,omitempty"`
	// Force says what is in force, to a probe.
	Force string `json:"force,omitempty"`
	// Refused is set when the command was not started, and says why.
	Refused string `json:"refused,omitempty"`
	// Unsupported goes with Refused if the system is at fault, not the Spec.
	Unsupported bool `json:"unsupported,omitempty"`
	// Ended says that the command has ended. Reason is empty for the exit code 0.
	Ended  bool   `json:"ended,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// line is the nursery's end of what it shares with a warden.
type line struct {
	warden  *os.Process
	control *os.File
	report  *os.File
	reports *bufio.Reader
	room    *room // nil with namespaces
}

func newLine(warden *os.Process, control, reports *os.File, own *room) *line {
	return &line{warden: warden, control: control, report: reports, reports: bufio.NewReaderSize(reports, maxReport), room: own}
}

func (l *line) terminate() {
	_, _ = l.control.Write([]byte{terminateAll}) // fails only if the warden is gone
}

// kill ends the warden. With namespaces the kernel takes the rest of the cell along; without, the warden has to do that.
func (l *line) kill() {
	l.control.Close()
	if l.room == nil {
		_ = l.warden.Kill() // fails only if it is gone
		return
	}
	time.AfterFunc(leaveTime, func() { _ = l.warden.Kill() })
}

// instruct sends the order and returns the first report. Its error says why the command was not started.
func (l *line) instruct(o order) (report, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return report{}, fmt.Errorf("%w: write the order: %w", ErrStart, err)
	}
	timer := time.AfterFunc(startTime, l.kill)
	defer timer.Stop()
	if _, err := l.control.Write(append(text, '\n')); err != nil {
		return report{}, fmt.Errorf("%w: the warden ended before it had its order: %w; does main call cell.Main first?", ErrStart, err)
	}
	first, err := l.read()
	switch {
	case errors.Is(err, io.EOF):
		return report{}, fmt.Errorf("%w: the warden ended without a word; does main call cell.Main first?", ErrStart)
	case err != nil:
		return report{}, fmt.Errorf("%w: %w", ErrStart, err)
	case first.Refused != "" && first.Unsupported:
		return report{}, fmt.Errorf("%w: %s", ErrUnsupported, first.Refused)
	case first.Refused != "":
		return report{}, fmt.Errorf("%w: %s", ErrStart, first.Refused)
	}
	return first, nil
}

// outcome waits until the warden has said how the command ended, or is gone.
func (l *line) outcome() error {
	last, err := l.read()
	switch {
	case errors.Is(err, io.EOF):
		return errVanished
	case err != nil:
		return fmt.Errorf("cell: %w", err)
	case last.Reason != "":
		return fmt.Errorf("cell: %s", last.Reason)
	}
	return nil
}

// read returns the next report. What is no report is the text of a crash, which becomes the error.
func (l *line) read() (report, error) {
	text, err := l.reports.ReadSlice('\n')
	if len(text) == 0 && err != nil {
		return report{}, err
	}
	var r report
	if json.Unmarshal(text, &r) == nil {
		return r, nil
	}
	first := string(text)
	rest, _ := io.ReadAll(io.LimitReader(l.reports, maxReport)) // a crash that is cut short is a crash all the same
	return report{}, fmt.Errorf("the warden failed: %s", strings.TrimSpace(first+string(rest)))
}

// hangUp waits for the warden, and so for all of a cell with namespaces, and clears the room of one without.
func (l *line) hangUp() {
	_, _ = l.warden.Wait() // how the warden itself ended says nothing
	l.control.Close()
	l.report.Close()
	l.room.remove()
}
