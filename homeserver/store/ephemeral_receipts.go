package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// Receipt says how far a user has read a room, or one thread of it.
type Receipt struct {
	Room   id.RoomID
	User   id.UserID
	Kind   string // m.read or m.read.private
	Thread string // "" for an unthreaded receipt, "main", or the ID of the thread's root
	Event  id.EventID
	TS     int64 // ms, as the user's server gave it
	Pos    int64 // when we learned of it
}

// SetReceipt stores a user's receipt in the place of the one before, at the next position, which it gives. local tells our
// users' from other servers'.
func (tx *Tx) SetReceipt(ctx context.Context, r Receipt, local bool) (int64, error) {
	pos := tx.NextPosition()
	_, err := tx.Exec(ctx, `
		INSERT INTO receipt (domain_id, room_id, user_id, kind, thread_id, event_id, ts, pos, local)
		VALUES ($0, $1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (domain_id, room_id, user_id, kind, thread_id) DO UPDATE SET
			event_id = excluded.event_id, ts = excluded.ts, pos = excluded.pos, local = excluded.local`,
		r.Room, r.User, r.Kind, r.Thread, r.Event, r.TS, pos, bit(local))
	return pos, err
}

// Receipt reads a user's receipt of a kind and thread. ErrNotFound when there is none.
func (tx *Tx) Receipt(ctx context.Context, room id.RoomID, user id.UserID, kind, thread string) (Receipt, error) {
	r := Receipt{Room: room, User: user, Kind: kind, Thread: thread}
	err := db.One(ctx, tx, `
		SELECT event_id, ts, pos FROM receipt
		WHERE domain_id = $0 AND room_id = $1 AND user_id = $2 AND kind = $3 AND thread_id = $4`,
		[]any{room, user, kind, thread}, &r.Event, &r.TS, &r.Pos)
	return r, err
}

// Receipts lists the receipts that came to the rooms after one position, up to another, as user may see them: everybody's
// public ones and user's own private ones. By room, event and thread, unthreaded first.
func (tx *Tx) Receipts(ctx context.Context, user id.UserID, rooms []id.RoomID, after, upTo int64) ([]Receipt, error) {
	return tx.receipts(ctx, `
		SELECT room_id, user_id, kind, thread_id, event_id, ts, pos FROM receipt
		WHERE domain_id = $0 AND room_id in($2) AND pos > $3 AND pos <= $4 AND (kind = 'm.read' OR user_id = $1)
		ORDER BY room_id, event_id, kind, user_id, thread_id`, user, rooms, after, upTo)
}

// RoomsWithReceipts lists those rooms that got receipts after one position, up to another.
func (tx *Tx) RoomsWithReceipts(ctx context.Context, after, upTo int64) ([]id.RoomID, error) {
	return db.List[id.RoomID](ctx, tx, `
		SELECT DISTINCT room_id FROM receipt WHERE domain_id = $0 AND pos > $1 AND pos <= $2`, after, upTo)
}

// OutgoingReceipts lists the public receipts of our users after one position, up to another, oldest first: for federation.
func (tx *Tx) OutgoingReceipts(ctx context.Context, after, upTo int64, limit int) ([]Receipt, error) {
	return tx.receipts(ctx, `
		SELECT room_id, user_id, kind, thread_id, event_id, ts, pos FROM receipt
		WHERE domain_id = $0 AND local = 1 AND pos > $1 AND pos <= $2 AND kind = 'm.read' ORDER BY pos LIMIT $3`,
		after, upTo, limit)
}

func (tx *Tx) receipts(ctx context.Context, q string, args ...any) ([]Receipt, error) {
	var all []Receipt
	err := db.Each(ctx, tx, q, args, func(row *db.Row) error {
		var r Receipt
		if err := row.Scan(&r.Room, &r.User, &r.Kind, &r.Thread, &r.Event, &r.TS, &r.Pos); err != nil {
			return err
		}
		all = append(all, r)
		return nil
	})
	return all, err
}
