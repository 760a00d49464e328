// Package cache keeps what was used last, up to a number of bytes. It never loads anything by itself, and never tells
// that something is gone: whoever puts values in takes them out again when they change. A Cache is safe for concurrent use.
package cache

import "sync"

// Cache holds values by key within a budget of bytes; the least recently used leave first.
type Cache[K comparable, V any] struct {
	size func(K, V) int64
	max  int64

	mu    sync.Mutex
	items map[K]*item[K, V] // guarded by mu
	ends  item[K, V]        // ring: next is the last used, prev the first to leave; guarded by mu
	stats Stats             // guarded by mu
}

// Stats are counts since the start, and what is held now.
type Stats struct {
	Hits, Misses, Evictions int64
	Entries                 int
	Bytes                   int64
}

type item[K comparable, V any] struct {
	key        K
	value      V
	bytes      int64
	next, prev *item[K, V]
}

// overhead is what an entry costs beside its value: the item, its place in the map.
const overhead = 120

// New makes a cache of max bytes. size says how many bytes a value holds beside its own struct; entries are accounted with
// some overhead. A value larger than an eighth of the cache is not kept: it would push out too much.
func New[K comparable, V any](max int64, size func(K, V) int64) *Cache[K, V] {
	c := &Cache[K, V]{size: size, max: max, items: map[K]*item[K, V]{}}
	c.ends.next, c.ends.prev = &c.ends, &c.ends
	return c
}

// Get gives the value for k, and whether there is one.
func (c *Cache[K, V]) Get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.items[k]
	if it == nil {
		c.stats.Misses++
		var none V
		return none, false
	}
	c.stats.Hits++
	it.unlink()
	c.front(it)
	return it.value, true
}

// Put stores v, in place of what was there.
func (c *Cache[K, V]) Put(k K, v V) {
	bytes := c.size(k, v) + overhead
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(c.items[k])
	if bytes > c.max/8 {
		return
	}
	it := &item[K, V]{key: k, value: v, bytes: bytes}
	c.items[k] = it
	c.front(it)
	c.stats.Bytes += bytes
	for c.stats.Bytes > c.max {
		c.drop(c.ends.prev)
		c.stats.Evictions++
	}
}

// Delete forgets k.
func (c *Cache[K, V]) Delete(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(c.items[k])
}

// Stats says how the cache does.
func (c *Cache[K, V]) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Entries = len(c.items)
	return s
}

// drop needs mu.
func (c *Cache[K, V]) drop(it *item[K, V]) {
	if it == nil {
		return
	}
	it.unlink()
	delete(c.items, it.key)
	c.stats.Bytes -= it.bytes
}

// front needs mu.
func (c *Cache[K, V]) front(it *item[K, V]) {
	it.prev, it.next = &c.ends, c.ends.next
	it.prev.next, it.next.prev = it, it
}

func (it *item[K, V]) unlink() { it.prev.next, it.next.prev = it.next, it.prev }
