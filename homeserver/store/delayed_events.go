package store

import (
	"context"
	"errors"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// DelayedEvent is an event that waits to be sent. MSC4140
type DelayedEvent struct {
	ID       string
	User     id.UserID
	Room     id.RoomID
	Type     string
	StateKey *string
	Content  []byte
	Delay    int64 // ms
	Since    int64 // ms, when the delay began
	Pos      int64 // of the domain's order when it was asked for
	Txn      string
}

// Due is when it is to be sent, in ms.
func (d *DelayedEvent) Due() int64 { return d.Since + d.Delay }

const delayedColumns = `delay_id, user_id, room_id, type, state_key, content, delay, since, pos, txn`

func (tx *Tx) delayedEvents(ctx context.Context, q string, args ...any) ([]DelayedEvent, error) {
	var list []DelayedEvent
	err := db.Each(ctx, tx, q, args, func(row *db.Row) error {
		var d DelayedEvent
		if err := row.Scan(&d.ID, &d.User, &d.Room, &d.Type, &d.StateKey, &d.Content, &d.Delay, &d.Since, &d.Pos, &d.Txn); err != nil {
			return err
		}
		list = append(list, d)
		return nil
	})
	return list, err
}

// AddDelayedEvent stores one, unless its transaction has brought one already.
func (tx *Tx) AddDelayedEvent(ctx context.Context, d DelayedEvent) (bool, error) {
	n, err := tx.Exec(ctx, `
		INSERT INTO delayed_event (domain_id, delay_id, user_id, room_id, type, state_key, content, delay, since, due, pos, txn)
		VALUES ($0, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (domain_id, txn) WHERE txn <> '' DO NOTHING`,
		d.ID, d.User, d.Room, d.Type, d.StateKey, d.Content, d.Delay, d.Since, d.Due(), d.Pos, d.Txn)
	return n == 1, err
}

// DelayedEvent reads one, or ErrNotFound.
func (tx *Tx) DelayedEvent(ctx context.Context, delayID string) (DelayedEvent, error) {
	return one(tx.delayedEvents(ctx, `SELECT `+delayedColumns+` FROM delayed_event WHERE domain_id = $0 AND delay_id = $1`, delayID))
}

// DelayedEventByTxn finds what a transaction has brought, or ErrNotFound.
func (tx *Tx) DelayedEventByTxn(ctx context.Context, txn string) (DelayedEvent, error) {
	return one(tx.delayedEvents(ctx, `SELECT `+delayedColumns+` FROM delayed_event WHERE domain_id = $0 AND txn = $1 AND txn <> ''`, txn))
}

func one[T any](list []T, err error) (T, error) {
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		var none T
		return none, err
	}
	return list[0], nil
}

// DelayedEventsOf lists a user's, those first that are due first.
func (tx *Tx) DelayedEventsOf(ctx context.Context, user id.UserID) ([]DelayedEvent, error) {
	return tx.delayedEvents(ctx, `SELECT `+delayedColumns+` FROM delayed_event WHERE domain_id = $0 AND user_id = $1 ORDER BY due, delay_id`, user)
}

// CountDelayedEvents counts a user's.
func (tx *Tx) CountDelayedEvents(ctx context.Context, user id.UserID) (int64, error) {
	return db.Get[int64](ctx, tx, `SELECT COUNT(*) FROM delayed_event WHERE domain_id = $0 AND user_id = $1`, user)
}

// DueDelayedEvents lists those due at a time, the longest due first.
func (tx *Tx) DueDelayedEvents(ctx context.Context, now int64, limit int) ([]DelayedEvent, error) {
	return tx.delayedEvents(ctx, `SELECT `+delayedColumns+` FROM delayed_event WHERE domain_id = $0 AND due <= $1 ORDER BY due, delay_id LIMIT $2 + 0`, now, limit)
}

// NextDelayedEvent is when the next one is due in ms, 0 for never.
func (tx *Tx) NextDelayedEvent(ctx context.Context) (int64, error) {
	due, err := db.Get[int64](ctx, tx, `SELECT due FROM delayed_event WHERE domain_id = $0 AND due > 0 ORDER BY due LIMIT 1`)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return due, err
}

// RestartDelayedEvent begins a delay anew, and says whether the event still waits.
func (tx *Tx) RestartDelayedEvent(ctx context.Context, delayID string, now int64) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE delayed_event SET since = $2, due = $2 + delay WHERE domain_id = $0 AND delay_id = $1`, delayID, now)
	return n == 1, err
}

// RemoveDelayedEvent forgets one, and says whether it was there.
func (tx *Tx) RemoveDelayedEvent(ctx context.Context, delayID string) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM delayed_event WHERE domain_id = $0 AND delay_id = $1`, delayID)
	return n == 1, err
}
