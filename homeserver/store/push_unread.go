package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// UnreadCursor is the position up to which the stored counts are right, 0 at the beginning.
func (tx *Tx) UnreadCursor(ctx context.Context) (int64, error) {
	return db.Get[int64](ctx, tx, `SELECT COALESCE(MAX(pos), 0) FROM unread_cursor WHERE domain_id = $0`)
}

// SetUnreadCursor moves it.
func (tx *Tx) SetUnreadCursor(ctx context.Context, pos int64) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO unread_cursor (domain_id, pos) VALUES ($0, $1)
		ON CONFLICT (domain_id) DO UPDATE SET pos = excluded.pos`, pos)
	return err
}

// Unread reads the counts of rooms; rooms without are missing.
func (tx *Tx) Unread(ctx context.Context, rooms []id.RoomID) (map[id.RoomID][]byte, error) {
	all := make(map[id.RoomID][]byte, len(rooms))
	err := db.Each(ctx, tx, `
		SELECT room_id, counts FROM unread WHERE domain_id = $0 AND room_id in($1)`, []any{rooms},
		func(row *db.Row) error {
			var room id.RoomID
			var counts []byte
			if err := row.Scan(&room, &counts); err != nil {
				return err
			}
			all[room] = counts
			return nil
		})
	return all, err
}

// SetUnread stores the counts of a room.
func (tx *Tx) SetUnread(ctx context.Context, room id.RoomID, counts []byte) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO unread (domain_id, room_id, counts) VALUES ($0, $1, $2)
		ON CONFLICT (domain_id, room_id) DO UPDATE SET counts = excluded.counts`, room, counts)
	return err
}

// LocalMember is a user of ours in a room.
type LocalMember struct {
	Room        id.RoomID
	User        id.UserID
	DisplayName string
	Since       int64 // position of the last change of membership
}

// UnreadCounts are what /sync tells a user of a room. CS v1.16 #receiving-notifications
type UnreadCounts struct {
	Notify    int64 // of the main timeline
	Highlight int64
	Threads   map[id.EventID]ThreadCounts // by root, those with any; nil for none
}

// ThreadCounts are the counts of one thread.
type ThreadCounts struct {
	Notify    int64
	Highlight int64
}

// LocalMembers lists the users of ours who are joined to the rooms, with their name there.
func (tx *Tx) LocalMembers(ctx context.Context, server id.ServerName, rooms []id.RoomID) ([]LocalMember, error) {
	var all []LocalMember
	err := db.Each(ctx, tx, `
		SELECT r.room_id, m.user_id, m.display_name, COALESCE(u.pos, 0) FROM room r
			JOIN membership m ON m.domain_id = $0 AND m.room_nid = r.room_nid AND m.server = $1 AND m.membership = 1
			LEFT JOIN user_room u ON u.domain_id = $0 AND u.user_id = m.user_id AND u.room_nid = m.room_nid
		WHERE r.domain_id = $0 AND r.room_id in($2) ORDER BY m.user_id`, []any{server, rooms},
		func(row *db.Row) error {
			var m LocalMember
			var name *string
			if err := row.Scan(&m.Room, &m.User, &name, &m.Since); err != nil {
				return err
			}
			if name != nil {
				m.DisplayName = *name
			}
			all = append(all, m)
			return nil
		})
	return all, err
}

// LocalReceipts lists all receipts of users of ours after one position, up to another, oldest first.
func (tx *Tx) LocalReceipts(ctx context.Context, after, upTo int64) ([]Receipt, error) {
	return tx.receipts(ctx, `
		SELECT room_id, user_id, kind, thread_id, event_id, ts, pos FROM receipt
		WHERE domain_id = $0 AND local = 1 AND pos > $1 AND pos <= $2 ORDER BY pos`, after, upTo)
}

// NewestEvents lists the numbers of the newest timeline events of rooms, up to a position, newest first.
func (tx *Tx) NewestEvents(ctx context.Context, rooms []id.RoomID, upTo int64, limit int) ([]int64, error) {
	return db.List[int64](ctx, tx, `
		SELECT e.event_nid FROM event e
		WHERE e.domain_id = $0 AND e.pos <> 0 AND e.pos > 0 AND e.pos <= $2 AND e.room_nid IN (
			SELECT room_nid FROM room WHERE domain_id = $0 AND room_id in($1))
		ORDER BY e.pos DESC LIMIT $3`, rooms, upTo, limit)
}
