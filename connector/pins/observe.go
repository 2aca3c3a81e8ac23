package pins

import (
	"crypto/sha256"
	"fmt"
	"hash/maphash"
	"sync"
	"time"
)

// server is what a process knows of one server.
type server struct {
	name  string
	store *Store

	mu       sync.Mutex // guards what follows, and is held while the file is read or written
	rec      *record    // as stored
	id       identity   // of the file that rec was read from
	loaded   bool
	err      error     // why the file cannot be used
	retry    time.Time // when it is tried again
	written  time.Time
	holdOff  time.Time            // no write before
	seen     map[string]*sighting // by tool; of those in rec alone
	page     uint64               // counts pages
	lists    map[string]names     // by the cursor of the next page, the names on those before
	seed     maphash.Seed
	cursors  []string // of lists, oldest first
	once     map[[32]byte]struct{}
	onceFull bool
	lost     bool // the file went away
}

// sighting is the definition of a tool that was seen last.
type sighting struct {
	sum        [32]byte // of the bytes
	hash       string   // of the canonical form
	suspicious bool
	page       uint64
}

// names is a set of names, by their hashes: it is bounded in bytes too.
type names map[uint64]struct{}

// sight is a definition on a page.
type sight struct {
	name string
	raw  []byte
	sum  [32]byte
	hash string
}

// refresh reads the file anew if it is another one than was read.
func (s *server) refresh(now time.Time) error {
	if s.err != nil && now.Before(s.retry) && now.After(s.retry.Add(-2*writeRetry)) { // unless the clock was set back
		return s.err
	}
	info, err := s.store.look(s.name)
	if err == nil && s.err == nil && s.loaded && s.id.same(info) {
		return nil
	}
	var rec *record
	var id identity
	if err == nil {
		rec, id, err = s.store.read(s.name)
	}
	if s.err = err; err != nil {
		s.retry = now.Add(writeRetry)
		return err
	}
	if s.loaded && id.info == nil && s.id.info != nil {
		s.lost = true
	}
	s.use(rec, id)
	return nil
}

// use makes a record that was read or written the current one.
func (s *server) use(rec *record, id identity) {
	s.rec, s.id, s.loaded = rec, id, true
	for name := range s.seen {
		if rec.Tools[name] == nil {
			delete(s.seen, name)
		}
	}
	if s.onceFull { // whoever wrote the file has looked
		clear(s.once)
		s.onceFull = false
	}
}

func (s *server) status(tool string, now time.Time) State {
	if s.refresh(now) != nil {
		return Unreadable
	}
	e := s.rec.Tools[tool]
	if e == nil {
		if len(s.rec.Tools) == 0 {
			return Unknown
		}
		return New
	}
	k := s.seen[tool]
	switch {
	case k == nil:
		return e.state()
	case e.Pinned != nil && k.hash == e.Pinned.Hash:
		return Pinned
	case k.suspicious:
		return Suspicious
	case e.Pinned != nil:
		return Changed
	}
	return New
}

// observe judges a page and stores what is new.
func (s *server) observe(page Page, sights []sight, now time.Time) ([]State, []Finding) {
	if err := s.refresh(now); err != nil {
		states := make([]State, len(sights))
		for i := range states {
			states[i] = Unreadable
		}
		return states, s.tell([]report{{Finding: Finding{Kind: kindState, Text: err.Error()}}})
	}
	s.page++
	unchanged := s.mark(sights)
	missing, whole := s.missing(page, sights)
	if unchanged && len(missing) == 0 && !s.lost && (s.rec.Settled || !whole) {
		states := make([]State, len(sights))
		for i := range states {
			states[i] = Pinned
		}
		return states, nil
	}
	out := judge(s.rec.clone(), whole, sights, missing, now)
	if s.lost {
		s.lost = false
		out.reports = append(out.reports, report{Finding: Finding{Kind: kindState,
			Text: "the file of pins has gone; what the server lists now is pinned anew: " + s.store.Path(s.name)}, hash: now.String()})
	}
	if now.Before(s.holdOff.Add(-2 * writeRetry)) { // the clock was set back
		s.holdOff = now
	}
	since := now.Sub(s.written)
	if (out.urgent || out.dirty && (since < 0 || since >= writeEvery)) && !now.Before(s.holdOff) {
		lost := out.reports
		rec, id, err := s.store.update(s.name, func(fresh *record) (bool, error) {
			out = judge(fresh, whole, sights, missing, now)
			return out.urgent || out.dirty, nil
		})
		if err != nil {
			s.holdOff = now.Add(writeRetry)
			out.reports = append(lost, report{Finding: Finding{Kind: kindState, Text: err.Error()}})
			out.unstored()
		} else {
			out.reports = append(out.reports, stateReports(lost)...)
			s.written = now
			s.use(rec, id)
		}
	} else if out.urgent {
		out.unstored()
	}
	s.remember(sights, out.states)
	return out.states, s.tell(out.reports)
}

// stateReports are the reports of those that judging a page does not make.
func stateReports(all []report) []report {
	var kept []report
	for _, r := range all {
		if r.Kind == kindState {
			kept = append(kept, r)
		}
	}
	return kept
}

// mark notes that the tools of a page were seen, finds their hashes, and reports whether all are as pinned.
func (s *server) mark(sights []sight) bool {
	unchanged := true
	for i := range sights {
		t := &sights[i]
		k, e := s.seen[t.name], s.rec.Tools[t.name]
		if k != nil && k.sum == t.sum {
			t.hash = k.hash
		} else {
			t.hash = fingerprint(t.raw)
		}
		if k == nil && e != nil {
			k = &sighting{sum: t.sum, hash: t.hash}
			s.seen[t.name] = k
		}
		if k != nil {
			k.page = s.page
		}
		if e == nil || e.Pinned == nil || e.Pending != nil || e.Pinned.Hash != t.hash {
			unchanged = false
		} else {
			k.sum, k.hash, k.suspicious = t.sum, t.hash, false
		}
	}
	return unchanged
}

// missing returns the tools that a list which ends with this page lacks, and whether one does that was followed from its beginning. A list
// is followed by its cursors, so that those of several callers may come mixed; of one whose beginning is not known nothing is missing, and
// nothing has ended: anybody may ask for the last page alone.
func (s *server) missing(page Page, sights []sight) (missing []string, whole bool) {
	before, known := s.lists[page.Cursor]
	if page.Cursor == "" {
		before, known = nil, true
	}
	if !known {
		return nil, false
	}
	if page.Next != "" {
		s.follow(page.Next, before, sights)
		return nil, false
	}
	for name := range s.rec.Tools {
		if k := s.seen[name]; k != nil && k.page == s.page {
			continue
		}
		if _, ok := before[maphash.String(s.seed, name)]; !ok {
			missing = append(missing, name)
		}
	}
	return missing, true
}

// follow remembers what was on the pages before the one that a cursor leads to.
func (s *server) follow(cursor string, before names, sights []sight) {
	if len(cursor) > maxCursor || len(before)+len(sights) > 2*maxTools {
		return
	}
	all := make(names, len(before)+len(sights))
	for name := range before {
		all[name] = struct{}{}
	}
	for i := range sights {
		all[maphash.String(s.seed, sights[i].name)] = struct{}{}
	}
	if _, ok := s.lists[cursor]; !ok {
		if s.cursors = append(s.cursors, cursor); len(s.cursors) > maxLists {
			delete(s.lists, s.cursors[0])
			s.cursors = s.cursors[1:]
		}
	}
	s.lists[cursor] = all
}

// remember notes what was seen last of each tool in the record. A definition that is not the pinned one counts more than
// one of the same name that is.
func (s *server) remember(sights []sight, states []State) {
	for i := range sights {
		t := &sights[i]
		e := s.rec.Tools[t.name]
		if e == nil {
			continue
		}
		k := s.seen[t.name]
		if k == nil {
			k = new(sighting)
			s.seen[t.name] = k
		} else if k.page == s.page && e.Pinned != nil && t.hash == e.Pinned.Hash && k.hash != t.hash && states[i] != Pinned {
			continue
		}
		k.sum, k.hash, k.page = t.sum, t.hash, s.page
		k.suspicious = states[i] == Suspicious
	}
}

// tell returns the findings that were not told yet.
func (s *server) tell(reports []report) []Finding {
	var findings []Finding
	more := 0
	for _, r := range reports {
		key := sha256.Sum256([]byte(r.Kind + "\x00" + r.Tool + "\x00" + r.hash))
		if r.Kind == kindState {
			key = sha256.Sum256([]byte(r.Kind + "\x00" + r.hash + r.Text))
		}
		if _, ok := s.once[key]; ok {
			continue
		}
		if len(s.once) >= maxOnce {
			if !s.onceFull {
				s.onceFull = true
				findings = append(findings, Finding{Kind: kindOverflow,
					Text: fmt.Sprintf("there were more than %d findings; no more are told until some are accepted", maxOnce)})
			}
			break
		}
		s.once[key] = struct{}{}
		if len(findings) < maxEmitted {
			findings = append(findings, r.finding())
		} else {
			more++
		}
	}
	if more > 0 {
		findings = append(findings, Finding{Kind: kindOverflow, Text: fmt.Sprintf("and %d more findings: see sallyport pins diff", more)})
	}
	return findings
}
