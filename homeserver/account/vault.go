package account

import (
	"container/list"
	"sync"
	"time"

	"konsil/kit/clock"
)

// A vault holds small secrets for a short time, in memory: who restarts the server makes people start over, which is what
// these are for. The oldest give way when it is full.
type vault[V any] struct {
	clock    clock.Clock
	lifetime time.Duration
	limit    int

	mu      sync.Mutex
	entries map[string]*list.Element // guarded by mu
	order   *list.List               // of *vaultEntry[V], oldest first, guarded by mu
}

type vaultEntry[V any] struct {
	key     string
	value   V
	expires time.Time
}

func newVault[V any](c clock.Clock, lifetime time.Duration, limit int) *vault[V] {
	return &vault[V]{clock: c, lifetime: lifetime, limit: limit, entries: map[string]*list.Element{}, order: list.New()}
}

// put stores a value under a key nobody used before.
func (v *vault[V]) put(key string, value V) {
	now := v.clock.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	for e := v.order.Front(); e != nil; e = v.order.Front() {
		entry := e.Value.(*vaultEntry[V])
		if v.order.Len() < v.limit && entry.expires.After(now) {
			break
		}
		v.remove(e)
	}
	v.entries[key] = v.order.PushBack(&vaultEntry[V]{key, value, now.Add(v.lifetime)})
}

// get reads a value and leaves it there.
func (v *vault[V]) get(key string) (V, bool) { return v.read(key, false) }

// take reads a value and removes it: each is taken once.
func (v *vault[V]) take(key string) (V, bool) { return v.read(key, true) }

func (v *vault[V]) read(key string, remove bool) (value V, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e, ok := v.entries[key]
	if !ok {
		return value, false
	}
	entry := e.Value.(*vaultEntry[V])
	ok = entry.expires.After(v.clock.Now())
	if remove || !ok {
		v.remove(e)
	}
	if !ok {
		return value, false
	}
	return entry.value, true
}

// remove needs v.mu.
func (v *vault[V]) remove(e *list.Element) {
	v.order.Remove(e)
	delete(v.entries, e.Value.(*vaultEntry[V]).key)
}
