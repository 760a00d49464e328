package clientsync

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// tail is the end of the domain's order in memory: everything that happened after base, up to top, as far as /sync tells it.
// It is read from the store once per position, by whoever needs it first, and serves all. Nobody has to tell it anything, so
// nobody can forget to.
type tail struct {
	server id.ServerName
	db     *store.DB
	rooms  *room.Engine
	turn   chan struct{} // held by who extends; a queue, not a lock

	mu      sync.RWMutex
	started bool                                  // guarded by mu, like all below
	base    int64                                 // complete for positions after this one
	top     int64                                 // and up to this one
	events  []*room.Event                         // by position
	bytes   int                                   // of their JSON
	last    map[store.ChangeKind]map[string]int64 // position of the last change, by key
	parents map[id.EventID]bool                   // what these events relate to
	gaps    map[int64]bool                        // those that refer to what we do not have, by number
	lists   []marked                              // changed device lists, by position
	shown   []marked                              // changed presence, by position
}

// marked is a user with the position of a change.
type marked struct {
	pos  int64
	user id.UserID
}

// Bounds of the tail. A client that was away for longer is answered from the store.
const (
	tailEvents  = 4000
	tailBytes   = 8 << 20
	tailChanges = 20_000
	tailBatch   = 1000 // positions read at once
)

func newTail(server id.ServerName, db *store.DB, rooms *room.Engine) *tail {
	return &tail{server: server, db: db, rooms: rooms, turn: make(chan struct{}, 1)}
}

// extend makes sure that the tail reaches upTo.
func (t *tail) extend(ctx context.Context, upTo int64) error {
	t.mu.RLock()
	done := t.started && t.top >= upTo
	t.mu.RUnlock()
	if done {
		return nil
	}
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t.turn }()
	t.mu.RLock()
	started, top := t.started, t.top
	t.mu.RUnlock()
	if started && top >= upTo {
		return nil
	}
	if !started {
		t.restart(upTo)
		return nil
	}
	return t.read(ctx, top, upTo)
}

// restart begins anew at a position.
func (t *tail) restart(at int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.started, t.base, t.top = true, at, at
	t.events, t.bytes, t.lists, t.shown = nil, 0, nil, nil
	t.last, t.parents, t.gaps = map[store.ChangeKind]map[string]int64{}, map[id.EventID]bool{}, map[int64]bool{}
}

// read takes in what happened after top, up to upTo. It needs the turn.
func (t *tail) read(ctx context.Context, top, upTo int64) error {
	if upTo-top > tailBatch {
		t.restart(upTo) // nobody has waited for so long; who comes is answered from the store
		return nil
	}
	var nids []int64
	err := t.db.ReadOne(ctx, func(tx *store.Tx) (err error) {
		nids, err = tx.EventsBetween(ctx, top, upTo)
		return err
	})
	if err != nil {
		return fmt.Errorf("read changes: %w", err)
	}
	events, err := t.rooms.EventsByNID(ctx, nids)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	changes, err := t.changes(ctx, events, top, upTo)
	if err != nil {
		return err
	}
	if len(changes) == tailChanges {
		t.restart(upTo)
		return nil
	}
	fresh, err := t.redacted(ctx, events)
	if err != nil {
		return err
	}
	gaps, err := t.findGaps(ctx, events)
	if err != nil {
		return err
	}
	slices.SortFunc(changes, func(a, b store.Changed) int { return int(a.Pos - b.Pos) })
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range changes {
		byKey := t.last[c.Kind]
		if byKey == nil {
			byKey = map[string]int64{}
			t.last[c.Kind] = byKey
		}
		byKey[c.Key] = c.Pos
		switch c.Kind {
		case store.DeviceListUpdated:
			t.lists = append(t.lists, marked{c.Pos, id.UserID(c.Key)})
		case store.PresenceChanged:
			t.shown = append(t.shown, marked{c.Pos, id.UserID(c.Key)})
		}
	}
	if len(fresh) > 0 {
		// Readers hold slices of the old one.
		t.events = slices.Clone(t.events)
		for i, ev := range t.events {
			if now := fresh[ev.ID]; now != nil {
				t.events[i] = now
			}
		}
	}
	for _, nid := range gaps {
		t.gaps[nid] = true
	}
	for _, ev := range events {
		t.events = append(t.events, ev)
		t.bytes += len(ev.JSON)
		if parent, ok := canonical.GetString(ev.Content, "m.relates_to", "event_id"); ok {
			t.parents[id.EventID(parent)] = true
		}
	}
	t.top = upTo
	t.trim()
	return nil
}

// changes reads what happened besides events. Where each position is an event's nothing else did, but for what a membership
// does at its own position; that is nearly every read.
func (t *tail) changes(ctx context.Context, events []*room.Event, top, upTo int64) (changes []store.Changed, err error) {
	members := slices.ContainsFunc(events, func(ev *room.Event) bool { return ev.Type == event.TypeMember })
	if int64(len(events)) == upTo-top && !members {
		return nil, nil
	}
	err = t.db.ReadOne(ctx, func(tx *store.Tx) error {
		changes, err = tx.ChangesAfter(ctx, top, upTo, tailChanges)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read changes: %w", err)
	}
	return changes, nil
}

// findGaps lists the events that refer to what we do not have.
func (t *tail) findGaps(ctx context.Context, events []*room.Event) ([]int64, error) {
	var gaps []int64
	missing := map[int64]map[id.EventID]bool{}
	for _, ev := range events {
		if !mayGap(ev, t.server) {
			continue
		}
		if missing[ev.RoomNID] == nil {
			var err error
			if missing[ev.RoomNID], err = missingIn(ctx, t.db, ev.RoomNID); err != nil {
				return nil, err
			}
		}
		if refersTo(ev, missing[ev.RoomNID]) {
			gaps = append(gaps, ev.NID)
		}
	}
	return gaps, nil
}

// redacted reads again what new redactions may have changed.
func (t *tail) redacted(ctx context.Context, events []*room.Event) (map[id.EventID]*room.Event, error) {
	var ids []id.EventID
	for _, ev := range events {
		if ev.Type == event.TypeRedaction && ev.Redacts != "" {
			ids = append(ids, ev.Redacts)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := t.rooms.Events(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("read redacted events: %w", err)
	}
	fresh := make(map[id.EventID]*room.Event, len(found))
	for _, ev := range found {
		fresh[ev.ID] = ev
	}
	return fresh, nil
}

// trim drops the older half when there is too much. It needs mu.
func (t *tail) trim() {
	changes := len(t.lists) + len(t.shown)
	for _, byKey := range t.last {
		changes += len(byKey)
	}
	if len(t.events) <= tailEvents && t.bytes <= tailBytes && changes <= tailChanges {
		return
	}
	base := t.top
	if half := len(t.events) / 2; half > 0 && changes <= tailChanges {
		base = t.events[half-1].Pos
	}
	i := after(t.events, base)
	kept := slices.Clone(t.events[i:])
	t.events, t.bytes, t.base = kept, 0, base
	gaps := map[int64]bool{}
	for _, ev := range kept {
		t.bytes += len(ev.JSON)
		if t.gaps[ev.NID] {
			gaps[ev.NID] = true
		}
	}
	t.gaps = gaps
	for _, byKey := range t.last {
		for key, pos := range byKey {
			if pos <= base {
				delete(byKey, key)
			}
		}
	}
	if len(t.parents) > tailEvents {
		clear(t.parents)
		t.base = t.top // nobody knows any more what relates to the events here
	}
	t.lists = slices.Clone(markedAfter(t.lists, base))
	t.shown = slices.Clone(markedAfter(t.shown, base))
}

// after finds the first event after a position.
func after(events []*room.Event, pos int64) int {
	return sort.Search(len(events), func(i int) bool { return events[i].Pos > pos })
}

func markedAfter(all []marked, pos int64) []marked {
	return all[sort.Search(len(all), func(i int) bool { return all[i].pos > pos }):]
}

// window is a look at the tail: what happened after one position, up to another.
type window struct {
	complete bool          // the tail reaches back to the first position; if not, nothing below says anything
	events   []*room.Event // by position; shared, not to be changed
	tail     *tail
	since    int64
	upTo     int64
}

// look gives a window.
func (t *tail) look(since, upTo int64) window {
	t.mu.RLock()
	defer t.mu.RUnlock()
	w := window{tail: t, since: since, upTo: upTo, complete: t.started && since >= t.base && upTo <= t.top}
	if w.complete {
		events := t.events[after(t.events, since):]
		w.events = events[:after(events, upTo)]
	}
	return w
}

// changed says whether something of a kind may have happened for a key within the window.
func (w window) changed(kind store.ChangeKind, key string) bool {
	if !w.complete {
		return true
	}
	w.tail.mu.RLock()
	defer w.tail.mu.RUnlock()
	// The last change may lie after the window and hide one inside: better to look once in vain.
	return w.tail.last[kind][key] > w.since
}

// changedRooms lists the rooms of which changed would be true, for receipts.
func (w window) changedRooms() []id.RoomID {
	w.tail.mu.RLock()
	defer w.tail.mu.RUnlock()
	var rooms []id.RoomID
	for key, pos := range w.tail.last[store.ReceiptChanged] {
		if pos > w.since {
			rooms = append(rooms, id.RoomID(key))
		}
	}
	return rooms
}

// hasGap says whether one of the window's events refers to what we do not have.
func (w window) hasGap(ev *room.Event) bool {
	w.tail.mu.RLock()
	defer w.tail.mu.RUnlock()
	return w.tail.gaps[ev.NID]
}

// related picks the events that others may relate to. Of those in the tail the tail knows: what relates to an event comes
// after it.
func (w window) related(events []*room.Event) []*room.Event {
	if !w.complete {
		return events
	}
	w.tail.mu.RLock()
	defer w.tail.mu.RUnlock()
	var parents []*room.Event
	for _, ev := range events {
		if ev.Pos <= w.tail.base || w.tail.parents[ev.ID] {
			parents = append(parents, ev)
		}
	}
	return parents
}

// anyList says whether any device list may have changed within the window, anyPresence the same of presence.
func (w window) anyList() bool     { return w.any(func(t *tail) []marked { return t.lists }) }
func (w window) anyPresence() bool { return w.any(func(t *tail) []marked { return t.shown }) }

func (w window) any(of func(t *tail) []marked) bool {
	if !w.complete {
		return true
	}
	w.tail.mu.RLock()
	defer w.tail.mu.RUnlock()
	return len(markedAfter(of(w.tail), w.since)) > 0
}
