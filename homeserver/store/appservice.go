package store

import (
	"context"
	"errors"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// AppServiceCursor is how far the order was looked through for application services; ErrNotFound before the first time.
func (tx *Tx) AppServiceCursor(ctx context.Context) (int64, error) {
	return db.Get[int64](ctx, tx, `SELECT pos FROM appservice_cursor WHERE domain_id = $0`)
}

// SetAppServiceCursor stores it.
func (tx *Tx) SetAppServiceCursor(ctx context.Context, pos int64) error {
	return tx.Queue(ctx, `
		INSERT INTO appservice_cursor (domain_id, pos) VALUES ($0, $1)
		ON CONFLICT (domain_id) DO UPDATE SET pos = excluded.pos`, pos)
}

// GuestEvent is a local user's member event in a room that we are not in: an invite, mostly. It has a position for the user only.
type GuestEvent struct {
	User  id.UserID
	Event int64
	Pos   int64
}

// GuestEventsBetween lists those after one position, up to another, in order.
func (tx *Tx) GuestEventsBetween(ctx context.Context, after, upTo int64) ([]GuestEvent, error) {
	var list []GuestEvent
	err := db.Each(ctx, tx, `
		SELECT u.user_id, u.event_nid, u.pos FROM user_room AS u JOIN event AS e ON e.domain_id = $0 AND e.event_nid = u.event_nid
		WHERE u.domain_id = $0 AND u.pos > $1 AND u.pos <= $2 AND e.pos = 0 ORDER BY u.pos`, []any{after, upTo},
		func(row *db.Row) error {
			var g GuestEvent
			if err := row.Scan(&g.User, &g.Event, &g.Pos); err != nil {
				return err
			}
			list = append(list, g)
			return nil
		})
	return list, err
}

// QueueForAppService lets an event wait for a service; one that waits already is passed over.
func (tx *Tx) QueueForAppService(ctx context.Context, service string, pos, event int64) error {
	return tx.Queue(ctx, `
		INSERT INTO appservice_event (domain_id, service_id, pos, event_nid) VALUES ($0, $1, $2, $3)
		ON CONFLICT (domain_id, service_id, pos) DO NOTHING`, service, pos, event)
}

// WaitingEvent is an event that waits for a service.
type WaitingEvent struct{ Pos, Event int64 }

// WaitingForAppService lists what waits for a service, up to a position (0: all), in order, at most limit.
func (tx *Tx) WaitingForAppService(ctx context.Context, service string, upTo int64, limit int) ([]WaitingEvent, error) {
	var list []WaitingEvent
	err := db.Each(ctx, tx, `
		SELECT pos, event_nid FROM appservice_event
		WHERE domain_id = $0 AND service_id = $1 AND ($2 = 0 OR pos <= $2) ORDER BY pos LIMIT $3 + 0`, []any{service, upTo, limit},
		func(row *db.Row) error {
			var w WaitingEvent
			if err := row.Scan(&w.Pos, &w.Event); err != nil {
				return err
			}
			list = append(list, w)
			return nil
		})
	return list, err
}

// AppServiceTransaction is one under way.
type AppServiceTransaction struct {
	Last     int64 // position of its last event, 0 where none is under way
	Failures int64 // in a row
	RetryAt  int64 // ms
}

// AppServiceTransaction reads what is under way for a service.
func (tx *Tx) AppServiceTransaction(ctx context.Context, service string) (t AppServiceTransaction, err error) {
	err = db.One(ctx, tx, `
		SELECT last_pos, failures, retry_at FROM appservice_transaction WHERE domain_id = $0 AND service_id = $1`,
		[]any{service}, &t.Last, &t.Failures, &t.RetryAt)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return t, err
}

// SetAppServiceTransaction stores what is under way.
func (tx *Tx) SetAppServiceTransaction(ctx context.Context, service string, t AppServiceTransaction) error {
	return tx.Queue(ctx, `
		INSERT INTO appservice_transaction (domain_id, service_id, last_pos, failures, retry_at) VALUES ($0, $1, $2, $3, $4)
		ON CONFLICT (domain_id, service_id) DO UPDATE
		SET last_pos = excluded.last_pos, failures = excluded.failures, retry_at = excluded.retry_at`,
		service, t.Last, t.Failures, t.RetryAt)
}

// EndAppServiceTransaction forgets a transaction that has arrived, with its events.
func (tx *Tx) EndAppServiceTransaction(ctx context.Context, service string, last int64) error {
	if err := tx.Queue(ctx, `DELETE FROM appservice_transaction WHERE domain_id = $0 AND service_id = $1`, service); err != nil {
		return err
	}
	return tx.Queue(ctx, `DELETE FROM appservice_event WHERE domain_id = $0 AND service_id = $1 AND pos <= $2`, service, last)
}
