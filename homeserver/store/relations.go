package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// Relation is a child event's relation to a parent.
type Relation struct {
	Parent id.EventID
	Child  int64
	Room   int64
	Rel    string // rel_type
	Type   string // of the child
	Sender id.UserID
}

// AddRelation notes a relation.
func (tx *Tx) AddRelation(ctx context.Context, r Relation) error {
	return tx.Queue(ctx, `
		INSERT INTO event_relation (domain_id, parent_id, event_nid, room_nid, rel_type, type, sender) VALUES ($0, $1, $2, $3, $4, $5, $6)
		ON CONFLICT (domain_id, parent_id, event_nid) DO NOTHING`,
		r.Parent, r.Child, r.Room, safeText(r.Rel), safeText(r.Type), r.Sender)
}

// RelationQuery picks children of an event. Empty fields pick all.
type RelationQuery struct {
	Room     int64
	Parents  []id.EventID
	Rel      string
	Type     string
	From, To Place // in the room's order; children after From and up to To
	Newest   bool  // newest first
	Limit    int
}

// Children reads the children of events that stand in the timeline.
func (tx *Tx) Children(ctx context.Context, q RelationQuery) ([]EventRow, error) {
	const from = `
		FROM event_relation AS c
		JOIN event AS e ON e.domain_id = $0 AND e.event_nid = c.event_nid AND e.pos <> 0
		JOIN room AS r ON r.domain_id = $0 AND r.room_nid = c.room_nid
		WHERE c.domain_id = $0 AND c.parent_id in($1) AND +c.room_nid = $2 -- the plus keeps from walking through the whole room
		AND (c.rel_type = $3 OR $3 = '') AND (c.type = $4 OR $4 = '')
		AND (e.topo, e.pos) > ($5, $6) AND (e.topo, e.pos) <= ($7, $8) `
	statement := `SELECT ` + eventColumns + from + `ORDER BY e.topo, e.pos LIMIT $9`
	if q.Newest {
		statement = `SELECT ` + eventColumns + from + `ORDER BY e.topo DESC, e.pos DESC LIMIT $9`
	}
	return tx.events(ctx, statement, q.Parents, q.Room, safeText(q.Rel), safeText(q.Type),
		q.From.Topo, q.From.Pos, q.To.Topo, q.To.Pos, q.Limit)
}

// RelationCount is how many children of one kind a sender has added to an event.
type RelationCount struct {
	Parent id.EventID
	Rel    string
	Type   string
	Sender id.UserID
	Count  int
	Latest int64 // the child that stands last in the room
}

// CountRelations counts edits, thread replies and references of events.
func (tx *Tx) CountRelations(ctx context.Context, parents []id.EventID) ([]RelationCount, error) {
	var list []RelationCount
	err := db.Each(ctx, tx, `
		SELECT c.parent_id, c.rel_type, c.type, c.sender, COUNT(*), MAX(c.event_nid) FROM event_relation AS c
		JOIN event AS e ON e.domain_id = $0 AND e.event_nid = c.event_nid AND e.pos <> 0
		WHERE c.domain_id = $0 AND c.parent_id in($1) AND c.rel_type IN ('m.replace', 'm.thread', 'm.reference')
		GROUP BY c.parent_id, c.rel_type, c.type, c.sender`,
		[]any{parents}, func(row *db.Row) error {
			var r RelationCount
			if err := row.Scan(&r.Parent, &r.Rel, &r.Type, &r.Sender, &r.Count, &r.Latest); err != nil {
				return err
			}
			r.Type = plainText(r.Type)
			list = append(list, r)
			return nil
		})
	return list, err
}

// ThreadRow is a thread: its root, and its latest reply.
type ThreadRow struct {
	Root   id.EventID
	Latest int64
}

// Threads lists the threads of a room by their latest reply, newest first, those before a number (0: from the newest). by limits them to
// threads that a user wrote in ("" does not).
func (tx *Tx) Threads(ctx context.Context, room int64, by id.UserID, before int64, limit int) ([]ThreadRow, error) {
	var list []ThreadRow
	err := db.Each(ctx, tx, `
		SELECT c.parent_id, MAX(c.event_nid) AS latest FROM event_relation AS c
		WHERE c.domain_id = $0 AND c.room_nid = $1 AND c.rel_type = 'm.thread'
		AND ($2 = '' OR EXISTS (SELECT 1 FROM event_relation AS o WHERE o.domain_id = $0 AND o.parent_id = c.parent_id
			AND o.rel_type = 'm.thread' AND o.sender = $2))
		GROUP BY c.parent_id HAVING $3 = 0 OR MAX(c.event_nid) < $3
		ORDER BY latest DESC LIMIT $4`, []any{room, by, before, limit}, func(row *db.Row) error {
		var t ThreadRow
		if err := row.Scan(&t.Root, &t.Latest); err != nil {
			return err
		}
		list = append(list, t)
		return nil
	})
	return list, err
}
