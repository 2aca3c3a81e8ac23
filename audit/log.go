package audit

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// checkpointEvery is how long a line waits for its signature.
	checkpointEvery = time.Minute
	// overdue is the age of the oldest unsigned line at which a checkpoint goes before the next line. It is reached only
	// if the clock is set ahead, the process is stopped for a while, or nothing could be written.
	overdue = 2 * checkpointEvery
	// syncEvery is how often lines are flushed to the disk, names are looked at, and what failed is tried again.
	syncEvery = time.Second
	// lookEvery is how long a file counts as untouched by others once it was looked at: at many lines a second the look would cost
	// a tenth of each.
	lookEvery = time.Millisecond
	// rotateRetry is how long a file that could not be rotated is written on.
	rotateRetry = time.Minute
)

var (
	// ErrClosed says that the log was closed.
	ErrClosed = errors.New("audit: the log is closed")
	// ErrNotWritten says that the log cannot be written now. What stopped it is wrapped with it.
	ErrNotWritten = errors.New("audit: the log cannot be written")

	errQueueFull = errors.New("the syslog does not keep up")
)

// Options are what a log needs beside its configuration.
type Options struct {
	// StateDir is the role's state_dir, for the signing key and the default file. Required.
	StateDir string
	// Version is the software version, for the start lines.
	Version string
	// Logger gets what goes wrong, once when it begins and once when it ends. Optional; default none.
	Logger *slog.Logger
	// Now is the clock. Optional; default [time.Now].
	Now func() time.Time
	// OnCheckpoint gets each checkpoint once it is on the disk, to be kept elsewhere; of several at once the last, which
	// vouches for them all. It is called by one goroutine at a time, and no event waits for it, but Close does. Optional.
	OnCheckpoint func(Checkpoint)
	// OnEvent gets what each line of a call says once it is written, with the line's time and its keys, to be shown elsewhere: it proves
	// nothing there. Events wait while it is called, so it must return at once, and it must not call the log. Optional.
	OnEvent func(at time.Time, attrs []slog.Attr)

	open       func(path string) (file, error) // tests put files in that fail
	lookAlways bool                            // tests change a file and write on at once
}

// Log is an audit log that is being written. Its methods may be called by several goroutines at once.
type Log struct {
	mode    Mode
	path    string
	toFile  bool
	maxSize int64
	keep    int
	version string
	logger  *slog.Logger
	clock   func() time.Time
	report  func(Checkpoint)
	onEvent func(time.Time, []slog.Attr)
	open    func(path string) (file, error)
	key     ed25519.PrivateKey
	public  PublicKey
	syslog  *syslogSender // nil without one
	lock    *os.File
	kick    chan struct{} // there is something for the keeper to do at once
	done    chan struct{} // closed to end the keeper
	keeper  sync.WaitGroup
	lostAll atomic.Int64

	lookAlways bool

	// mu guards what follows. It is held while a line is written, and never while a file is flushed.
	mu sync.Mutex
	// seq and prev are the last line's number and hash.
	seq  uint64
	prev string
	// file is nil until it could be opened. size is what it should have, or unknownSize; first is its first line's number, 0 if it has none.
	// looked is when size was last compared.
	file   file
	size   int64
	first  uint64
	looked time.Time
	// unended says that the file does not end in a newline, and recovered is the line to write behind what is no line.
	unended   bool
	recovered *Record
	// failed is the line of the last write, if that failed: its hash and length tell it from bytes of somebody else.
	failed failedWrite
	// startDue is the reason of a start that has to be written first, and signDue says that a checkpoint has to follow it.
	startDue string
	signDue  bool
	// unsigned counts lines since the last checkpoint, and unsignedSince is the time of the first of them.
	unsigned      int
	unsignedSince time.Time
	// lost counts events since lostSince that no line tells of yet.
	lost      int64
	lostSince time.Time
	// rotateAfter is when a rotation that failed is tried again.
	rotateAfter time.Time
	// err is why the last line could not be written, syncErr why it may not have reached the disk.
	err, syncErr error
	// unsynced, retired, latest and pruneDue are work for the keeper: lines to flush, files to flush and close, a
	// checkpoint to publish, old files to delete.
	unsynced bool
	retired  []file
	latest   *Checkpoint
	pruneDue bool
	closed   bool
	// buf and hex are reused for each line.
	buf []byte
	hex [2 * 32]byte
}

// Open begins to write the log, and makes the signing key, its folder and the default folder if they are not there. It goes on
// where the last process stopped, also after a crash. It fails if the configuration, the key or the file cannot be
// used, or if somebody else writes the log; a disk that is full at this time is no such failure, but what Err tells.
func Open(cfg Config, opts Options) (*Log, error) {
	if !cfg.Enabled() {
		return nil, errors.New("audit: mode: required: strict or best_effort")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if opts.StateDir == "" {
		return nil, errors.New("audit: state_dir: required, for the key that signs the log")
	}
	if err := os.MkdirAll(opts.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("audit: make state_dir: %w", err)
	}
	key, err := loadOrCreateKey(filepath.Join(opts.StateDir, keyFile))
	if err != nil {
		return nil, err
	}
	l := &Log{
		mode: cfg.Mode, path: cfg.Path(opts.StateDir), toFile: cfg.writesFile(), maxSize: cfg.MaxSize, keep: cfg.Keep, version: opts.Version,
		logger: opts.Logger, clock: opts.Now, report: opts.OnCheckpoint, onEvent: opts.OnEvent, open: opts.open, lookAlways: opts.lookAlways, key: key, public: publicHalf(key),
		kick: make(chan struct{}, 1), done: make(chan struct{}), prev: noPrev, size: unknownSize, startDue: reasonOpened,
	}
	l.setDefaults()
	if cfg.File == "" {
		if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
			return nil, fmt.Errorf("audit: make the log's folder: %w", err)
		}
	}
	if l.lock, err = lock(l.path); err != nil {
		return nil, err
	}
	if err := l.resume(); err != nil {
		_ = l.lock.Close() // nothing was written
		return nil, fmt.Errorf("audit: open the log %s: %w", l.path, err)
	}
	if cfg.Syslog != "" {
		to, _ := parseSyslog(cfg.Syslog) // Validate has parsed it
		l.syslog = newSyslogSender(to, l.logger)
	}
	l.mu.Lock()
	_ = l.note(l.ready()) // what is wrong with it is told by Err and each call
	l.mu.Unlock()
	l.keeper.Go(l.keepUp)
	return l, nil
}

func (l *Log) setDefaults() {
	if l.maxSize == 0 {
		l.maxSize = defaultMaxSize
	}
	if l.keep == 0 {
		l.keep = defaultKeep
	}
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	if l.clock == nil {
		l.clock = time.Now
	}
	if l.open == nil {
		l.open = openFile
	}
}

// Begin records a call that is about to be made, so that a crash during the call leaves a trace. Under strict an error
// means that the call must not be made: it wraps ErrNotWritten, or is ErrClosed. Under best_effort nothing happens,
// and there is no error.
func (l *Log) Begin(e Event) error {
	if l.mode != Strict {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.syncErr != nil && !l.closed {
		return fmt.Errorf("%w: %w", ErrNotWritten, l.syncErr)
	}
	return l.put(typeBegin, &e)
}

// End records a decision, and what became of the call if one was made. Under strict an error means that the event is
// not in the log: it wraps ErrNotWritten, or is ErrClosed. Under best_effort there is no error; an event that cannot be
// written is counted, and a lost line tells of it as soon as one can be written.
func (l *Log) End(e Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.put(typeEvent, &e)
	if err != nil {
		if l.lost == 0 {
			l.lostSince = l.clock()
		}
		l.lost++
		l.lostAll.Add(1)
	}
	if l.mode != Strict {
		return nil
	}
	return err
}

// Err says why the log cannot be written now; nil if it can, as far as the last attempt and the last second tell.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return ErrClosed
	case l.err != nil:
		return l.err
	case l.syncErr != nil:
		return fmt.Errorf("%w: %w", ErrNotWritten, l.syncErr)
	}
	return nil
}

// Lost counts the events since Open that are not in the log.
func (l *Log) Lost() int64 { return l.lostAll.Load() }

// Dropped counts the lines since Open that did not reach the syslog. Those that a datagram lost on its way are not known.
func (l *Log) Dropped() int64 {
	if l.syslog == nil {
		return 0
	}
	return l.syslog.dropped.Load()
}

// PublicKey is the public half of the key that signs the checkpoints.
func (l *Log) PublicKey() PublicKey { return l.public }

// Close writes a last checkpoint, flushes all and frees the log. It returns why that failed. Later events are refused.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	err := l.ready()
	if err == nil && l.unsigned > 0 {
		err = l.checkpoint()
	}
	err = l.note(err)
	l.closed = true
	l.mu.Unlock()
	close(l.done)
	l.keeper.Wait()
	err = errors.Join(err, l.flush())
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
	}
	if l.syslog != nil {
		l.syslog.close()
	}
	return errors.Join(err, l.lock.Close())
}
