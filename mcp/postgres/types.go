package postgres

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// maxTypes bounds what is remembered of types, and typesAge how long: a type of a user may be renamed.
	maxTypes = 4096
	typesAge = 5 * time.Minute
)

// typeKey is a type with its modifier, such as numeric(12,2); -1 is no modifier.
type typeKey struct {
	oid uint32
	mod int32
}

// typeInfo is what is known of a type.
type typeInfo struct {
	name string
	// element is the type of the elements of an array, and comma says that a comma separates them; 0 for what is no array.
	element uint32
	comma   bool
}

// types remembers the types of a database. Make it zero.
type types struct {
	// mu guards what follows.
	mu    sync.Mutex
	known map[typeKey]typeInfo
	since time.Time
}

// of returns what is known of the types of a statement's parameters and columns, and asks the database for what is not.
// It asks in the statement's own transaction, beside it, by names that no search_path changes the meaning of.
func (t *types) of(l *link, p prepared) (map[typeKey]typeInfo, error) {
	found := map[typeKey]typeInfo{}
	missing := map[typeKey]bool{}
	t.mu.Lock()
	if len(t.known) >= maxTypes || time.Since(t.since) > typesAge {
		t.known, t.since = map[typeKey]typeInfo{}, time.Now()
	}
	look := func(k typeKey) {
		if info, ok := t.known[k]; ok {
			found[k] = info
		} else {
			missing[k] = true
		}
	}
	for _, oid := range p.params {
		look(typeKey{oid, -1})
	}
	for _, f := range p.fields {
		look(f.kind)
	}
	t.mu.Unlock()
	if len(missing) == 0 {
		return found, nil
	}
	asked, err := ask(l, missing)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, info := range asked {
		found[k], t.known[k] = info, info
	}
	return found, nil
}

// typesStatement has a name, because the statement that is about to run has none.
const typesStatement = "sallyport_types"

const typesQuery = `SELECT u.id, u.mod, pg_catalog.format_type(u.id, u.mod),
	CASE WHEN t.typlen OPERATOR(pg_catalog.<) 0::pg_catalog.int2 THEN t.typelem ELSE 0::pg_catalog.oid END, t.typdelim
FROM unnest($1::pg_catalog.oid[], $2::pg_catalog.int4[]) AS u(id, mod)
JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) u.id`

func ask(l *link, missing map[typeKey]bool) (map[typeKey]typeInfo, error) {
	var oids, mods []string
	for k := range missing {
		oids = append(oids, strconv.FormatUint(uint64(k.oid), 10))
		mods = append(mods, strconv.FormatInt(int64(k.mod), 10))
	}
	rows, err := l.query(typesStatement, typesQuery, "{"+strings.Join(oids, ",")+"}", "{"+strings.Join(mods, ",")+"}")
	if err != nil {
		return nil, err
	}
	found := map[typeKey]typeInfo{}
	for _, row := range rows {
		oid, _ := strconv.ParseUint(text(row[0]), 10, 32) // the server wrote them
		mod, _ := strconv.ParseInt(text(row[1]), 10, 32)
		element, _ := strconv.ParseUint(text(row[3]), 10, 32)
		found[typeKey{uint32(oid), int32(mod)}] = typeInfo{name: text(row[2]), element: uint32(element), comma: text(row[4]) == ","}
	}
	return found, nil
}

// text is a value, or nothing for NULL.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
