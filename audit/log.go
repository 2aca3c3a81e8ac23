package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	checkpointEvery = time.Minute // if something was written
	syncEvery       = time.Second // off the way of calls
)

// Options are what a log needs beside its configuration.
type Options struct {
	// StateDir holds the key that signs, and the log itself where the configuration names no file. Required.
	StateDir string
	// Version is the product's, for start lines.
	Version string
	// Logger hears of what nobody waits for. Optional.
	Logger *slog.Logger
	// Publish gets each checkpoint, to be kept elsewhere. Optional. It must not block.
	Publish func(Checkpoint)
}

// Log writes events. It is safe for concurrent use. Make it with [Open] and close it.
type Log struct {
	cfg    Config
	path   string
	opts   Options
	key    ed25519.PrivateKey
	public PublicKey
	sink   *syslogSink // nil without a syslog

	stop chan struct{}
	done chan struct{}

	mu       sync.Mutex // guards what follows
	file     *os.File   // nil if there is none, or it could not be opened
	size     int64      // bytes of whole lines in file
	first    uint64     // number of file's first line; 0 if it is empty
	seq      uint64     // of the last line
	prev     string     // its hash
	buf      []byte
	dirty    bool // since the last sync
	unsigned bool // since the last checkpoint
	last     time.Time
	err      error // why nothing can be written
	lost     int64 // events that are in no line yet
	since    time.Time
	total    int64 // events that were lost, ever
}

// Open begins to write a log, after what is there already. It fails if the key cannot be had, if what is there cannot be read
// or another process writes it, and under strict if nothing can be written.
func Open(cfg Config, o Options) (*Log, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.StateDir == "" {
		return nil, errors.New("audit: set state_dir, where the key is kept that signs checkpoints")
	}
	if cfg.MaxSize == 0 {
		cfg.MaxSize = defaultMaxSize
	}
	if cfg.Keep == 0 {
		cfg.Keep = defaultKeep
	}
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	key, err := loadOrCreateKey(filepath.Join(o.StateDir, keyFile))
	if err != nil {
		return nil, err
	}
	l := &Log{
		cfg: cfg, path: cfg.Path(o.StateDir), opts: o, key: key, public: publicHalf(key), prev: noPrev,
		stop: make(chan struct{}), done: make(chan struct{}), last: time.Now(),
	}
	if cfg.Syslog != "" {
		l.sink = newSyslogSink(cfg.Syslog, o.Logger)
	}
	l.mu.Lock()
	err = l.open("opened")
	l.mu.Unlock()
	if err != nil && (cfg.Mode == Strict || !isWriteError(err)) {
		l.sink.close()
		return nil, err
	}
	go l.keep()
	return l, nil
}

// PublicKey is what checkpoints are verified with.
func (l *Log) PublicKey() PublicKey { return l.public }

// Begin records under strict that a call was allowed and is about to be made. If it fails, the call must not be made. In best
// effort it does nothing.
func (l *Log) Begin(e Event) error {
	if l.cfg.Mode != Strict {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.record(&Record{Type: typeBegin, Event: e})
}

// End records a decision, and what became of the call. An event that cannot be written is counted, and a line says so as soon
// as one can be. The error is nil in best effort.
func (l *Log) End(e Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.record(&Record{Type: typeEvent, Event: e})
	if err == nil {
		return nil
	}
	if l.lost == 0 {
		l.since = time.Now()
	}
	l.lost++
	l.total++
	if l.cfg.Mode != Strict {
		return nil
	}
	return err
}

// Err is why the log cannot be written; nil if it can.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Lost is how many events were not written since the log was opened.
func (l *Log) Lost() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// Close writes a last checkpoint, if something was written since the one before.
func (l *Log) Close() error {
	close(l.stop)
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.checkpoint()
	if l.file != nil {
		err = errors.Join(err, l.file.Sync(), l.file.Close())
		l.file = nil
	}
	l.sink.close()
	return err
}

// record writes a line, and before it how many events were lost, if any. l.mu is held.
func (l *Log) record(r *Record) error {
	if l.lost > 0 {
		if err := l.write(&Record{Type: typeLost, Count: l.lost, Since: l.since}); err != nil {
			return err
		}
		l.lost = 0
	}
	return l.write(r)
}

// write writes one line: whole, or not at all. l.mu is held.
func (l *Log) write(r *Record) error {
	if l.cfg.writesFile() && l.file == nil {
		if err := l.open("opened"); err != nil {
			l.err = err
			return err
		}
	}
	if l.file != nil && l.size > 0 && l.size >= l.cfg.MaxSize && r.Type != typeCheckpoint && r.Type != typeStart {
		if l.rotate(); l.file == nil {
			return l.err
		}
	}
	l.err = l.append(r)
	return l.err
}

// append adds one line to the chain. l.mu is held.
func (l *Log) append(r *Record) error {
	r.Seq, r.Prev, r.Time = l.seq+1, l.prev, time.Now()
	if r.Type == typeCheckpoint {
		c := checkpointOf(r)
		c.sign(l.key)
		r.Signature = c.Signature
	}
	l.buf = appendRecord(l.buf[:0], r)
	sum := sha256.Sum256(l.buf)
	l.buf = append(l.buf, '\n')
	if l.file != nil {
		if n, err := l.file.Write(l.buf); err != nil {
			if n > 0 {
				l.cutBack()
			}
			return &writeError{err}
		}
	}
	if l.first == 0 {
		l.first = r.Seq
	}
	l.size += int64(len(l.buf))
	l.seq, l.prev = r.Seq, hex.EncodeToString(sum[:])
	l.dirty, l.unsigned = true, r.Type != typeCheckpoint
	l.sink.send(l.buf[:len(l.buf)-1])
	return nil
}

// cutBack takes a part of a line out again. If that fails the file is opened anew for the next line, which then says what
// stands before it. l.mu is held.
func (l *Log) cutBack() {
	if l.file.Truncate(l.size) != nil {
		_ = l.file.Close()
		l.file = nil
	}
}

// checkpoint signs what was written since the last one. l.mu is held.
func (l *Log) checkpoint() error {
	if !l.unsigned || l.cfg.writesFile() && l.file == nil {
		return nil
	}
	r := Record{Type: typeCheckpoint, Log: l.public.LogID(), Key: l.public.String()}
	if err := l.append(&r); err != nil {
		l.err = err
		return err
	}
	l.last = time.Now()
	c := checkpointOf(&r)
	if l.opts.Publish != nil {
		l.opts.Publish(c)
	}
	if l.file == nil {
		return nil
	}
	return errors.Join(l.file.Sync(), c.publish(l.path+checkpointSuffix))
}

// keep syncs and signs now and then, and notices that somebody has moved the file away.
func (l *Log) keep() {
	defer close(l.done)
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-tick.C:
		case <-l.stop:
			return
		}
		err := l.look()
		if err == nil {
			told = ""
		} else if err.Error() != told {
			told = err.Error()
			l.opts.Logger.Error("the audit log cannot be written", "error", err, "hint", "see whether its disk is full or read-only; under audit: strict every call is refused meanwhile")
		}
	}
}

// look does what is due.
func (l *Log) look() error {
	l.mu.Lock()
	file, dirty := l.file, l.dirty
	l.dirty = false
	l.mu.Unlock()
	if file != nil && dirty {
		_ = file.Sync() // a file that is closed meanwhile was synced before
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil && l.replaced() {
		_ = errors.Join(l.file.Sync(), l.file.Close())
		l.file = nil
		if err := l.open("replaced"); err != nil {
			l.err = err
			return err
		}
	}
	if time.Since(l.last) < checkpointEvery {
		return nil
	}
	l.last = time.Now()
	return l.checkpoint()
}

// writeError says that a log that was well could not be written.
type writeError struct{ err error }

func (e *writeError) Error() string { return "audit: write: " + e.err.Error() }

func (e *writeError) Unwrap() error { return e.err }

func isWriteError(err error) bool {
	_, ok := errors.AsType[*writeError](err)
	return ok
}
