package store

import (
	"context"
	"strconv"

	"konsil/kit/db"
	"konsil/matrix/id"
)

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

// InsertEvent stores a new event. It answers false, and stores nothing, where its client transaction is stored already.
func (tx *Tx) InsertEvent(ctx context.Context, ev *EventRow) (bool, error) {
	const insert = `
		INSERT INTO event (domain_id, event_nid, event_id, room_nid, pos, topo, ts, status, slot_nid, replaces_nid,
			state_before, state_after, room_state, redacted_by, txn, auth, json)
		VALUES ($0, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`
	var txn *string
	if ev.Txn != "" {
		txn = &ev.Txn
	}
	args := []any{ev.NID, ev.ID, ev.RoomNID, ev.Pos, ev.Topo, ev.TS, int64(ev.Status), ev.SlotNID, ev.Replaces,
		ev.StateBefore, ev.StateAfter, ev.RoomState, ev.RedactedBy, txn, encodeInts(ev.Auth), ev.JSON}
	if txn == nil {
		return true, tx.Queue(ctx, insert, args...)
	}
	n, err := tx.Exec(ctx, insert+` ON CONFLICT (domain_id, txn) WHERE txn IS NOT NULL DO NOTHING`, args...)
	return n == 1, err
}

// PlaceEvent gives an event that is stored already its place: what was an outlier or rejected becomes part of the room.
func (tx *Tx) PlaceEvent(ctx context.Context, ev *EventRow) error {
	return tx.Queue(ctx, `
		UPDATE event SET pos = $2, topo = $3, status = $4, slot_nid = $5, replaces_nid = $6, state_before = $7, state_after = $8,
			room_state = $9, auth = $10, json = $11, redacted_by = $12
		WHERE domain_id = $0 AND event_nid = $1`,
		ev.NID, ev.Pos, ev.Topo, int64(ev.Status), ev.SlotNID, ev.Replaces, ev.StateBefore, ev.StateAfter,
		ev.RoomState, encodeInts(ev.Auth), ev.JSON, ev.RedactedBy)
}

// RedactEvent replaces an event's JSON by its redacted copy, and ends its relation.
func (tx *Tx) RedactEvent(ctx context.Context, target, redaction int64, json []byte) error {
	if err := tx.Queue(ctx, `UPDATE event SET json = $2, redacted_by = $3 WHERE domain_id = $0 AND event_nid = $1`,
		target, json, redaction); err != nil {
		return err
	}
	return tx.Queue(ctx, `DELETE FROM event_relation WHERE domain_id = $0 AND event_nid = $1`, target)
}

// AwaitRedacted notes a redaction whose target has not come yet.
func (tx *Tx) AwaitRedacted(ctx context.Context, target id.EventID, redaction int64) error {
	return tx.Queue(ctx, `
		INSERT INTO pending_redaction (domain_id, target_id, redaction_nid) VALUES ($0, $1, $2)
		ON CONFLICT (domain_id, target_id, redaction_nid) DO NOTHING`, target, redaction)
}

// PendingRedactions lists the numbers of redactions that wait for an event.
func (tx *Tx) PendingRedactions(ctx context.Context, target id.EventID) ([]int64, error) {
	return db.List[int64](ctx, tx, `
		SELECT redaction_nid FROM pending_redaction WHERE domain_id = $0 AND target_id = $1 ORDER BY redaction_nid`, target)
}

// RedactionsWait reports whether any redaction waits for its target.
func (tx *Tx) RedactionsWait(ctx context.Context) (bool, error) {
	n, err := db.Get[int64](ctx, tx, `SELECT COUNT(*) FROM (SELECT 1 FROM pending_redaction WHERE domain_id = $0 LIMIT 1) AS one`)
	return n > 0, err
}

// SettleRedactions forgets that redactions waited for an event.
func (tx *Tx) SettleRedactions(ctx context.Context, target id.EventID) error {
	return tx.Queue(ctx, `DELETE FROM pending_redaction WHERE domain_id = $0 AND target_id = $1`, target)
}
