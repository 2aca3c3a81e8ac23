package cell

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
)

// Config is what a Nursery needs. The zero value will do.
type Config struct {
	// Dir is where cells without namespaces get their HOME and TMPDIR. It is made if it is missing, for this user alone.
	// The default is sallyport-cells-<uid> in the system's directory for temporary files.
	Dir string
	// Logger hears what Start cannot return: remains of an earlier process that were cleared, or could not be. Optional.
	Logger *slog.Logger
}

const (
	// firstUser begins the users of cells: systemd leaves 1879048192 to 2147483647 to nobody, so no account is met there.
	firstUser = 2_000_000_000
	// maxCells bounds the cells of a Nursery that live at the same time, and so the users that it takes.
	maxCells = 1024
	// userBlocks is how many Nurseries can have users apart; each takes a block at random.
	userBlocks = 1 << 16
)

// Nursery starts cells and owns what they share. When Close has returned, no process of it is left.
type Nursery struct {
	dir      string
	logger   *slog.Logger
	launcher *launcher
	block    int // the first user of its cells

	// mu guards slots, cells and closed.
	mu     sync.Mutex
	slots  map[int]bool
	cells  map[*Process]bool
	closed bool
	// keepers counts the calls of Start and Probe under way and the cells that live.
	keepers sync.WaitGroup
}

// wardenName is the whole argument vector of a warden: by it Main knows that the process is one.
const wardenName = "sallyport-cell"

func isWarden() bool { return len(os.Args) == 1 && os.Args[0] == wardenName }

// NewNursery clears what a Nursery that was killed has left in Config.Dir, and starts nothing else.
func NewNursery(cfg Config) (*Nursery, error) {
	if isWarden() {
		// Without this a program that forgets Main would start itself again and again.
		return nil, fmt.Errorf("%w: this process was started to be the inside of a cell, but its main, or TestMain, does not call cell.Main first", ErrStart)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(os.TempDir(), fmt.Sprintf("sallyport-cells-%d", os.Getuid()))
	}
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	n := &Nursery{
		dir: cfg.Dir, logger: cfg.Logger, slots: map[int]bool{}, cells: map[*Process]bool{},
		block: firstUser + int(binary.LittleEndian.Uint32(random[:])%userBlocks)*maxCells,
	}
	if err := n.clearRemains(); err != nil {
		return nil, err
	}
	n.launcher = newLauncher()
	return n, nil
}

// Start makes a cell and starts the command in it. When it returns, the command runs or has been refused, with the reason.
func (n *Nursery) Start(spec Spec) (*Process, error) {
	p, _, err := n.start(context.Background(), spec, false)
	return p, err
}

// Probe does all that Start does up to the command itself, undoes it, and says what is in force; if the cell is impossible,
// it says why and what to do.
func (n *Nursery) Probe(ctx context.Context, spec Spec) (string, error) {
	p, force, err := n.start(ctx, spec, true)
	if err != nil {
		return "", err
	}
	p.Kill()
	<-p.done
	p.closePipes()
	return force, nil
}

func (n *Nursery) start(ctx context.Context, spec Spec, probe bool) (*Process, string, error) {
	if err := spec.validate(); err != nil {
		return nil, "", err
	}
	if err := spec.supported(); err != nil {
		return nil, "", err
	}
	o, err := spec.plan()
	if err != nil {
		return nil, "", err
	}
	o.Probe = probe
	if o.Slot, err = n.take(); err != nil {
		return nil, "", err
	}
	o.FirstCPU = n.block/maxCells + o.Slot*o.Limits.CPUs // spread over the processors, those of several nurseries too
	p, force, err := n.begin(ctx, o)
	if err != nil {
		n.release(o.Slot, nil)
		return nil, "", err
	}
	return p, force, nil
}

// take reserves a slot until release.
func (n *Nursery) take() (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return 0, ErrClosed
	}
	for slot := range maxCells {
		if !n.slots[slot] {
			n.slots[slot] = true
			n.keepers.Add(1)
			return slot, nil
		}
	}
	return 0, fmt.Errorf("%w: %d cells run already", ErrStart, maxCells)
}

func (n *Nursery) release(slot int, p *Process) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.slots, slot)
	delete(n.cells, p)
	n.keepers.Done()
}

// adopt makes Close kill p; a Nursery that was closed meanwhile kills it now.
func (n *Nursery) adopt(p *Process) {
	n.mu.Lock()
	n.cells[p] = true
	closed := n.closed
	n.mu.Unlock()
	if closed {
		p.Kill()
	}
}

// Close kills every cell and waits until none is left. A second Close only waits.
func (n *Nursery) Close() {
	n.mu.Lock()
	first := !n.closed
	n.closed = true
	cells := make([]*Process, 0, len(n.cells))
	for p := range n.cells {
		cells = append(cells, p)
	}
	n.mu.Unlock()
	for _, p := range cells {
		p.Kill()
	}
	n.keepers.Wait()
	if first {
		n.launcher.close()
	}
}
