// Package store holds all SQL of the homeserver: a file per table family, methods named by intention on *Tx.
//
// A DB is bound to one domain; no statement leaves it ($0 stands in every one). Read gives one snapshot; Write shares a
// transaction with other writers of the domain (group commit), so its function may run twice and assigns only. The package
// decides nothing: what may happen is known by the keepers above (room, account, e2ee, …). Safe for concurrent use; a Tx
// belongs to the function that got it.
package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"sync/atomic"

	"konsil/kit/db"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrNotFound is what reads of one row give for no row.
var ErrNotFound = db.ErrNotFound

// Config says which database, and which domain in it.
type Config = db.Config

// Pools lets the stores of many domains share the connections to a PostgreSQL database.
type Pools = db.Pools

// DB is one domain's store.
type DB struct {
	db *db.DB
	// nid is the last number given to a room, event, slot or snapshot. Numbers are handed out in memory, before the
	// transaction, so that the rows of one batch can name each other; a failed transaction leaves a gap.
	nid   atomic.Int64
	slots *Slots
}

// Tx is a transaction of one domain.
type Tx struct {
	*db.Tx
}

// Open opens the store and brings its schema up to date.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	inner, err := db.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, inner, files); err != nil {
		_ = inner.Close()
		return nil, fmt.Errorf("migrate store: %w", err)
	}
	d := &DB{db: inner}
	d.slots = newSlots(d)
	err = d.Read(ctx, func(tx *Tx) error {
		last, err := tx.lastNID(ctx)
		d.nid.Store(last)
		return err
	})
	if err != nil {
		_ = inner.Close()
		return nil, fmt.Errorf("read last number: %w", err)
	}
	return d, nil
}

// Close closes the store; what runs is waited for.
func (d *DB) Close() error { return d.db.Close() }

// Release closes idle connections; the next use opens new ones.
func (d *DB) Release() { d.db.Release() }

// Read gives fn one snapshot.
func (d *DB) Read(ctx context.Context, fn func(tx *Tx) error) error {
	return d.db.Read(ctx, func(tx *db.Tx) error { return fn(&Tx{tx}) })
}

// ReadOne is Read for functions of a single statement.
func (d *DB) ReadOne(ctx context.Context, fn func(tx *Tx) error) error {
	return d.db.ReadOne(ctx, func(tx *db.Tx) error { return fn(&Tx{tx}) })
}

// Write runs fn in a transaction that it may share with others, and returns when it is on disk. fn may run more than once.
func (d *DB) Write(ctx context.Context, fn func(tx *Tx) error) error {
	return d.db.Write(ctx, func(tx *db.Tx) error { return fn(&Tx{tx}) })
}

// Position is the last committed position of the domain's one order.
func (d *DB) Position() int64 { return d.db.Position() }

// NextNID hands out a number for a room, event, slot or snapshot.
func (d *DB) NextNID() int64 { return d.nid.Add(1) }

// lastNID is the highest number ever stored.
func (tx *Tx) lastNID(ctx context.Context) (int64, error) {
	return db.Get[int64](ctx, tx, `
		SELECT COALESCE(MAX(n), 0) FROM (
			SELECT MAX(event_nid) AS n FROM event WHERE domain_id = $0
			UNION ALL SELECT MAX(room_nid) FROM room WHERE domain_id = $0
			UNION ALL SELECT MAX(slot_nid) FROM slot WHERE domain_id = $0
			UNION ALL SELECT MAX(snapshot_nid) FROM state_snapshot WHERE domain_id = $0) AS numbers`)
}
