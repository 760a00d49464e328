package db

import (
	"context"
	"errors"
)

// ErrConflict is a row that may not be there twice. On PostgreSQL it ends the transaction, so statements that expect it say
// ON CONFLICT; this is for those that do not.
var ErrConflict = errors.New("row exists already")

// errRetry is a transaction that lost against another one and may simply be run again.
var errRetry = errors.New("transaction conflict")

// engine opens transactions. There are two: an SQLite file, and a pool of PostgreSQL connections.
type engine interface {
	dialect() dialect
	// begin starts a transaction; the session belongs to the caller until commit or rollback.
	begin(ctx context.Context, mode mode) (session, error)
	release() // closes idle connections
	close()
}

// mode is what a transaction is for.
type mode int

const (
	readOne  mode = iota // a single SELECT, no transaction around it
	readMany             // one snapshot
	write
)

// session is a connection in a transaction.
type session interface {
	exec(ctx context.Context, t *text, args []any) (int64, error)
	queue(ctx context.Context, t *text, args []any) error
	query(ctx context.Context, t *text, args []any) (cursor, error)
	flush(ctx context.Context) error // runs what is queued

	// savepoint, undo and keep bracket one function of a shared transaction; at most one is open.
	savepoint(ctx context.Context) error
	undo(ctx context.Context) error
	keep(ctx context.Context) error

	// commit and rollback end the session.
	commit(ctx context.Context) error
	rollback()
}

// cursor walks over the rows of a result.
type cursor interface {
	column
	columns() int
	next() (bool, error)
	close() error
}

var (
	errBroken    = errors.New("transaction is lost") // by a lost connection or a full disk; the whole batch fails
	errNoTable   = errors.New("no such table")
	errNoInteger = errors.New("is no integer")
	errNoNumber  = errors.New("is no number")
	errNoBytes   = errors.New("is neither text nor bytes")
)
