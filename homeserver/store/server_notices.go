package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// ServerNoticeRoom is the room in which the server speaks to a user, or ErrNotFound.
func (tx *Tx) ServerNoticeRoom(ctx context.Context, user id.UserID) (id.RoomID, error) {
	return db.Get[id.RoomID](ctx, tx, `SELECT room_id FROM server_notice_room WHERE domain_id = $0 AND user_id = $1`, user)
}

// SetServerNoticeRoom gives a user a room of that kind in place of another ("" for none). It answers the room that the user has now:
// another one where somebody was faster.
func (tx *Tx) SetServerNoticeRoom(ctx context.Context, user id.UserID, old, room id.RoomID) (id.RoomID, error) {
	_, err := tx.Exec(ctx, `
		INSERT INTO server_notice_room (domain_id, user_id, room_id) VALUES ($0, $1, $2)
		ON CONFLICT (domain_id, user_id) DO UPDATE SET room_id = excluded.room_id WHERE server_notice_room.room_id = $3`,
		user, room, old)
	if err != nil {
		return "", err
	}
	return tx.ServerNoticeRoom(ctx, user)
}
