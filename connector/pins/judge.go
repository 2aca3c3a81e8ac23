package pins

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// outcome is what a page means for a record.
type outcome struct {
	states  []State
	reports []report
	first   []int // the definitions that are pinned because the server is seen for the first time
	urgent  bool  // the record must be stored now: a restart would forget that something is amiss, or pin anew
	dirty   bool  // it should be stored some time
}

// unstored takes back what counts only when it is stored.
func (o *outcome) unstored() {
	for _, i := range o.first {
		o.states[i] = Unknown
	}
}

// report is a finding that may have been told.
type report struct {
	Finding
	hash     string // of the definition that it is about
	old, now []byte // of a change: its definitions
	date     time.Time
}

// finding writes the text of a change, which takes time and is mostly not needed.
func (r report) finding() Finding {
	if r.Kind == kindChanged {
		var at []string
		for _, c := range Changes(r.old, r.now) {
			at = append(at, c.At)
		}
		more := ""
		if len(at) > maxPlaces {
			at, more = at[:maxPlaces], fmt.Sprintf(" and %d more places", len(at)-maxPlaces)
		}
		r.Text = fmt.Sprintf("the definition differs from the one pinned on %s in %s%s", r.date.Format(time.DateOnly), strings.Join(at, ", "), more)
	}
	return r.Finding
}

// judge says how the definitions of a page stand to the record, and changes the record to what is known now. whole says that
// a list ends with the page that was followed from its beginning, and missing are the tools that it lacks.
func judge(rec *record, whole bool, sights []sight, missing []string, now time.Time) outcome {
	out := outcome{states: make([]State, len(sights))}
	since := now.Sub(rec.Begun)
	first := !rec.Settled && (rec.Begun.IsZero() || since >= 0 && since < window)
	j := &judgement{rec: rec, now: now, first: first, sights: sights, out: &out, twice: make(map[string]bool)}
	var odd []int
	for i := range sights {
		if rec.Tools[sights[i].name].pinnedAs(sights[i].hash) {
			out.states[i] = Pinned
		} else {
			odd = append(odd, i)
		}
	}
	if len(odd) > 0 {
		j.size = rec.size()
		j.repeated()
		for _, i := range odd {
			out.states[i] = j.one(i, &sights[i])
		}
	}
	j.settle(sights)
	j.gone(missing)
	if (whole || !first) && !rec.Settled && len(rec.Tools) > 0 {
		rec.Settled, out.urgent = true, true
	}
	return out
}

func (e *entry) pinnedAs(hash string) bool {
	return e != nil && e.Pinned != nil && e.Pinned.Hash == hash
}

// judgement is one judge at work.
type judgement struct {
	rec    *record
	now    time.Time
	first  bool // what is not suspicious is pinned
	size   int  // of the record
	out    *outcome
	sights []sight
	names  *nameIndex      // those of the page, and those that are known from others; made when needed
	twice  map[string]bool // names with several definitions
}

// repeated finds names that several different definitions of the page have.
func (j *judgement) repeated() {
	hashes := make(map[string]string, len(j.sights))
	for i := range j.sights {
		t := &j.sights[i]
		if hash, ok := hashes[t.name]; ok && hash != t.hash {
			j.twice[t.name] = true
		}
		hashes[t.name] = t.hash
	}
}

// one judges a definition that is not pinned.
func (j *judgement) one(i int, t *sight) State {
	e := j.rec.Tools[t.name]
	if e.pinnedAs(t.hash) { // by the same definition, further up the page
		return Pinned
	}
	findings := j.inspect(e, t)
	state := New
	switch {
	case len(findings) > 0:
		state = Suspicious
	case e != nil && e.Pinned != nil:
		state = Changed
	}
	for _, f := range findings {
		j.out.reports = append(j.out.reports, report{Finding: f, hash: t.hash})
	}
	name := shown(t.name, maxShownName)
	version, whole := j.version(e, t, findings)
	known := e != nil
	room := whole && len(j.rec.Tools) < maxTools
	switch {
	case !known && j.first && state == New && room:
		version.Accepted, version.By = version.Seen, "first sight"
		j.add(t.name, &entry{Pinned: version})
		j.out.first = append(j.out.first, i)
		return Pinned
	case !known && room:
		j.add(t.name, &entry{Pending: version})
	case known:
		j.pend(e, version)
	}
	if !whole || !known && !room {
		j.out.reports = append(j.out.reports, report{hash: t.hash, Finding: Finding{kindOverflow, name,
			fmt.Sprintf("the definition is not kept: %d tools and %d MiB of a server are, in UTF-8", maxTools, maxBytes>>20)}})
	}
	switch {
	case known && e.Pinned != nil:
		j.out.reports = append(j.out.reports, report{Finding: Finding{Kind: kindChanged, Tool: name}, hash: t.hash,
			old: []byte(e.Pinned.Definition), now: t.raw, date: e.Pinned.Accepted})
	case state == New, !known && !j.first:
		j.out.reports = append(j.out.reports, report{Finding: Finding{kindNew, name, "the tool was not there when the server's tools were pinned"}, hash: t.hash})
	}
	return state
}

// inspect judges a definition by itself. What was said of it when it became pending holds.
func (j *judgement) inspect(e *entry, t *sight) []Finding {
	if e != nil && e.Pending != nil && e.Pending.Hash == t.hash && !j.twice[t.name] {
		return e.Pending.Findings
	}
	if j.names == nil {
		j.names = newNameIndex()
		for name := range j.rec.Tools {
			j.names.add(name)
		}
		for i := range j.sights {
			j.names.add(j.sights[i].name)
		}
	}
	findings := append(inspectOne(Definition{t.name, t.raw}), j.names.collisions(t.name)...)
	if j.twice[t.name] {
		findings = append(findings, Finding{kindCollision, shown(t.name, maxShownName), "the list has this name more than once, with different definitions"})
	}
	return findings
}

// version makes what is kept of a definition, or what is left of it where there is no room.
func (j *judgement) version(e *entry, t *sight, findings []Finding) (v *Version, whole bool) {
	room := maxBytes - j.size
	switch {
	case e == nil:
		room -= len(t.name)
	case e.Pending != nil && e.Pending.Hash == t.hash && e.Pending.suspicious() == (len(findings) > 0):
		return e.Pending, e.Pending.Definition != ""
	default:
		room += e.Pending.size()
	}
	v = &Version{Hash: t.hash, Seen: j.now.UTC().Truncate(time.Second), Findings: findings[:min(len(findings), maxReasons)]}
	if len(t.raw) <= room && utf8.Valid(t.raw) {
		v.Definition = string(t.raw)
	}
	return v, v.Definition != ""
}

func (j *judgement) add(name string, e *entry) {
	j.rec.Tools[name] = e
	j.size += len(name) + e.Pinned.size() + e.Pending.size()
	if j.rec.Begun.IsZero() {
		j.rec.Begun = j.now.UTC().Truncate(time.Second)
	}
	j.out.urgent = true
}

// pend makes a version the pending one.
func (j *judgement) pend(e *entry, v *Version) {
	switch old := e.Pending; {
	case old == v:
		return
	case old == nil, v.suspicious() && !old.suspicious():
		j.out.urgent = true
	case old.Hash == v.Hash:
		return
	default:
		j.out.dirty = true
	}
	j.size += v.size() - e.Pending.size()
	e.Pending = v
}

// settle forgets what is pending for tools that are as pinned again, and lets a bad definition count for all of its name.
func (j *judgement) settle(sights []sight) {
	worst := make(map[string]State)
	for i := range sights {
		if state := j.out.states[i]; state != Pinned {
			worst[sights[i].name] = max(worst[sights[i].name], state)
		}
	}
	for i := range sights {
		if state, bad := worst[sights[i].name]; bad {
			j.out.states[i] = state
		} else if e := j.rec.Tools[sights[i].name]; e.pinnedAs(sights[i].hash) && e.Pending != nil {
			e.Pending, j.out.dirty = nil, true
		}
	}
}

// gone reports pinned tools that are missing, and forgets what was pending for others.
func (j *judgement) gone(missing []string) {
	slices.Sort(missing)
	for _, name := range missing {
		switch e := j.rec.Tools[name]; {
		case e == nil:
		case e.Pinned == nil:
			delete(j.rec.Tools, name)
			j.out.dirty = true
		default:
			j.out.reports = append(j.out.reports, report{hash: e.Pinned.Hash,
				Finding: Finding{kindGone, shown(name, maxShownName), "the list lacks this tool, which is pinned"}})
		}
	}
}
