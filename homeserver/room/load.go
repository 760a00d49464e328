package room

import (
	"context"
	"errors"
	"fmt"

	"konsil/homeserver/store"
	"konsil/matrix/id"
)

var errVersion = errors.New("room version is not known any more")

// parseRows makes events of rows, in the order of the rows.
func parseRows(rows []store.EventRow) ([]*Event, error) {
	evs := make([]*Event, len(rows))
	for i := range rows {
		ev, err := fromRow(&rows[i])
		if err != nil {
			return nil, fmt.Errorf("read event %d: %w", rows[i].NID, err)
		}
		evs[i] = ev
	}
	return evs, nil
}

// readEvents runs a query for events and keeps what it finds in the cache.
func (e *Engine) readEvents(ctx context.Context, query func(tx *store.Tx) ([]store.EventRow, error)) ([]*Event, error) {
	seen := e.events.updates.Load()
	var rows []store.EventRow
	err := e.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		rows, err = query(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	evs, err := parseRows(rows)
	if err != nil {
		return nil, err
	}
	e.events.offer(evs, seen)
	return evs, nil
}

// EventsByNID reads events by number, in the order asked; unknown ones are left out.
func (e *Engine) EventsByNID(ctx context.Context, nids []int64) ([]*Event, error) {
	found, err := e.eventMap(ctx, nids)
	if err != nil {
		return nil, err
	}
	evs := make([]*Event, 0, len(nids))
	for _, nid := range nids {
		if ev := found[nid]; ev != nil {
			evs = append(evs, ev)
		}
	}
	return evs, nil
}

// maxIn bounds the list of one query.
const maxIn = 2000

func (e *Engine) eventMap(ctx context.Context, nids []int64) (map[int64]*Event, error) {
	found := make(map[int64]*Event, len(nids))
	var unknown []int64
	for _, nid := range nids {
		if ev := e.events.get(nid); ev != nil {
			found[nid] = ev
		} else if nid != 0 {
			unknown = append(unknown, nid)
		}
	}
	for len(unknown) > 0 {
		part := unknown[:min(len(unknown), maxIn)]
		unknown = unknown[len(part):]
		evs, err := e.readEvents(ctx, func(tx *store.Tx) ([]store.EventRow, error) { return tx.EventsByNID(ctx, part) })
		if err != nil {
			return nil, err
		}
		for _, ev := range evs {
			found[ev.NID] = ev
		}
	}
	return found, nil
}

// eventByNID reads one event that must be there.
func (e *Engine) eventByNID(ctx context.Context, nid int64) (*Event, error) {
	if ev := e.events.get(nid); ev != nil {
		return ev, nil
	}
	evs, err := e.EventsByNID(ctx, []int64{nid})
	if err == nil && len(evs) == 0 {
		err = fmt.Errorf("event %d: %w", nid, store.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return evs[0], nil
}

// Events reads events by ID, in the order asked, whatever their status; unknown ones are left out.
func (e *Engine) Events(ctx context.Context, ids []id.EventID) ([]*Event, error) {
	found := make(map[id.EventID]*Event, len(ids))
	var unknown []id.EventID
	for _, evID := range ids {
		if ev := e.events.getID(evID); ev != nil {
			found[evID] = ev
		} else {
			unknown = append(unknown, evID)
		}
	}
	for len(unknown) > 0 {
		part := unknown[:min(len(unknown), maxIn)]
		unknown = unknown[len(part):]
		evs, err := e.readEvents(ctx, func(tx *store.Tx) ([]store.EventRow, error) { return tx.EventsByID(ctx, part) })
		if err != nil {
			return nil, err
		}
		for _, ev := range evs {
			found[ev.ID] = ev
		}
	}
	evs := make([]*Event, 0, len(ids))
	for _, evID := range ids {
		if ev := found[evID]; ev != nil {
			evs = append(evs, ev)
		}
	}
	return evs, nil
}

// Event reads one event, whatever its status; ErrUnknownEvent.
func (e *Engine) Event(ctx context.Context, evID id.EventID) (*Event, error) {
	if ev := e.events.getID(evID); ev != nil {
		return ev, nil
	}
	evs, err := e.Events(ctx, []id.EventID{evID})
	if err == nil && len(evs) == 0 {
		err = ErrUnknownEvent
	}
	if err != nil {
		return nil, err
	}
	return evs[0], nil
}

// snapshots finds a snapshot by number; a batch finds its own there that are not stored yet.
type snapshots func(ctx context.Context, nid int64) (*store.Snapshot, error)

// stateAt reads a whole state.
func (get snapshots) stateAt(ctx context.Context, nid int64) (state, error) {
	if nid == 0 {
		return state{}, nil
	}
	var entries []store.Entry
	for {
		s, err := get(ctx, nid)
		if err != nil {
			return state{}, fmt.Errorf("state %d: %w", nid, err)
		}
		if entries == nil {
			entries = s.Entries
		} else {
			entries = store.MergeEntries(s.Entries, entries, s.Parent != 0)
		}
		if s.Parent == 0 {
			return stateOf(entries), nil
		}
		nid = s.Parent
	}
}

// lookup finds the event in one slot of a state without reading all of it.
func (get snapshots) lookup(ctx context.Context, nid, slot int64) (int64, error) {
	for nid != 0 {
		s, err := get(ctx, nid)
		if err != nil {
			return 0, fmt.Errorf("state %d: %w", nid, err)
		}
		if i, ok := find(s.Entries, slot); ok {
			return s.Entries[i].Event, nil
		}
		nid = s.Parent
	}
	return 0, nil
}

// stateAt reads a stored state.
func (e *Engine) stateAt(ctx context.Context, nid int64) (state, error) {
	return snapshots(e.snapshot).stateAt(ctx, nid)
}

// slotAt finds the event in one slot of a stored state; nil for an empty slot.
func (e *Engine) slotAt(ctx context.Context, nid int64, slot id.Slot) (*Event, error) {
	slotNID, found, err := e.store.Slots().Find(ctx, slot)
	if err != nil || !found {
		return nil, err
	}
	ev, err := snapshots(e.snapshot).lookup(ctx, nid, slotNID)
	if err != nil || ev == 0 {
		return nil, err
	}
	return e.eventByNID(ctx, ev)
}
