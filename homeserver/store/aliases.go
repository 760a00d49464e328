package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// AliasRow is an alias of this domain.
type AliasRow struct {
	Alias   id.RoomAlias
	Room    id.RoomID
	Creator id.UserID
	TS      int64
}

// InsertAlias stores an alias; it answers false where there is one already.
func (tx *Tx) InsertAlias(ctx context.Context, a AliasRow) (bool, error) {
	n, err := tx.Exec(ctx, `
		INSERT INTO room_alias (domain_id, alias, room_id, creator, created_ts) VALUES ($0, $1, $2, $3, $4)
		ON CONFLICT (domain_id, alias) DO NOTHING`, a.Alias, a.Room, a.Creator, a.TS)
	return n == 1, err
}

// Alias reads an alias, or ErrNotFound.
func (tx *Tx) Alias(ctx context.Context, alias id.RoomAlias) (AliasRow, error) {
	a := AliasRow{Alias: alias}
	err := db.One(ctx, tx, `SELECT room_id, creator, created_ts FROM room_alias WHERE domain_id = $0 AND alias = $1`,
		[]any{alias}, &a.Room, &a.Creator, &a.TS)
	return a, err
}

// AliasesOf lists the aliases of a room.
func (tx *Tx) AliasesOf(ctx context.Context, room id.RoomID) ([]id.RoomAlias, error) {
	return db.List[id.RoomAlias](ctx, tx, `SELECT alias FROM room_alias WHERE domain_id = $0 AND room_id = $1 ORDER BY alias`, room)
}

// DeleteAlias removes an alias; it answers false where there is none.
func (tx *Tx) DeleteAlias(ctx context.Context, alias id.RoomAlias) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM room_alias WHERE domain_id = $0 AND alias = $1`, alias)
	return n == 1, err
}

// MoveAliases points all aliases of a room to its successor.
func (tx *Tx) MoveAliases(ctx context.Context, from, to id.RoomID) error {
	_, err := tx.Exec(ctx, `UPDATE room_alias SET room_id = $2 WHERE domain_id = $0 AND room_id = $1`, from, to)
	return err
}
