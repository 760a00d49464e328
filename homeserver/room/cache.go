package room

import (
	"container/list"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"konsil/homeserver/store"
	"konsil/matrix/id"
)

// lru keeps values up to a number of bytes and drops those that were not asked for longest. Not for concurrent use.
type lru[K comparable, V any] struct {
	limit, used int64
	entries     map[K]*list.Element
	order       list.List // of lruEntry, the newest in front
	dropped     func(K, V)
}

type lruEntry[K comparable, V any] struct {
	key    K
	value  V
	weight int64
}

func (c *lru[K, V]) get(key K) (V, bool) {
	el, ok := c.entries[key]
	if !ok {
		var none V
		return none, false
	}
	c.order.MoveToFront(el)
	return el.Value.(*lruEntry[K, V]).value, true
}

func (c *lru[K, V]) put(key K, value V, weight int64) {
	if c.entries == nil {
		c.entries = map[K]*list.Element{}
	}
	if el, ok := c.entries[key]; ok {
		old := el.Value.(*lruEntry[K, V])
		c.used += weight - old.weight
		old.value, old.weight = value, weight
		c.order.MoveToFront(el)
	} else {
		c.entries[key] = c.order.PushFront(&lruEntry[K, V]{key, value, weight})
		c.used += weight
	}
	for c.used > c.limit && c.order.Len() > 1 {
		c.remove(c.order.Back())
	}
}

func (c *lru[K, V]) remove(el *list.Element) {
	old := c.order.Remove(el).(*lruEntry[K, V])
	delete(c.entries, old.key)
	c.used -= old.weight
	if c.dropped != nil {
		c.dropped(old.key, old.value)
	}
}

// eventCache keeps events by number and by ID.
type eventCache struct {
	mu    sync.Mutex
	byNID lru[int64, *Event]   // guarded by mu
	byID  map[id.EventID]int64 // guarded by mu

	// updates counts the transactions that change stored events (redactions, outliers that get a place). It moves before
	// such a transaction begins; the changed events are put after its commit.
	updates atomic.Uint64
}

func (c *eventCache) init(limit int64) {
	c.byID = map[id.EventID]int64{}
	c.byNID.limit = limit
	c.byNID.dropped = func(_ int64, ev *Event) { delete(c.byID, ev.ID) }
}

func (c *eventCache) put(evs ...*Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ev := range evs {
		c.byNID.put(ev.NID, ev, ev.weight())
		c.byID[ev.ID] = ev.NID
	}
}

// offer adds events that were read after updates stood at seen. What is in the cache already is newer.
func (c *eventCache) offer(evs []*Event, seen uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.updates.Load() != seen {
		return // an event was changed since the read began: it may be one of these
	}
	for _, ev := range evs {
		if _, ok := c.byNID.get(ev.NID); !ok {
			c.byNID.put(ev.NID, ev, ev.weight())
			c.byID[ev.ID] = ev.NID
		}
	}
}

func (c *eventCache) get(nid int64) *Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	ev, _ := c.byNID.get(nid)
	return ev
}

func (c *eventCache) getID(evID id.EventID) *Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	nid, ok := c.byID[evID]
	if !ok {
		return nil
	}
	ev, _ := c.byNID.get(nid)
	return ev
}

// snapshotCache keeps snapshots. They never change, so nothing can be out of date.
type snapshotCache struct {
	mu   sync.Mutex
	snap lru[int64, *store.Snapshot] // guarded by mu
}

func (c *snapshotCache) init(limit int64) { c.snap.limit = limit }

func (c *snapshotCache) get(nid int64) *store.Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, _ := c.snap.get(nid)
	return s
}

func (c *snapshotCache) put(s *store.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.snap.put(s.NID, s, int64(len(s.Entries))*16+160)
}

// snapshot reads one snapshot, not its parents.
func (e *Engine) snapshot(ctx context.Context, nid int64) (*store.Snapshot, error) {
	if s := e.snaps.get(nid); s != nil {
		return s, nil
	}
	var s store.Snapshot
	err := e.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		s, err = tx.Snapshot(ctx, nid)
		return err
	})
	if err != nil {
		return nil, err
	}
	e.snaps.put(&s)
	return &s, nil
}

// recent remembers which rooms had timeline events lately, so that "what changed since" reads no store.
type recent struct {
	mu    sync.Mutex
	last  map[id.RoomID]int64 // guarded by mu; complete for all positions after since
	since int64               // guarded by mu
}

func (r *recent) init(pos int64) { r.last, r.since = map[id.RoomID]int64{}, pos }

// set is called before the position becomes visible: who sees it and asks what changed must hear of the room.
func (r *recent) set(room id.RoomID, pos int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last[room] = max(r.last[room], pos)
	if len(r.last) > maxRecent {
		r.forget()
	}
}

// upToDate reports whether nothing was stored in a room after its head was published. Between commit and publication a reader may
// hold a position that the head does not reach yet.
func (r *recent) upToDate(h *head) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[h.room] <= h.lastPos
}

// forget drops the older half of what is remembered; needs mu.
func (r *recent) forget() {
	all := make([]int64, 0, len(r.last))
	for _, pos := range r.last {
		all = append(all, pos)
	}
	slices.Sort(all)
	r.since = all[len(all)/2]
	for room, pos := range r.last {
		if pos <= r.since {
			delete(r.last, room)
		}
	}
}
