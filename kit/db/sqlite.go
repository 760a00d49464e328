package db

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// sqliteFile is a database file: one connection that writes, and some that only read.
type sqliteFile struct {
	path string
	cfg  Config
	room chan struct{} // a token for each reader in use

	mu      sync.Mutex
	readers []*sqliteConn // idle, the last used last, guarded by mu
	writer  *sqliteConn   // idle or nil; only the leader of the group commit takes it, guarded by mu
	closed  bool          // guarded by mu
}

func openSQLite(path string, cfg Config) (*sqliteFile, error) {
	if path == "" {
		return nil, fmt.Errorf("sqlite: needs a path")
	}
	if cfg.Readers <= 0 {
		cfg.Readers = 4
	}
	if cfg.CacheKiB <= 0 {
		cfg.CacheKiB = 1024
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	// SQLite makes files as the umask allows; ours hold people's messages. -wal and -shm take the file's mode.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	return &sqliteFile{path: path, cfg: cfg, room: make(chan struct{}, cfg.Readers)}, nil
}

func (f *sqliteFile) dialect() dialect { return sqlite }

func (f *sqliteFile) begin(ctx context.Context, m mode) (session, error) {
	if m == write {
		return f.beginWrite()
	}
	select {
	case f.room <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s, err := f.beginRead(m)
	if err != nil {
		<-f.room
		return nil, err
	}
	return s, nil
}

func (f *sqliteFile) beginRead(m mode) (session, error) {
	f.mu.Lock()
	var c *sqliteConn
	if n := len(f.readers); n > 0 {
		c, f.readers = f.readers[n-1], f.readers[:n-1]
	}
	closed := f.closed
	f.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	var err error
	if c == nil {
		if c, err = openSQLiteConn(f.path, f.cfg.CacheKiB, true); err != nil {
			return nil, err
		}
	}
	s := &sqliteSession{file: f, c: c, mode: m}
	if m == readMany {
		if err := s.simple("BEGIN"); err != nil {
			c.close()
			return nil, err
		}
	}
	return s, nil
}

func (f *sqliteFile) beginWrite() (session, error) {
	f.mu.Lock()
	c := f.writer
	f.writer = nil
	closed := f.closed
	f.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	var err error
	if c == nil {
		if c, err = openSQLiteConn(f.path, f.cfg.CacheKiB, false); err != nil {
			return nil, err
		}
	}
	s := &sqliteSession{file: f, c: c, mode: write}
	if err := s.simple("BEGIN IMMEDIATE"); err != nil {
		c.close()
		return nil, fmt.Errorf("begin: %w", err)
	}
	return s, nil
}

// release closes the connections that nobody uses. The last one to go writes the log back into the file.
func (f *sqliteFile) release() {
	f.mu.Lock()
	idle := f.readers
	if f.writer != nil {
		idle = append(idle, f.writer)
	}
	f.readers, f.writer = nil, nil
	f.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}

func (f *sqliteFile) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	for range cap(f.room) { // readers still at work
		f.room <- struct{}{}
	}
	for range cap(f.room) { // those who wait for a place find it closed
		<-f.room
	}
	f.release()
}

// sqliteSession is a connection in use.
type sqliteSession struct {
	file *sqliteFile
	c    *sqliteConn
	mode mode
}

// simple runs a statement without arguments, prepared like any other.
func (s *sqliteSession) simple(q string) error {
	stmt, err := s.c.prepare(q)
	if err != nil {
		return err
	}
	_, err = stmt.next()
	stmt.done()
	return err
}

func (s *sqliteSession) start(t *text, args []any) (*sqliteStmt, error) {
	stmt, err := s.c.prepare(t.sql)
	if err != nil {
		return nil, err
	}
	if err := stmt.bind(t, args, s.file.cfg.Domain); err != nil {
		stmt.done()
		return nil, err
	}
	return stmt, nil
}

func (s *sqliteSession) exec(_ context.Context, t *text, args []any) (int64, error) {
	stmt, err := s.start(t, args)
	if err != nil {
		return 0, err
	}
	defer stmt.done()
	for more := true; more; {
		if more, err = stmt.next(); err != nil {
			return 0, s.broken(err)
		}
	}
	return s.c.changes(t), nil
}

func (s *sqliteSession) queue(ctx context.Context, t *text, args []any) error {
	_, err := s.exec(ctx, t, args)
	return err
}

func (s *sqliteSession) query(_ context.Context, t *text, args []any) (cursor, error) {
	stmt, err := s.start(t, args)
	if err != nil {
		return nil, err
	}
	return stmt, nil
}

func (s *sqliteSession) flush(context.Context) error { return nil }

// broken tells an error of a statement from one that took the transaction with it (disk full, I/O).
func (s *sqliteSession) broken(err error) error {
	if s.mode == write && !s.c.inTransaction() {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	return err
}

func (s *sqliteSession) savepoint(context.Context) error { return s.simple("SAVEPOINT f") }
func (s *sqliteSession) keep(context.Context) error      { return s.simple("RELEASE f") }

func (s *sqliteSession) undo(context.Context) error {
	if err := s.simple("ROLLBACK TO f"); err != nil {
		return s.broken(err)
	}
	return s.simple("RELEASE f")
}

func (s *sqliteSession) commit(context.Context) error {
	if err := s.simple("COMMIT"); err != nil {
		s.c.close() // whatever the disk did, the next connection sees what is there
		return err
	}
	s.give()
	return nil
}

func (s *sqliteSession) rollback() {
	if s.c.inTransaction() {
		if err := s.simple("ROLLBACK"); err != nil {
			s.c.close()
			s.c = nil
		}
	}
	s.give()
}

// give puts the connection back.
func (s *sqliteSession) give() {
	f := s.file
	f.mu.Lock()
	if s.c != nil {
		if s.mode == write {
			f.writer = s.c
		} else {
			f.readers = append(f.readers, s.c)
		}
	}
	f.mu.Unlock()
	if s.mode != write {
		<-f.room
	}
}

// script runs the statements of a migration.
func (s *sqliteSession) script(q string) error {
	if err := s.c.run(q); err != nil {
		return s.broken(err)
	}
	return nil
}
