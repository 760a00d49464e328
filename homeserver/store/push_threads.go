package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// ThreadSubscription is what a user has said of a thread. MSC4306
type ThreadSubscription struct {
	Room       id.RoomID
	Root       id.EventID
	Pos        int64 // of the last change
	Subscribed bool
	Automatic  bool // by the client and not by the user's wish
}

// ThreadSubscription reads what a user has said of a thread, or ErrNotFound for nothing.
func (tx *Tx) ThreadSubscription(ctx context.Context, user id.UserID, room id.RoomID, root id.EventID) (ThreadSubscription, error) {
	s := ThreadSubscription{Room: room, Root: root}
	var subscribed, automatic int64
	err := db.One(ctx, tx, `
		SELECT pos, subscribed, automatic FROM thread_subscription
		WHERE domain_id = $0 AND user_id = $1 AND room_id = $2 AND root_id = $3`,
		[]any{user, room, root}, &s.Pos, &subscribed, &automatic)
	s.Subscribed, s.Automatic = subscribed != 0, automatic != 0
	return s, err
}

// PutThreadSubscription stores what a user says of a thread, at the next position.
func (tx *Tx) PutThreadSubscription(ctx context.Context, user id.UserID, s ThreadSubscription) error {
	return tx.Queue(ctx, `
		INSERT INTO thread_subscription (domain_id, user_id, room_id, root_id, pos, subscribed, automatic)
		VALUES ($0, $1, $2, $3, $4, $5, $6)
		ON CONFLICT (domain_id, user_id, room_id, root_id)
		DO UPDATE SET pos = excluded.pos, subscribed = excluded.subscribed, automatic = excluded.automatic`,
		user, s.Room, s.Root, tx.NextPosition(), bit(s.Subscribed), bit(s.Automatic))
}
