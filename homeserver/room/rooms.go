package room

import (
	"container/list"
	"context"
	"sync"

	"konsil/matrix/id"
)

// rooms keeps the active rooms: those whose head is in memory. A room that somebody works on stays, so that there are never two
// queues for one room.
type rooms struct {
	mu          sync.Mutex
	limit, used int64                       // bytes; used is guarded by mu
	active      map[id.RoomID]*list.Element // guarded by mu
	order       list.List                   // of *activeRoom, the newest in front; guarded by mu
}

// activeRoom is a room in memory.
type activeRoom struct {
	id     id.RoomID
	refs   int   // who works on it now; guarded by rooms.mu
	weight int64 // guarded by rooms.mu

	mu      sync.Mutex
	head    *head  // nil: to be read; guarded by mu
	version uint64 // moves with every change of head; guarded by mu
	queue   []*job // guarded by mu
	leading bool   // somebody empties the queue; guarded by mu
}

func (rs *rooms) init(limit int64) {
	rs.limit = limit
	rs.active = map[id.RoomID]*list.Element{}
}

// acquire finds or makes the active room and keeps it until release.
func (rs *rooms) acquire(room id.RoomID) *activeRoom {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if el, ok := rs.active[room]; ok {
		rs.order.MoveToFront(el)
		r := el.Value.(*activeRoom)
		r.refs++
		return r
	}
	r := &activeRoom{id: room, refs: 1}
	rs.active[room] = rs.order.PushFront(r)
	return r
}

// release ends the work on a room, and forgets those not used for longest if memory is short.
func (rs *rooms) release(r *activeRoom) {
	h := r.current()
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r.refs--
	if h != nil {
		if w := h.weight(); w != r.weight {
			rs.used += w - r.weight
			r.weight = w
		}
	} else if r.refs == 0 {
		rs.forget(r) // an unknown room, or one to be read again: nothing to keep
	}
	for el := rs.order.Back(); el != nil && rs.used > rs.limit; {
		prev := el.Prev()
		if old := el.Value.(*activeRoom); old.refs == 0 {
			rs.forget(old)
		}
		el = prev
	}
}

// forget needs mu.
func (rs *rooms) forget(r *activeRoom) {
	if el, ok := rs.active[r.id]; ok && el.Value == r {
		rs.order.Remove(el)
		delete(rs.active, r.id)
		rs.used -= r.weight
		r.weight = 0
	}
}

// current is the head in memory, nil if there is none.
func (r *activeRoom) current() *head {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head
}

// set replaces the head; nil has it read again.
func (r *activeRoom) set(h *head) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head = h
	r.version++
}

// loaded gives the head, reading it if need be; nil for an unknown room.
func (e *Engine) loaded(ctx context.Context, r *activeRoom) (*head, error) {
	r.mu.Lock()
	h, version := r.head, r.version
	r.mu.Unlock()
	if h != nil {
		return h, nil
	}
	h, err := e.loadHead(ctx, r.id)
	if err != nil || h == nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.head == nil && r.version == version {
		r.head = h
	}
	return h, nil
}

// head gives a room's head as it is now; nil for a room we know nothing of.
func (e *Engine) head(ctx context.Context, room id.RoomID) (*head, error) {
	r := e.rooms.acquire(room)
	defer e.rooms.release(r)
	return e.loaded(ctx, r)
}

// knownHead is head for rooms whose state we have; ErrUnknownRoom else.
func (e *Engine) knownHead(ctx context.Context, room id.RoomID) (*head, error) {
	h, err := e.head(ctx, room)
	if err != nil {
		return nil, err
	}
	if h == nil || h.snap.nid == 0 {
		return nil, ErrUnknownRoom
	}
	return h, nil
}
