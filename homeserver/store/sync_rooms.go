package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// NewestInRoom lists the numbers of the newest events of a room in its own order, of those in the timeline up to a position:
// newest first. "+ 0" keeps SQLite from compiling the statement anew for each limit: it looks at the values of bare arguments.
func (tx *Tx) NewestInRoom(ctx context.Context, room, upTo int64, limit int) ([]int64, error) {
	return db.List[int64](ctx, tx, `
		SELECT event_nid FROM event
		WHERE domain_id = $0 AND room_nid = $1 AND pos <> 0 AND pos <= $2 ORDER BY topo DESC, pos DESC LIMIT $3 + 0`,
		room, upTo, limit)
}

// CurrentStateOf lists the numbers of the current state events of rooms, member events excepted, by room.
func (tx *Tx) CurrentStateOf(ctx context.Context, rooms []int64) (map[int64][]int64, error) {
	return tx.byRoom(ctx, `
		SELECT room_nid, event_nid FROM current_state WHERE domain_id = $0 AND room_nid in($1)`, rooms)
}

// CurrentMembersOf lists the numbers of the current member events of rooms, by room.
func (tx *Tx) CurrentMembersOf(ctx context.Context, rooms []int64) (map[int64][]int64, error) {
	return tx.byRoom(ctx, `
		SELECT room_nid, event_nid FROM membership WHERE domain_id = $0 AND room_nid in($1)`, rooms)
}

func (tx *Tx) byRoom(ctx context.Context, q string, rooms []int64) (map[int64][]int64, error) {
	all := make(map[int64][]int64, len(rooms))
	err := db.Each(ctx, tx, q, []any{rooms}, func(row *db.Row) error {
		var room, event int64
		if err := row.Scan(&room, &event); err != nil {
			return err
		}
		all[room] = append(all[room], event)
		return nil
	})
	return all, err
}

// CurrentMembersIn lists the numbers of the current member events of some users in a room.
func (tx *Tx) CurrentMembersIn(ctx context.Context, room int64, users []id.UserID) ([]int64, error) {
	return db.List[int64](ctx, tx, `
		SELECT event_nid FROM membership WHERE domain_id = $0 AND room_nid = $1 AND user_id in($2)`, room, users)
}

// MemberTally counts a room's members.
type MemberTally struct{ Joined, Invited int64 }

// MemberTallies counts the members of rooms, by room.
func (tx *Tx) MemberTallies(ctx context.Context, rooms []int64) (map[int64]MemberTally, error) {
	all := make(map[int64]MemberTally, len(rooms))
	err := db.Each(ctx, tx, `
		SELECT r.room_nid, r.joined, (SELECT COUNT(*) FROM membership m
			WHERE m.domain_id = $0 AND m.room_nid = r.room_nid AND m.membership = 2)
		FROM room r WHERE r.domain_id = $0 AND r.room_nid in($1)`, []any{rooms},
		func(row *db.Row) error {
			var room int64
			var t MemberTally
			if err := row.Scan(&room, &t.Joined, &t.Invited); err != nil {
				return err
			}
			all[room] = t
			return nil
		})
	return all, err
}

// FormerHeroes is Heroes for a room whose other members have all left.
func (tx *Tx) FormerHeroes(ctx context.Context, room int64, but id.UserID, limit int) ([]MemberRow, error) {
	return tx.members(ctx, `
		SELECT `+memberColumns+` FROM membership
		WHERE domain_id = $0 AND room_nid = $1 AND user_id <> $2 AND membership >= 4 ORDER BY event_nid LIMIT $3`, room, but, limit)
}

// PresencesIn reads the presence of the joined members of rooms.
func (tx *Tx) PresencesIn(ctx context.Context, rooms []id.RoomID) ([]Presence, error) {
	return tx.presences(ctx, `
		SELECT p.user_id, p.pos, p.state, p.status_msg, p.last_active, p.currently_active FROM presence p
		WHERE p.domain_id = $0 AND p.user_id IN (
			SELECT m.user_id FROM room r JOIN membership m ON m.domain_id = $0 AND m.room_nid = r.room_nid AND m.membership = 1
			WHERE r.domain_id = $0 AND r.room_id in($1))`, rooms)
}

// PresencesOf reads the presence of users.
func (tx *Tx) PresencesOf(ctx context.Context, users []id.UserID) ([]Presence, error) {
	return tx.presences(ctx, `
		SELECT user_id, pos, state, status_msg, last_active, currently_active FROM presence
		WHERE domain_id = $0 AND user_id in($1)`, users)
}
