package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// StateChange is what a position did to one slot of its room's current state. Event 0: the slot is empty now; Prev 0: it was.
type StateChange struct {
	Pos         int64
	Slot        int64
	Event, Prev int64
}

// AddStateChange notes a change.
func (tx *Tx) AddStateChange(ctx context.Context, room int64, c StateChange) error {
	return tx.Queue(ctx, `
		INSERT INTO state_change (domain_id, room_nid, pos, slot_nid, event_nid, prev_nid) VALUES ($0, $1, $2, $3, $4, $5)
		ON CONFLICT (domain_id, room_nid, pos, slot_nid) DO UPDATE SET event_nid = excluded.event_nid`,
		room, c.Pos, c.Slot, c.Event, c.Prev)
}

// StateChanges lists what happened to the current state of a room with after < pos <= upTo, oldest first.
func (tx *Tx) StateChanges(ctx context.Context, room, after, upTo int64) ([]StateChange, error) {
	var changes []StateChange
	err := db.Each(ctx, tx, `
		SELECT pos, slot_nid, event_nid, prev_nid FROM state_change
		WHERE domain_id = $0 AND room_nid = $1 AND pos > $2 AND pos <= $3 ORDER BY pos`,
		[]any{room, after, upTo}, func(row *db.Row) error {
			var c StateChange
			if err := row.Scan(&c.Pos, &c.Slot, &c.Event, &c.Prev); err != nil {
				return err
			}
			changes = append(changes, c)
			return nil
		})
	return changes, err
}

// RoomStateAt is the snapshot of the current state as the last timeline event at or before a position left it; ErrNotFound.
func (tx *Tx) RoomStateAt(ctx context.Context, room, pos int64) (int64, error) {
	return db.Get[int64](ctx, tx, `
		SELECT room_state FROM event
		WHERE domain_id = $0 AND room_nid = $1 AND pos <> 0 AND pos > 0 AND pos <= $2 ORDER BY pos DESC LIMIT 1`, room, pos)
}

// SetCurrentState puts an event into a slot of the current state (no member events: SetMembership); event 0 empties it.
func (tx *Tx) SetCurrentState(ctx context.Context, room int64, slot id.Slot, ev int64) error {
	if ev == 0 {
		return tx.Queue(ctx, `DELETE FROM current_state WHERE domain_id = $0 AND room_nid = $1 AND type = $2 AND state_key = $3`,
			room, safeText(slot.Type), safeText(slot.StateKey))
	}
	return tx.Queue(ctx, `
		INSERT INTO current_state (domain_id, room_nid, type, state_key, event_nid) VALUES ($0, $1, $2, $3, $4)
		ON CONFLICT (domain_id, room_nid, type, state_key) DO UPDATE SET event_nid = excluded.event_nid`,
		room, safeText(slot.Type), safeText(slot.StateKey), ev)
}

// ClearCurrentState empties the current state of a room, members too, before it is made anew.
func (tx *Tx) ClearCurrentState(ctx context.Context, room int64) error {
	if err := tx.Queue(ctx, `DELETE FROM current_state WHERE domain_id = $0 AND room_nid = $1`, room); err != nil {
		return err
	}
	return tx.Queue(ctx, `DELETE FROM membership WHERE domain_id = $0 AND room_nid = $1`, room)
}

// CurrentStateOfType reads the current state events of some types with empty state keys for many rooms at once: names, topics, …
func (tx *Tx) CurrentStateOfTypes(ctx context.Context, rooms []int64, types []string) ([]EventRow, error) {
	return tx.events(ctx, `SELECT `+eventColumns+`
		FROM current_state AS c
		JOIN event AS e ON e.domain_id = $0 AND e.event_nid = c.event_nid
		JOIN room AS r ON r.domain_id = $0 AND r.room_nid = c.room_nid
		WHERE c.domain_id = $0 AND c.room_nid in($1) AND c.type in($2) AND c.state_key = ''`, rooms, types)
}

// CurrentStateAllOfType reads the current state events of one type with any state key.
func (tx *Tx) CurrentStateAllOfType(ctx context.Context, room int64, typ string) ([]int64, error) {
	return db.List[int64](ctx, tx, `SELECT event_nid FROM current_state WHERE domain_id = $0 AND room_nid = $1 AND type = $2`, room, safeText(typ))
}
