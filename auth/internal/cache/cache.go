// Package cache keeps what was used last, in bounded memory. It does not know what it keeps, nor for how long it is good.
package cache

import "sync"

// Cache keeps the most recently used entries in two generations: when the young one is full it becomes the old one, and
// what was in the old one and not asked for since is gone. At most twice the limit is held, and nothing needs a clock or
// a goroutine: who reads an entry judges whether it is still fresh. It is safe for concurrent use.
type Cache[K comparable, V any] struct {
	limit int

	mu         sync.Mutex // guards young and old
	young, old map[K]V
}

// New gives an empty cache whose generations hold up to limit entries each.
func New[K comparable, V any](limit int) *Cache[K, V] {
	return &Cache[K, V]{limit: limit, young: make(map[K]V)}
}

// Get gives the entry of a key, and keeps it longer.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.young[key]; ok {
		return v, true
	}
	v, ok := c.old[key]
	if ok {
		c.store(key, v)
	}
	return v, ok
}

// Put keeps an entry.
func (c *Cache[K, V]) Put(key K, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.store(key, value)
}

// store needs mu held.
func (c *Cache[K, V]) store(key K, value V) {
	if _, ok := c.young[key]; !ok && len(c.young) >= c.limit {
		c.old, c.young = c.young, make(map[K]V)
	}
	c.young[key] = value
}

// Size counts what is held, an entry of both generations twice.
func (c *Cache[K, V]) Size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.young) + len(c.old)
}
