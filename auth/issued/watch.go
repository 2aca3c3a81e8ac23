package issued

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"sallyport.dev/auth/jwk"
)

const (
	// lookEvery is how often the directory is looked at.
	lookEvery = 2 * time.Second
	// patience is for how long the last good list of what is revoked stays in use.
	patience = time.Minute
	// rereads is how often the directory is read anew where it changed while it was read.
	rereads = 3
)

// Event is something that the log should have: no verdict on a token is one.
type Event struct {
	// Text is a fixed phrase.
	Text string
	// Err is what is wrong. Nil if nothing is.
	Err error
}

// The texts of events.
const (
	eventKeys    = "the keys of the gateway's own tokens have changed"
	eventList    = "the list of revoked tokens has changed"
	eventBadKey  = "a key of the gateway's own tokens cannot be read: it stays in use if it was known"
	eventBadDir  = "the keys and the list of revoked tokens cannot be read: what was last known stays in use for a minute"
	eventRefused = "the gateway's own tokens are refused until their directory is mended"
	eventMended  = "the gateway's own tokens can be verified again"
)

// view is what verifiers know, as of one look. It never changes.
type view struct {
	keys    map[string]ed25519.PublicKey
	set     []byte // the keys as a JWK Set
	revoked map[string]int64
	good    time.Time // when the directory was last found in order
}

// watcher looks at the directory. One goroutine uses it at a time.
type watcher struct {
	dir   directory
	files map[string]knownKey // by file name
	order []string            // of the files, the newest first

	list     list
	listInfo fs.FileInfo // of the file that list was read from; nil if none was ever good
	digest   [sha256.Size]byte

	badKey, badDir string // the errors of the last look, as they were told
	refused        bool   // told too
}

type knownKey struct {
	id     string
	info   fs.FileInfo
	public ed25519.PublicKey
}

// look reads what has changed. The errors are of single keys that cannot be read, and of all else: then it is not known
// what was revoked or retired meanwhile. A key whose file is gone is gone, and the list stays as it was where it cannot be
// read.
func (w *watcher) look() (keyErr, dirErr error) {
	for range rereads { // a list may be signed by a key that came after the keys were read
		found, err := w.dir.keyFiles()
		if errors.Is(err, fs.ErrNotExist) && w.listInfo == nil {
			found, err = nil, nil // nothing was issued yet
		}
		if err == nil {
			keyErr = w.takeKeys(found)
		}
		listErr := w.takeList()
		if dirErr = errors.Join(err, listErr); !errors.Is(listErr, errListSigner) {
			break
		}
	}
	return keyErr, dirErr
}

// takeKeys reads those keys that are new or another than before.
func (w *watcher) takeKeys(found []keyFile) error {
	files := make(map[string]knownKey, len(found))
	var order []string
	var errs []error
	for _, f := range found {
		known, isKnown := w.files[f.name]
		info, err := os.Lstat(w.dir.path(f.name))
		if err == nil && !(isKnown && unchanged(info, known.info)) {
			var key ed25519.PrivateKey
			if key, err = w.dir.load(f); err == nil {
				known, isKnown = knownKey{f.id, info, key.Public().(ed25519.PublicKey)}, true
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // retired just now
		}
		if err != nil {
			errs = append(errs, err)
		}
		if isKnown { // its id is the digest of the key: what the file has become says nothing against it
			files[f.name] = known
			order = append(order, f.name)
		}
	}
	w.files, w.order = files, order
	return errors.Join(errs...)
}

// takeList reads the list if it is another one, or the last look found something bad.
func (w *watcher) takeList() error {
	path := w.dir.path(listFile)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		switch {
		case w.listInfo != nil:
			return fmt.Errorf("%s is gone: %s", path, w.dir.mend())
		case len(w.files) > 0:
			return fmt.Errorf("%s is missing, though there are keys: %s", path, w.dir.mend())
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, pathText(err))
	}
	if w.badDir == "" && unchanged(info, w.listInfo) {
		return nil
	}
	if len(w.files) == 0 && w.listInfo == nil {
		return nil // the first key is about to come, or all are gone: no token is good either way
	}
	content, err := w.dir.read(listFile, maxListBytes)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, pathText(err))
	}
	next, err := readList(content, w.keys())
	digest := sha256.Sum256(content)
	switch {
	case w.listInfo != nil && digest == w.digest: // which a key that is gone now may have signed
	case err != nil:
		return fmt.Errorf("%s: %w: %s", path, err, w.dir.mend())
	case next.seq <= w.list.seq:
		return fmt.Errorf("%s is older than the list in use: if a backup was restored, revoke again what was revoked since, with sallyport token revoke", path)
	default:
		w.list = next
	}
	w.listInfo, w.digest = info, digest
	return nil
}

func (w *watcher) keys() map[string]ed25519.PublicKey {
	keys := make(map[string]ed25519.PublicKey, len(w.files))
	for _, k := range w.files {
		keys[k.id] = k.public
	}
	return keys
}

// view gives what the last look has found.
func (w *watcher) view(good time.Time) (*view, error) {
	keys := make([]jwk.Key, 0, len(w.order))
	for _, name := range w.order {
		keys = append(keys, jwk.Key{ID: w.files[name].id, Public: w.files[name].public, Algorithms: []string{alg}})
	}
	set, err := jwk.MarshalSet(keys)
	return &view{keys: w.keys(), set: set, revoked: w.list.revoked, good: good}, err
}

// Run looks at the directory every 2 s until ctx ends, so that what is revoked is refused within 10 s. If the list of what is
// revoked cannot be had, or nobody runs this, the last good one stays in use for a minute, and then every token is refused
// with [auth.ErrUnavailable]; at once, if there was never a good one. Call it once.
func (v *Verifier) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		v.look()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look takes over what has changed, and tells of it once.
func (v *Verifier) look() {
	w, before := &v.watch, v.current.Load()
	seq := w.list.seq
	keyErr, dirErr := w.look()
	good := before.good
	switch {
	case dirErr == nil:
		good = time.Now()
	case w.listInfo == nil: // there are keys, perhaps, and nothing is known of what is revoked
		good = time.Time{}
	}
	next, err := w.view(good)
	if err != nil {
		dirErr, next = err, before
	}
	v.current.Store(next)
	if string(next.set) != string(before.set) {
		v.tell(Event{Text: eventKeys})
	}
	if w.list.seq != seq {
		v.tell(Event{Text: eventList})
	}
	w.badKey = v.tellNew(eventBadKey, w.badKey, keyErr)
	w.badDir = v.tellNew(eventBadDir, w.badDir, dirErr)
	switch late := next.late(); {
	case late && !w.refused:
		v.tell(Event{eventRefused, dirErr})
	case !late && w.refused:
		v.tell(Event{Text: eventMended})
	}
	w.refused = next.late()
}

// tellNew tells of an error that was not told of last time, and gives what was.
func (v *Verifier) tellNew(text, told string, err error) string {
	if err == nil {
		return ""
	}
	if err.Error() != told {
		v.tell(Event{text, err})
	}
	return err.Error()
}

func (v *Verifier) tell(e Event) {
	if v.events != nil {
		v.events(e)
	}
}

func (w *view) late() bool { return time.Since(w.good) > patience }
