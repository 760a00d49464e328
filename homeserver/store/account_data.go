package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// AccountData is one piece of a user's account data.
type AccountData struct {
	Room    id.RoomID // "" for the global ones
	Type    string
	Content []byte // JSON object; {} when deleted
	Pos     int64  // of the last change
	Deleted bool
}

// AccountData reads one piece, or gives ErrNotFound; room "" means the global ones.
func (tx *Tx) AccountData(ctx context.Context, user id.UserID, room id.RoomID, dataType string) ([]byte, error) {
	return db.Get[[]byte](ctx, tx, `
		SELECT content FROM account_data
		WHERE domain_id = $0 AND user_id = $1 AND room_id = $2 AND type = $3 AND deleted = 0`,
		string(user), string(room), dataType)
}

// PutAccountData stores one piece at the next position.
func (tx *Tx) PutAccountData(ctx context.Context, user id.UserID, room id.RoomID, dataType string, content []byte) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO account_data (domain_id, user_id, room_id, type, pos, deleted, content)
		VALUES ($0, $1, $2, $3, $4, 0, $5)
		ON CONFLICT (domain_id, user_id, room_id, type) DO UPDATE SET
			pos = excluded.pos, deleted = 0, content = excluded.content`,
		string(user), string(room), dataType, tx.NextPosition(), content)
	return err
}

// DeleteAccountData deletes one piece at the next position, and says whether it was there.
func (tx *Tx) DeleteAccountData(ctx context.Context, user id.UserID, room id.RoomID, dataType string) (bool, error) {
	n, err := tx.Exec(ctx, `
		UPDATE account_data SET pos = $4, deleted = 1, content = $5
		WHERE domain_id = $0 AND user_id = $1 AND room_id = $2 AND type = $3 AND deleted = 0`,
		string(user), string(room), dataType, tx.NextPosition(), []byte("{}"))
	return n == 1, err
}

// AccountDataSince lists a user's account data, global and per room, that changed after one position and up to another, in
// the order of the changes. From 0 on, nobody has heard of what was deleted, so that is left out.
func (tx *Tx) AccountDataSince(ctx context.Context, user id.UserID, after, upTo int64) ([]AccountData, error) {
	return tx.accountData(ctx, `
		SELECT room_id, type, content, pos, deleted FROM account_data
		WHERE domain_id = $0 AND user_id = $1 AND pos > $2 AND pos <= $3 AND (deleted = 0 OR $2 > 0)
		ORDER BY pos`, string(user), after, upTo)
}

// RoomAccountData lists a user's account data of one room, for who sees the room for the first time.
func (tx *Tx) RoomAccountData(ctx context.Context, user id.UserID, room id.RoomID) ([]AccountData, error) {
	return tx.accountData(ctx, `
		SELECT room_id, type, content, pos, deleted FROM account_data
		WHERE domain_id = $0 AND user_id = $1 AND room_id = $2 AND deleted = 0
		ORDER BY pos`, string(user), string(room))
}

func (tx *Tx) accountData(ctx context.Context, query string, args ...any) ([]AccountData, error) {
	var all []AccountData
	err := db.Each(ctx, tx, query, args, func(row *db.Row) error {
		var d AccountData
		var deleted int64
		if err := row.Scan(&d.Room, &d.Type, &d.Content, &d.Pos, &deleted); err != nil {
			return err
		}
		d.Deleted = deleted != 0
		all = append(all, d)
		return nil
	})
	return all, err
}

// EraseAccountData removes all account data and filters of a user, as if they had never been.
func (tx *Tx) EraseAccountData(ctx context.Context, user id.UserID) error {
	if _, err := tx.Exec(ctx, `DELETE FROM account_data WHERE domain_id = $0 AND user_id = $1`, string(user)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `DELETE FROM filter WHERE domain_id = $0 AND user_id = $1`, string(user))
	return err
}

// PutFilter stores a filter definition under its ID; the same ID always has the same definition.
func (tx *Tx) PutFilter(ctx context.Context, user id.UserID, filterID string, filter []byte) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO filter (domain_id, user_id, filter_id, filter) VALUES ($0, $1, $2, $3)
		ON CONFLICT (domain_id, user_id, filter_id) DO NOTHING`, string(user), filterID, filter)
	return err
}

// Filter reads a filter definition, or gives ErrNotFound.
func (tx *Tx) Filter(ctx context.Context, user id.UserID, filterID string) ([]byte, error) {
	return db.Get[[]byte](ctx, tx, `
		SELECT filter FROM filter WHERE domain_id = $0 AND user_id = $1 AND filter_id = $2`, string(user), filterID)
}

// CountFilters says how many filters a user has.
func (tx *Tx) CountFilters(ctx context.Context, user id.UserID) (int64, error) {
	return db.Get[int64](ctx, tx, `SELECT COUNT(*) FROM filter WHERE domain_id = $0 AND user_id = $1`, string(user))
}
