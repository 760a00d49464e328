package db

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteConn is one connection to a file, spoken to by SQLite's own functions and not through database/sql or the driver's
// interfaces: these read column names and types for every result, box every value and guard what is used by one goroutine
// anyway. Figures: BenchmarkLayers.
type sqliteConn struct {
	tls   *libc.TLS
	db    uintptr
	out   uintptr // two words for out parameters
	stmts map[string]*sqliteStmt
}

// maxStmts bounds the prepared statements of a connection; the program has some hundreds.
const maxStmts = 1000

func openSQLiteConn(path string, cacheKiB int, readOnly bool) (*sqliteConn, error) {
	c := &sqliteConn{tls: libc.NewTLS(), stmts: map[string]*sqliteStmt{}}
	c.out = libc.Xmalloc(c.tls, 16)
	name, err := libc.CString(path)
	if err != nil {
		c.close()
		return nil, err
	}
	defer libc.Xfree(c.tls, name)
	flags := int32(sqlite3.SQLITE_OPEN_READWRITE | sqlite3.SQLITE_OPEN_CREATE | sqlite3.SQLITE_OPEN_NOMUTEX)
	rc := sqlite3.Xsqlite3_open_v2(c.tls, name, c.out, flags, 0)
	c.db = *(*uintptr)(at(c.out))
	if rc != sqlite3.SQLITE_OK {
		err := c.fail(rc)
		c.close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	sqlite3.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	if err := c.stablePlans(); err != nil {
		c.close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	sqlite3.Xsqlite3_busy_timeout(c.tls, c.db, 10_000) // another process, a backup: rare, but no reason to fail
	pragmas := []string{
		"PRAGMA journal_mode=WAL",
		"PRAGMA synchronous=FULL", // an acknowledged commit survives a power cut
		"PRAGMA foreign_keys=OFF",
		"PRAGMA temp_store=MEMORY",
		"PRAGMA wal_autocheckpoint=2000",
		"PRAGMA journal_size_limit=16777216",
		fmt.Sprintf("PRAGMA cache_size=-%d", cacheKiB),
	}
	if readOnly {
		pragmas = append(pragmas, "PRAGMA query_only=ON")
	}
	for _, q := range pragmas {
		if err := c.run(q); err != nil {
			c.close()
			return nil, fmt.Errorf("open %s: %s: %w", path, q, err)
		}
	}
	return c, nil
}

// stablePlans has SQLite keep the plan of a prepared statement. Otherwise it looks at the values bound to LIMIT and to partial
// indexes, and compiles such a statement again with each execution, which costs more than most of them do.
func (c *sqliteConn) stablePlans() error {
	args := libc.NewVaList(int32(1), uintptr(0))
	if args == 0 {
		return errors.New("out of memory")
	}
	defer libc.Xfree(c.tls, args)
	if rc := sqlite3.Xsqlite3_db_config(c.tls, c.db, sqlite3.SQLITE_DBCONFIG_ENABLE_QPSG, args); rc != sqlite3.SQLITE_OK {
		return c.fail(rc)
	}
	return nil
}

func (c *sqliteConn) close() {
	for _, s := range c.stmts {
		s.finalize()
	}
	c.stmts = nil
	if c.db != 0 {
		sqlite3.Xsqlite3_close_v2(c.tls, c.db)
	}
	libc.Xfree(c.tls, c.out)
	c.tls.Close()
}

// run executes a script of one or more statements without arguments.
func (c *sqliteConn) run(script string) error {
	q, err := libc.CString(script)
	if err != nil {
		return err
	}
	defer libc.Xfree(c.tls, q)
	if rc := sqlite3.Xsqlite3_exec(c.tls, c.db, q, 0, 0, 0); rc != sqlite3.SQLITE_OK {
		return c.fail(rc)
	}
	return nil
}

// inTransaction is false also when SQLite itself has rolled back, as it does after some errors.
func (c *sqliteConn) inTransaction() bool { return sqlite3.Xsqlite3_get_autocommit(c.tls, c.db) == 0 }

// prepare gives the statement for a text, from the connection's cache. A statement that is still being read from, by an
// Each around this one, gets a twin that is thrown away after use.
func (c *sqliteConn) prepare(q string) (*sqliteStmt, error) {
	s := c.stmts[q]
	if s != nil && !s.busy {
		s.busy = true
		return s, nil
	}
	twin := s != nil
	s, err := c.compile(q)
	if err != nil {
		return nil, err
	}
	s.busy, s.twin = true, twin
	if !twin {
		c.makeRoom()
		c.stmts[q] = s
	}
	return s, nil
}

func (c *sqliteConn) compile(q string) (*sqliteStmt, error) {
	text, err := libc.CString(q)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, text)
	rc := sqlite3.Xsqlite3_prepare_v3(c.tls, c.db, text, int32(len(q)+1), sqlite3.SQLITE_PREPARE_PERSISTENT, c.out, c.out+8)
	if rc != sqlite3.SQLITE_OK {
		return nil, c.fail(rc)
	}
	s := &sqliteStmt{c: c, p: *(*uintptr)(at(c.out))}
	if s.p == 0 {
		return nil, fmt.Errorf("empty statement")
	}
	s.cols = int(sqlite3.Xsqlite3_column_count(c.tls, s.p))
	return s, nil
}

func (c *sqliteConn) makeRoom() {
	if len(c.stmts) < maxStmts {
		return
	}
	for q, s := range c.stmts {
		if !s.busy {
			s.finalize()
			delete(c.stmts, q)
		}
	}
}

// fail is the error of the last call.
func (c *sqliteConn) fail(rc int32) error {
	e := &sqliteError{code: rc, text: "out of memory"}
	if c.db != 0 {
		e.text = libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db))
	}
	return e
}

// sqliteError is an error of the engine with its extended code.
type sqliteError struct {
	code int32
	text string
}

func (e *sqliteError) Error() string { return fmt.Sprintf("sqlite: %s (%d)", e.text, e.code) }

// Is maps SQLite's codes to what the package decides by.
func (e *sqliteError) Is(target error) bool {
	switch target {
	case ErrConflict:
		return e.code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY ||
			e.code == sqlite3.SQLITE_CONSTRAINT_ROWID
	case errFence:
		return e.code == sqlite3.SQLITE_CONSTRAINT_NOTNULL && strings.HasSuffix(e.text, " position.value")
	case errNoTable:
		return e.code == sqlite3.SQLITE_ERROR && strings.HasPrefix(e.text, "no such table:")
	}
	return false
}

// sqliteStmt is a prepared statement with the memory its arguments stand in while it runs.
type sqliteStmt struct {
	c     *sqliteConn
	p     uintptr
	cols  int
	busy  bool // between prepare and done
	twin  bool // not in the cache
	arena uintptr
	size  int // of arena
}

// keepArena is the most that a statement keeps for its next arguments.
const keepArena = 64 << 10

func (s *sqliteStmt) finalize() {
	sqlite3.Xsqlite3_finalize(s.c.tls, s.p)
	if s.arena != 0 {
		libc.Xfree(s.c.tls, s.arena)
	}
}

// done makes the statement ready for the next use. Bindings are left: they are all bound anew, and point into the arena.
func (s *sqliteStmt) done() {
	sqlite3.Xsqlite3_reset(s.c.tls, s.p)
	s.busy = false
	if s.twin {
		s.finalize()
		return
	}
	if s.size > keepArena {
		sqlite3.Xsqlite3_clear_bindings(s.c.tls, s.p)
		libc.Xfree(s.c.tls, s.arena)
		s.arena, s.size = 0, 0
	}
}

// bind gives the statement its arguments. Texts and bytes are copied once, into memory that SQLite then uses in place.
func (s *sqliteStmt) bind(t *text, args []any, domain int64) error {
	var room [16]value
	values := room[:0]
	need := 1 // an empty blob needs an address too
	for i, arg := range args {
		v, err := valueOf(arg)
		if err == nil && v.isList() != t.lists[i] {
			err = fmt.Errorf("%T where the text says otherwise", arg)
		}
		if err == nil && v.isList() {
			v, err = v.jsonList()
		}
		if err != nil {
			return fmt.Errorf("argument $%d: %w", i+1, err)
		}
		if v.kind == textual {
			need += len(v.s)
		} else {
			need += len(v.b)
		}
		values = append(values, v)
	}
	if need > math.MaxInt32 {
		return fmt.Errorf("arguments of %d bytes", need)
	}
	if need > s.size {
		if s.arena != 0 {
			libc.Xfree(s.c.tls, s.arena)
		}
		s.size = max(need, 256)
		s.arena = libc.Xmalloc(s.c.tls, libc.Tsize_t(s.size))
	}
	if t.domain {
		values = append(values, value{kind: integer, i: domain})
	}
	return s.bindValues(values)
}

func (s *sqliteStmt) bindValues(values []value) error {
	dest := s.arena
	for i := range values {
		v, n, rc := &values[i], int32(i+1), int32(0)
		switch v.kind {
		case null:
			rc = sqlite3.Xsqlite3_bind_null(s.c.tls, s.p, n)
		case integer:
			rc = sqlite3.Xsqlite3_bind_int64(s.c.tls, s.p, n, v.i)
		case float:
			rc = sqlite3.Xsqlite3_bind_double(s.c.tls, s.p, n, v.f)
		case textual:
			copy(unsafe.Slice((*byte)(at(dest)), len(v.s)), v.s)
			rc = sqlite3.Xsqlite3_bind_text(s.c.tls, s.p, n, dest, int32(len(v.s)), 0)
			dest += uintptr(len(v.s))
		case blob:
			copy(unsafe.Slice((*byte)(at(dest)), len(v.b)), v.b)
			rc = sqlite3.Xsqlite3_bind_blob(s.c.tls, s.p, n, dest, int32(len(v.b)), 0)
			dest += uintptr(len(v.b))
		}
		if rc != sqlite3.SQLITE_OK {
			return s.c.fail(rc)
		}
	}
	return nil
}

// next moves to the next row, and says whether there is one.
func (s *sqliteStmt) next() (bool, error) {
	switch rc := sqlite3.Xsqlite3_step(s.c.tls, s.p); rc {
	case sqlite3.SQLITE_ROW:
		return true, nil
	case sqlite3.SQLITE_DONE:
		return false, nil
	default:
		return false, s.c.fail(rc)
	}
}

func (s *sqliteStmt) columns() int { return s.cols }

func (s *sqliteStmt) close() error {
	s.done()
	return nil
}

func (s *sqliteStmt) isNull(i int) bool {
	return sqlite3.Xsqlite3_column_type(s.c.tls, s.p, int32(i)) == sqlite3.SQLITE_NULL
}

func (s *sqliteStmt) int(i int) (int64, error) {
	switch t := sqlite3.Xsqlite3_column_type(s.c.tls, s.p, int32(i)); t {
	case sqlite3.SQLITE_INTEGER:
		return sqlite3.Xsqlite3_column_int64(s.c.tls, s.p, int32(i)), nil
	case sqlite3.SQLITE_FLOAT:
		f := sqlite3.Xsqlite3_column_double(s.c.tls, s.p, int32(i))
		if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return int64(f), nil
		}
	}
	return 0, errNoInteger
}

func (s *sqliteStmt) float(i int) (float64, error) {
	switch t := sqlite3.Xsqlite3_column_type(s.c.tls, s.p, int32(i)); t {
	case sqlite3.SQLITE_INTEGER, sqlite3.SQLITE_FLOAT:
		return sqlite3.Xsqlite3_column_double(s.c.tls, s.p, int32(i)), nil
	}
	return 0, errNoNumber
}

func (s *sqliteStmt) bytes(i int) ([]byte, error) {
	switch t := sqlite3.Xsqlite3_column_type(s.c.tls, s.p, int32(i)); t {
	case sqlite3.SQLITE_INTEGER, sqlite3.SQLITE_FLOAT:
		return nil, errNoBytes
	}
	p := sqlite3.Xsqlite3_column_blob(s.c.tls, s.p, int32(i))
	n := sqlite3.Xsqlite3_column_bytes(s.c.tls, s.p, int32(i))
	if p == 0 || n == 0 {
		return []byte{}, nil
	}
	return unsafe.Slice((*byte)(at(p)), n), nil
}

// at makes a pointer of an address that the engine's allocator gave, which lies outside Go's heap.
func at(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// changes is how many rows the last statement changed; a SELECT leaves the count of the one before it.
func (c *sqliteConn) changes(t *text) int64 {
	if t.reads {
		return 0
	}
	return sqlite3.Xsqlite3_changes64(c.tls, c.db)
}
