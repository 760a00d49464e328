package store

import (
	"context"
	"strings"

	"konsil/kit/db"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// Membership is a membership as a number. 0 is none.
type Membership int64

// The values of membership.membership and user_room.membership.
const (
	NoMembership Membership = 0
	Joined       Membership = 1
	Invited      Membership = 2
	Knocked      Membership = 3
	Left         Membership = 4
	Banned       Membership = 5
)

var membershipNames = [...]string{"", event.Join, event.Invite, event.Knock, event.Leave, event.Ban}

// String is the membership as member events write it.
func (m Membership) String() string {
	if m < 0 || int(m) >= len(membershipNames) {
		return ""
	}
	return membershipNames[m]
}

// ParseMembership is the inverse; unknown words give 0.
func ParseMembership(s string) Membership {
	for i, name := range membershipNames {
		if name == s {
			return Membership(i)
		}
	}
	return NoMembership
}

// MemberRow is a user's current membership of a room.
type MemberRow struct {
	User        id.UserID
	Membership  Membership
	Event       int64
	DisplayName string
	AvatarURL   string
}

// SetMembership stores a user's current membership; event 0 removes it.
func (tx *Tx) SetMembership(ctx context.Context, room int64, m MemberRow) error {
	if m.Event == 0 {
		return tx.Queue(ctx, `DELETE FROM membership WHERE domain_id = $0 AND room_nid = $1 AND user_id = $2`, room, m.User)
	}
	return tx.Queue(ctx, `
		INSERT INTO membership (domain_id, room_nid, user_id, server, membership, event_nid, display_name, avatar_url)
		VALUES ($0, $1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (domain_id, room_nid, user_id) DO UPDATE SET membership = excluded.membership, event_nid = excluded.event_nid,
			display_name = excluded.display_name, avatar_url = excluded.avatar_url`,
		room, m.User, m.User.Server(), int64(m.Membership), m.Event, nullText(m.DisplayName), nullText(m.AvatarURL))
}

func nullText(s string) *string {
	if s == "" {
		return nil
	}
	s = strings.ReplaceAll(s, "\x00", "") // shown to people only: nothing is lost with it
	return &s
}

func (tx *Tx) members(ctx context.Context, q string, args ...any) ([]MemberRow, error) {
	var list []MemberRow
	err := db.Each(ctx, tx, q, args, func(row *db.Row) error {
		var m MemberRow
		var name, avatar *string
		if err := row.Scan(&m.User, &m.Membership, &m.Event, &name, &avatar); err != nil {
			return err
		}
		if name != nil {
			m.DisplayName = *name
		}
		if avatar != nil {
			m.AvatarURL = *avatar
		}
		list = append(list, m)
		return nil
	})
	return list, err
}

const memberColumns = `user_id, membership, event_nid, display_name, avatar_url`

// Members reads the current members of a room with one membership, or with any (0).
func (tx *Tx) Members(ctx context.Context, room int64, m Membership) ([]MemberRow, error) {
	if m == NoMembership {
		return tx.members(ctx, `SELECT `+memberColumns+` FROM membership WHERE domain_id = $0 AND room_nid = $1`, room)
	}
	return tx.members(ctx, `SELECT `+memberColumns+` FROM membership WHERE domain_id = $0 AND room_nid = $1 AND membership = $2`, room, int64(m))
}

// Member reads one user's membership of a room, or ErrNotFound.
func (tx *Tx) Member(ctx context.Context, room int64, user id.UserID) (MemberRow, error) {
	list, err := tx.members(ctx, `SELECT `+memberColumns+` FROM membership WHERE domain_id = $0 AND room_nid = $1 AND user_id = $2`, room, user)
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return MemberRow{}, err
	}
	return list[0], nil
}

// Heroes reads the first few members of a room, joined or invited, but one user: what a room without a name is called after.
func (tx *Tx) Heroes(ctx context.Context, room int64, but id.UserID, limit int) ([]MemberRow, error) {
	return tx.members(ctx, `
		SELECT `+memberColumns+` FROM membership
		WHERE domain_id = $0 AND room_nid = $1 AND user_id <> $2 AND membership <= 2 ORDER BY event_nid LIMIT $3`, room, but, limit)
}

// CountMembers counts the members of a room by membership.
func (tx *Tx) CountMembers(ctx context.Context, room int64) (map[Membership]int, error) {
	counts := map[Membership]int{}
	err := db.Each(ctx, tx, `SELECT membership, COUNT(*) FROM membership WHERE domain_id = $0 AND room_nid = $1 GROUP BY membership`,
		[]any{room}, func(row *db.Row) error {
			var m Membership
			var n int64
			if err := row.Scan(&m, &n); err != nil {
				return err
			}
			counts[m] = int(n)
			return nil
		})
	return counts, err
}

// ServerCounts counts the joined members of a room by server.
func (tx *Tx) ServerCounts(ctx context.Context, room int64) (map[id.ServerName]int, error) {
	counts := map[id.ServerName]int{}
	err := db.Each(ctx, tx, `
		SELECT server, COUNT(*) FROM membership WHERE domain_id = $0 AND room_nid = $1 AND membership = 1 GROUP BY server`,
		[]any{room}, func(row *db.Row) error {
			var s id.ServerName
			var n int64
			if err := row.Scan(&s, &n); err != nil {
				return err
			}
			counts[s] = int(n)
			return nil
		})
	return counts, err
}

// JoinedOfServer lists the joined users of a server in a room.
func (tx *Tx) JoinedOfServer(ctx context.Context, room int64, server id.ServerName) ([]id.UserID, error) {
	return db.List[id.UserID](ctx, tx, `
		SELECT user_id FROM membership WHERE domain_id = $0 AND server = $2 AND room_nid = $1 AND membership = 1`, room, server)
}

// JoinedRooms lists the rooms a user is joined to.
func (tx *Tx) JoinedRooms(ctx context.Context, user id.UserID) ([]id.RoomID, error) {
	return db.List[id.RoomID](ctx, tx, `
		SELECT r.room_id FROM membership AS m JOIN room AS r ON r.domain_id = $0 AND r.room_nid = m.room_nid
		WHERE m.domain_id = $0 AND m.user_id = $1 AND m.membership = 1`, user)
}

// SharesRoom reports whether both users are joined to one room.
func (tx *Tx) SharesRoom(ctx context.Context, a, b id.UserID) (bool, error) {
	_, err := db.Get[int64](ctx, tx, `
		SELECT x.room_nid FROM membership AS x JOIN membership AS y ON y.domain_id = $0 AND y.room_nid = x.room_nid AND y.user_id = $2
		WHERE x.domain_id = $0 AND x.user_id = $1 AND x.membership = 1 AND y.membership = 1 LIMIT 1`, a, b)
	if err == ErrNotFound {
		return false, nil
	}
	return err == nil, err
}

// UsersSharingRooms lists who is joined to a room that the user is joined to, the user included.
func (tx *Tx) UsersSharingRooms(ctx context.Context, user id.UserID) ([]id.UserID, error) {
	return db.List[id.UserID](ctx, tx, `
		SELECT DISTINCT user_id || '' FROM membership -- an expression, or SQLite walks the whole domain in order
		WHERE domain_id = $0 AND membership = 1 AND room_nid IN (
			SELECT room_nid FROM membership WHERE domain_id = $0 AND user_id = $1 AND membership = 1)`, user)
}

// ServersSharing lists the servers with users in rooms that the user is joined to.
func (tx *Tx) ServersSharing(ctx context.Context, user id.UserID) ([]id.ServerName, error) {
	return db.List[id.ServerName](ctx, tx, `
		SELECT DISTINCT server FROM membership
		WHERE domain_id = $0 AND membership = 1 AND room_nid IN (
			SELECT room_nid FROM membership WHERE domain_id = $0 AND user_id = $1 AND membership = 1)`, user)
}

// UserRoomRow is a local user's relation to a room.
type UserRoomRow struct {
	User       id.UserID
	Room       int64
	RoomID     id.RoomID
	Membership Membership
	Event      int64
	Pos        int64
	Forgotten  bool
	Stripped   []byte // JSON array; nil unless we know the room from an invite or knock only
}

// SetUserRoom stores a local user's membership; it is remembered again if it was forgotten.
func (tx *Tx) SetUserRoom(ctx context.Context, r UserRoomRow) error {
	return tx.Queue(ctx, `
		INSERT INTO user_room (domain_id, user_id, room_nid, membership, event_nid, pos, forgotten, stripped)
		VALUES ($0, $1, $2, $3, $4, $5, 0, $6)
		ON CONFLICT (domain_id, user_id, room_nid) DO UPDATE SET membership = excluded.membership, event_nid = excluded.event_nid,
			pos = excluded.pos, forgotten = 0, stripped = excluded.stripped`,
		r.User, r.Room, int64(r.Membership), r.Event, r.Pos, r.Stripped)
}

// ForgetRoom hides a room from its former member.
func (tx *Tx) ForgetRoom(ctx context.Context, user id.UserID, room int64) error {
	_, err := tx.Exec(ctx, `UPDATE user_room SET forgotten = 1 WHERE domain_id = $0 AND user_id = $1 AND room_nid = $2`, user, room)
	return err
}

const userRoomColumns = `u.user_id, u.room_nid, r.room_id, u.membership, u.event_nid, u.pos, u.forgotten, u.stripped`

func (tx *Tx) userRooms(ctx context.Context, q string, args ...any) ([]UserRoomRow, error) {
	var list []UserRoomRow
	err := db.Each(ctx, tx, q, args, func(row *db.Row) error {
		var r UserRoomRow
		var forgotten int64
		if err := row.Scan(&r.User, &r.Room, &r.RoomID, &r.Membership, &r.Event, &r.Pos, &forgotten, &r.Stripped); err != nil {
			return err
		}
		r.Forgotten = forgotten == 1
		list = append(list, r)
		return nil
	})
	return list, err
}

// UserRooms lists all rooms of a local user.
func (tx *Tx) UserRooms(ctx context.Context, user id.UserID) ([]UserRoomRow, error) {
	return tx.userRooms(ctx, `SELECT `+userRoomColumns+`
		FROM user_room AS u JOIN room AS r ON r.domain_id = $0 AND r.room_nid = u.room_nid
		WHERE u.domain_id = $0 AND u.user_id = $1`, user)
}

// UserRoom reads a local user's relation to one room, or ErrNotFound.
func (tx *Tx) UserRoom(ctx context.Context, user id.UserID, room id.RoomID) (UserRoomRow, error) {
	list, err := tx.userRooms(ctx, `SELECT `+userRoomColumns+`
		FROM room AS r JOIN user_room AS u ON u.domain_id = $0 AND u.room_nid = r.room_nid AND u.user_id = $1
		WHERE r.domain_id = $0 AND r.room_id = $2`, user, room)
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return UserRoomRow{}, err
	}
	return list[0], nil
}

// SetUserRoomEvent names another member event for a membership that stays.
func (tx *Tx) SetUserRoomEvent(ctx context.Context, user id.UserID, room, ev int64) error {
	return tx.Queue(ctx, `UPDATE user_room SET event_nid = $3 WHERE domain_id = $0 AND user_id = $1 AND room_nid = $2`, user, room, ev)
}

// UsersOfServer lists the users of a server with any membership of a room.
func (tx *Tx) UsersOfServer(ctx context.Context, room int64, server id.ServerName) ([]id.UserID, error) {
	return db.List[id.UserID](ctx, tx, `SELECT user_id FROM membership WHERE domain_id = $0 AND room_nid = $1 AND server = $2`, room, server)
}
