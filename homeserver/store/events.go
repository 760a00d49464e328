package store

import (
	"context"
	"strings"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// Status says what became of an event.
type Status int64

// The values of event.status.
const (
	Accepted   Status = 0 // took part in the room's state and timeline
	Outlier    Status = 1 // known as somebody's auth event or state, or as an invite; its own place is unknown
	Rejected   Status = 2 // failed the authorisation rules; never served, never referred to by us
	SoftFailed Status = 3 // allowed where it stands but not now; kept for the graph, never shown
)

// EventMeta is what we know of an event besides its JSON.
type EventMeta struct {
	NID         int64
	RoomNID     int64
	Pos         int64 // > 0 place in the domain's order, < 0 history from before we knew, 0 not in the timeline
	Topo        int64 // order within the room, before Pos
	Status      Status
	SlotNID     int64   // 0 for what is no state event
	Replaces    int64   // event that held the slot before, 0 for none
	StateBefore int64   // snapshot, 0 for outliers
	StateAfter  int64   // snapshot, 0 for outliers
	RoomState   int64   // snapshot of the room's current state once this event was in
	RedactedBy  int64   // the redaction that was applied, 0 for none
	Txn         string  // the client transaction that sent it, see TxnKey; "" for others
	Auth        []int64 // auth events
}

// EventRow is an event as stored.
type EventRow struct {
	EventMeta
	ID      id.EventID
	TS      int64
	Version string // of its room
	JSON    []byte
}

// TxnKey names a client's transaction: one device of one user, one endpoint, one room, one id.
func TxnKey(user id.UserID, device id.DeviceID, scope string, room int64, txn string) string {
	b := make([]byte, 0, len(user)+len(device)+len(scope)+len(txn)+16)
	b = append(b, user...)
	b = append(b, txnSep)
	b = append(b, safeText(string(device))...)
	b = append(b, txnSep)
	b = append(b, scope...)
	b = append(b, txnSep)
	b = appendInt(b, room)
	b = append(b, txnSep)
	b = append(b, safeText(txn)...)
	return string(b)
}

const txnSep = '\x1f' // a control character: no part but the last can hold it

// TxnOf gives the transaction id if key is one of that user's device, "" otherwise.
func TxnOf(key string, user id.UserID, device id.DeviceID) string {
	if key == "" {
		return ""
	}
	part := strings.SplitN(key, string(txnSep), 5)
	if len(part) != 5 || part[0] != string(user) || part[1] != safeText(string(device)) {
		return ""
	}
	return plainText(part[4])
}

// eventColumns need event AS e JOIN room AS r. They are listed once because every read of events takes all of them.
const eventColumns = `e.event_nid, e.room_nid, e.pos, e.topo, e.status, e.slot_nid, e.replaces_nid, e.state_before, e.state_after,
	e.room_state, e.redacted_by, e.txn, e.auth, e.event_id, e.ts, r.version, e.json`

const eventFrom = ` FROM event AS e JOIN room AS r ON r.domain_id = $0 AND r.room_nid = e.room_nid WHERE e.domain_id = $0 `

func (ev *EventRow) scan(row *db.Row) error {
	var txn *string
	var auth []byte
	err := row.Scan(&ev.NID, &ev.RoomNID, &ev.Pos, &ev.Topo, &ev.Status, &ev.SlotNID, &ev.Replaces, &ev.StateBefore, &ev.StateAfter,
		&ev.RoomState, &ev.RedactedBy, &txn, &auth, &ev.ID, &ev.TS, &ev.Version, &ev.JSON)
	if err != nil {
		return err
	}
	if txn != nil {
		ev.Txn = *txn
	}
	ev.Auth, err = decodeInts(auth)
	return err
}

func (tx *Tx) events(ctx context.Context, q string, args ...any) ([]EventRow, error) {
	return tx.manyEvents(ctx, 1, q, args...)
}

// manyEvents is events with room for as many as are expected: rows are large, and growing a list copies them.
func (tx *Tx) manyEvents(ctx context.Context, expected int, q string, args ...any) ([]EventRow, error) {
	list := make([]EventRow, 0, expected)
	err := db.Each(ctx, tx, q, args, func(row *db.Row) error {
		var ev EventRow
		if err := ev.scan(row); err != nil {
			return err
		}
		list = append(list, ev)
		return nil
	})
	return list, err
}

// EventsByNID reads events by number, in no order; unknown ones are left out.
func (tx *Tx) EventsByNID(ctx context.Context, nids []int64) ([]EventRow, error) {
	if len(nids) == 1 {
		return tx.events(ctx, `SELECT `+eventColumns+eventFrom+`AND e.event_nid = $1`, nids[0])
	}
	return tx.manyEvents(ctx, len(nids), `SELECT `+eventColumns+eventFrom+`AND e.event_nid in($1)`, nids)
}

// EventsByID reads events by ID, in no order; unknown ones are left out.
func (tx *Tx) EventsByID(ctx context.Context, ids []id.EventID) ([]EventRow, error) {
	if len(ids) == 1 {
		return tx.events(ctx, `SELECT `+eventColumns+eventFrom+`AND e.event_id = $1`, ids[0])
	}
	return tx.events(ctx, `SELECT `+eventColumns+eventFrom+`AND e.event_id in($1)`, ids)
}

// EventByTxn finds what a client's transaction has sent, or ErrNotFound.
func (tx *Tx) EventByTxn(ctx context.Context, txn string) (id.EventID, error) {
	return db.Get[id.EventID](ctx, tx, `SELECT event_id FROM event WHERE domain_id = $0 AND txn = $1 AND txn IS NOT NULL`, txn)
}

// EventsAfter lists the numbers of the timeline of all rooms by position: after < pos <= upTo, oldest first, at most limit.
func (tx *Tx) EventsAfter(ctx context.Context, after, upTo int64, limit int) ([]int64, error) {
	return db.List[int64](ctx, tx, `
		SELECT event_nid FROM event
		WHERE domain_id = $0 AND pos <> 0 AND pos > $1 AND pos <= $2 ORDER BY pos LIMIT $3`, after, upTo, limit)
}

// TimelineBefore reads the newest events of a room with after < pos <= upTo, newest first, at most limit.
func (tx *Tx) TimelineBefore(ctx context.Context, room, after, upTo int64, limit int) ([]EventRow, error) {
	return tx.events(ctx, `SELECT `+eventColumns+eventFrom+`
		AND e.room_nid = $1 AND e.pos <> 0 AND e.pos > $2 AND e.pos <= $3 ORDER BY e.pos DESC LIMIT $4`, room, after, upTo, limit)
}

// Place is a point in a room's own order, between events: what has (topo, pos) <= it lies before.
type Place struct{ Topo, Pos int64 }

// HistoryBefore lists the numbers of events of a room in its own order, newest first: those at or before from and after to.
func (tx *Tx) HistoryBefore(ctx context.Context, room int64, from, to Place, limit int) ([]int64, error) {
	return db.List[int64](ctx, tx, `
		SELECT event_nid FROM event
		WHERE domain_id = $0 AND room_nid = $1 AND pos <> 0 AND (topo, pos) <= ($2, $3) AND (topo, pos) > ($4, $5)
		ORDER BY topo DESC, pos DESC LIMIT $6`, room, from.Topo, from.Pos, to.Topo, to.Pos, limit)
}

// HistoryBeforeUpTo is HistoryBefore without what has a position above upTo.
func (tx *Tx) HistoryBeforeUpTo(ctx context.Context, room int64, from, to Place, upTo int64, limit int) ([]int64, error) {
	return db.List[int64](ctx, tx, `
		SELECT event_nid FROM event
		WHERE domain_id = $0 AND room_nid = $1 AND pos <> 0 AND (topo, pos) <= ($2, $3) AND (topo, pos) > ($4, $5) AND pos <= $7
		ORDER BY topo DESC, pos DESC LIMIT $6`, room, from.Topo, from.Pos, to.Topo, to.Pos, limit, upTo)
}

// HistoryAfter lists the numbers of events of a room in its own order, oldest first: those after from and at or before to.
func (tx *Tx) HistoryAfter(ctx context.Context, room int64, from, to Place, limit int) ([]int64, error) {
	return db.List[int64](ctx, tx, `
		SELECT event_nid FROM event
		WHERE domain_id = $0 AND room_nid = $1 AND pos <> 0 AND (topo, pos) > ($2, $3) AND (topo, pos) <= ($4, $5)
		ORDER BY topo, pos LIMIT $6`, room, from.Topo, from.Pos, to.Topo, to.Pos, limit)
}

// EventNearTime finds the number of the timeline event nearest to a time, at or after it (forward) or at or before it; ErrNotFound.
func (tx *Tx) EventNearTime(ctx context.Context, room, ts int64, forward bool) (int64, error) {
	if forward {
		return db.Get[int64](ctx, tx, `
			SELECT event_nid FROM event WHERE domain_id = $0 AND room_nid = $1 AND pos <> 0 AND ts >= $2
			ORDER BY ts, topo, pos LIMIT 1`, room, ts)
	}
	return db.Get[int64](ctx, tx, `
		SELECT event_nid FROM event WHERE domain_id = $0 AND room_nid = $1 AND pos <> 0 AND ts <= $2
		ORDER BY ts DESC, topo DESC, pos DESC LIMIT 1`, room, ts)
}
