package db

import (
	"context"
	"errors"
	"io/fs"
)

var errSoon = errors.New("kit/db: under construction")

type DB struct{}
type Tx struct{}
type Row struct{}

func (tx *Tx) dbTx() *Tx { return tx }

// Open prepares a handle; connections open when they are needed.
func Open(ctx context.Context, cfg Config) (*DB, error) { return nil, errSoon }
func (d *DB) Close() error                              { return nil }

// Release closes idle connections: what a domain does that goes to sleep. The next use opens new ones.
func (d *DB) Release() {}

// Position is the last committed position of the domain's one order.
func (d *DB) Position() int64 { return 0 }

// Domain is $0.
func (d *DB) Domain() int64 { return 0 }

func (d *DB) read(ctx context.Context, snapshot bool, fn func(tx *Tx) error) error { return errSoon }

// Write runs fn in a transaction that it may share with others (group commit) and returns when it is on disk. fn may run
// more than once (when a neighbour failed): it assigns what it captured, never appends or counts.
func (d *DB) Write(ctx context.Context, fn func(tx *Tx) error) error { return errSoon }

// NextPosition gives the next number of the domain's order. Write transactions only.
func (tx *Tx) NextPosition() int64 { return 0 }

// Exec runs a statement and says how many rows it changed.
func (tx *Tx) Exec(ctx context.Context, q string, args ...any) (int64, error) { return 0, errSoon }

// Get reads one column of one row.
func Get[T any](ctx context.Context, tx Querier, q string, args ...any) (T, error) {
	var v T
	return v, errSoon
}

// List reads one column of all rows.
func List[T any](ctx context.Context, tx Querier, q string, args ...any) ([]T, error) {
	return nil, errSoon
}

// One reads several columns of one row.
func One(ctx context.Context, tx Querier, q string, args []any, dest ...any) error { return errSoon }

// Each calls fn for each row; the row is valid until fn returns.
func Each(ctx context.Context, tx Querier, q string, args []any, fn func(row *Row) error) error {
	return errSoon
}

// Scan copies the columns of the row.
func (r *Row) Scan(dest ...any) error { return errSoon }

// Migrate brings the schema up to the numbered files NNNN_name.sql of fsys.
func Migrate(ctx context.Context, d *DB, fsys fs.FS) error { return errSoon }
