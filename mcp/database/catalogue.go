package database

import (
	"context"
	"strconv"
	"sync"
	"time"
)

const (
	// fresh is how long what is known of a schema counts.
	fresh = time.Minute
	// maxKnown is how many answers about schemas are kept.
	maxKnown = 4096
	// page is how many tables come at once.
	page = 200
)

// catalogue asks the driver what there is, and remembers it for a while, for each login by itself.
type catalogue struct {
	driver Driver

	mu    sync.Mutex // guards known
	known map[string]known
}

type known struct {
	value any
	until time.Time
}

func newCatalogue(d Driver) *catalogue {
	return &catalogue{driver: d, known: make(map[string]known)}
}

func (c *catalogue) schemas(ctx context.Context, as Login) ([]Schema, error) {
	return remember(c, as.Key+"\x00schemas", func() ([]Schema, error) { return c.driver.Schemas(ctx, as) })
}

// tables returns a page of the tables of a schema, after a name, and whether there are more.
func (c *catalogue) tables(ctx context.Context, as Login, schema, after string) (tables []Table, more bool, err error) {
	tables, err = remember(c, as.Key+"\x00tables\x00"+strconv.Quote(schema)+after, func() ([]Table, error) { return c.driver.Tables(ctx, as, schema, after, page+1) })
	if len(tables) > page {
		return tables[:page], true, err
	}
	return tables, false, err
}

func (c *catalogue) describe(ctx context.Context, as Login, schema, table string) (Table, error) {
	return remember(c, as.Key+"\x00table\x00"+strconv.Quote(schema)+table, func() (Table, error) { return c.driver.Describe(ctx, as, schema, table) })
}

// remember returns what was answered a short while ago, or asks. Failures are not remembered.
func remember[T any](c *catalogue, key string, ask func() (T, error)) (T, error) {
	c.mu.Lock()
	before, ok := c.known[key]
	c.mu.Unlock()
	if value, is := before.value.(T); ok && is && time.Now().Before(before.until) {
		return value, nil
	}
	value, err := ask()
	if err != nil {
		return value, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxKnown {
		now := time.Now()
		for other, k := range c.known {
			if now.After(k.until) || len(c.known) >= maxKnown {
				delete(c.known, other)
			}
		}
	}
	c.known[key] = known{value, time.Now().Add(fresh)}
	return value, nil
}
