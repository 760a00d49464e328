// Package db runs one SQL text on SQLite and on PostgreSQL, for many domains at once.
//
// A DB is bound to one domain. Statements name their arguments $1, $2, … in any order, and the domain of the handle $0;
// "x in($1)" (also "not in($1)") takes a slice. Types are BIGINT, TEXT and BYTEA; booleans are BIGINT 0 and 1, times BIGINT
// milliseconds. A Go string is TEXT, a []byte is BYTEA, a nil []byte or a nil pointer is NULL. TEXT holds no NUL byte on
// PostgreSQL, so foreign text that may hold one goes into a BYTEA.
//
// Read gives a function one snapshot. Write shares a transaction between all functions that wait (group commit) and answers
// them after it is on disk. The package knows no tables but its own two, position and schema_version, and builds no SQL.
// All methods of DB are safe for concurrent use; a Tx belongs to the function that got it.
package db

import (
	"context"
	"errors"
)

// ErrNotFound is what Get and One give for no row.
var ErrNotFound = errors.New("not found")

// ErrClosed is what a closed DB answers.
var ErrClosed = errors.New("database is closed")

// Config says which database, and whose rows in it.
type Config struct {
	// URL is "sqlite:/path/file.db" or "postgres://user@host/name?…". Handles with the same Postgres URL share one pool.
	URL string
	// Domain is $0 of every statement.
	Domain int64
	// Readers bounds the read connections of an SQLite file, 0 means 4. They open on demand.
	Readers int
	// CacheKiB is the page cache of each SQLite connection, 0 means 1024.
	CacheKiB int
	// MaxConns bounds the shared pool of a Postgres URL, 0 means 16. The first handle of a URL decides.
	MaxConns int
}

// Querier is a *Tx, or a struct that embeds one.
type Querier interface{ dbTx() *Tx }

// Read gives fn one snapshot. It is not repeated on errors.
func (d *DB) Read(ctx context.Context, fn func(tx *Tx) error) error { return d.read(ctx, true, fn) }

// ReadOne is Read for functions of a single statement: without a snapshot around it, it saves PostgreSQL two round trips.
func (d *DB) ReadOne(ctx context.Context, fn func(tx *Tx) error) error {
	return d.read(ctx, false, fn)
}
