// Package db runs one SQL text on SQLite and on PostgreSQL, for many domains at once.
//
// A DB is bound to one domain. Statements name their arguments $1, $2, … in any order, and the domain of the handle $0;
// "x in($1)" (also "not in($1)") takes a slice. Types are BIGINT, TEXT and BYTEA; booleans are BIGINT 0 and 1, times BIGINT
// milliseconds. A Go string is TEXT, a []byte is BYTEA, a nil []byte or a nil pointer is NULL. TEXT holds no NUL byte on
// PostgreSQL, so foreign text that may hold one goes into a BYTEA.
//
// Read gives a function one snapshot. Write shares a transaction between all functions that wait (group commit) and answers
// them after it is on disk. The package knows no tables but its own two, position and schema_version, and builds no SQL.
// All methods of DB are safe for concurrent use; a Tx belongs to the function that got it. A function given to Read or Write
// calls neither of them again: it has its Tx.
package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// ErrNotFound is what Get and One give for no row.
var ErrNotFound = errors.New("not found")

// ErrClosed is what a closed DB answers.
var ErrClosed = errors.New("database is closed")

// Config says which database, and whose rows in it.
type Config struct {
	// URL is "sqlite:/path/file.db" or "postgres://user@host/name?…".
	URL string
	// Domain is $0 of every statement.
	Domain int64
	// Readers bounds the read connections of an SQLite file, 0 means 4. They open on demand.
	Readers int
	// CacheKiB is the page cache of each SQLite connection, 0 means 1024.
	CacheKiB int
	// Pools lets handles of several domains share PostgreSQL connections; nil gives this handle its own.
	Pools *Pools
	// MaxConns bounds the pool of a PostgreSQL URL, 0 means 16. Where a pool is shared, the first handle decides.
	MaxConns int
}

// Querier is a *Tx, or a struct that embeds one.
type Querier interface{ dbTx() *Tx }

// DB is one domain's view of a database.
type DB struct {
	cfg    Config
	engine engine
	texts  sync.Map // string → *text: statements as the engine wants them

	position atomic.Int64 // the last committed one
	writer   writer
}

// Open prepares a handle and reads the domain's position, if there is a schema yet. Connections open when they are needed.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	d := &DB{cfg: cfg}
	d.writer.init()
	var err error
	switch scheme, rest, _ := strings.Cut(cfg.URL, ":"); scheme {
	case "sqlite":
		d.engine, err = openSQLite(rest, cfg)
	case "postgres", "postgresql":
		d.engine, err = openPostgres(cfg)
	default:
		err = fmt.Errorf("scheme %q is neither sqlite nor postgres", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := d.loadPosition(ctx); err != nil {
		d.engine.close()
		return nil, fmt.Errorf("open database: %w", err)
	}
	return d, nil
}

// Close waits for running transactions and closes the connections. Later calls get ErrClosed.
func (d *DB) Close() error {
	if d.writer.close() {
		d.engine.close()
	}
	return nil
}

// Release closes idle connections: what a domain does that goes to sleep. The next use opens new ones.
func (d *DB) Release() { d.engine.release() }

// Domain is $0.
func (d *DB) Domain() int64 { return d.cfg.Domain }

// Position is the last committed position of the domain's one order. What was written up to it is visible to every Read
// that begins after this call.
func (d *DB) Position() int64 { return d.position.Load() }

// Read gives fn one snapshot.
func (d *DB) Read(ctx context.Context, fn func(tx *Tx) error) error {
	return d.read(ctx, readMany, fn)
}

// ReadOne is Read for a function of a single statement: without a transaction around it, it saves PostgreSQL a round trip.
func (d *DB) ReadOne(ctx context.Context, fn func(tx *Tx) error) error {
	return d.read(ctx, readOne, fn)
}

func (d *DB) read(ctx context.Context, m mode, fn func(tx *Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := d.engine.begin(ctx, m)
	if err != nil {
		return err
	}
	tx := &Tx{db: d, s: s, once: m == readOne}
	defer func() { // also when fn panics
		tx.over = true
		s.rollback() // ends a snapshot as well as a commit does
	}()
	return fn(tx)
}

// text is q as the engine wants it.
func (d *DB) text(q string) (*text, error) {
	if t, ok := d.texts.Load(q); ok {
		return t.(*text), nil
	}
	t, err := rewrite(q, d.engine.dialect())
	if err == nil {
		d.texts.Store(q, t)
	}
	return t, err
}
