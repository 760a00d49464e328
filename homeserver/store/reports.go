package store

import (
	"context"
	"math"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// Report is what a user says of a room, an event or another user. CS v1.16 #reporting-content
type Report struct {
	ID       int64
	TS       int64 // ms
	Reporter id.UserID
	Room     id.RoomID  // "" for a user
	Event    id.EventID // "" for a room or a user
	User     id.UserID  // the sender of the event, "" for a room
	Reason   string
}

// AddReport stores a report.
func (tx *Tx) AddReport(ctx context.Context, r Report) error {
	return tx.Queue(ctx, `
		INSERT INTO report (domain_id, report_id, ts, reporter, room_id, event_id, user_id, reason)
		VALUES ($0, $1, $2, $3, $4, $5, $6, $7)`,
		tx.NextPosition(), r.TS, r.Reporter, r.Room, r.Event, r.User, []byte(r.Reason))
}

// Reports lists reports, the newest first, those older than one of them (0: all), at most limit.
func (tx *Tx) Reports(ctx context.Context, before int64, limit int) ([]Report, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	var list []Report
	err := db.Each(ctx, tx, `
		SELECT report_id, ts, reporter, room_id, event_id, user_id, reason FROM report
		WHERE domain_id = $0 AND report_id < $1 ORDER BY report_id DESC LIMIT $2 + 0`, []any{before, limit},
		func(row *db.Row) error {
			var r Report
			var reason []byte
			if err := row.Scan(&r.ID, &r.TS, &r.Reporter, &r.Room, &r.Event, &r.User, &reason); err != nil {
				return err
			}
			r.Reason = string(reason)
			list = append(list, r)
			return nil
		})
	return list, err
}

// CountReports counts them all.
func (tx *Tx) CountReports(ctx context.Context) (int64, error) {
	return db.Get[int64](ctx, tx, `SELECT COUNT(*) FROM report WHERE domain_id = $0`)
}
