package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// pgConn speaks the extended query protocol over a connection that pgx made: statements are prepared once by text,
// written into the send buffer one behind the other, and their answers read together. A whole group commit so takes one
// round trip when nobody asks for a result on the way. It belongs to one session at a time.
type pgConn struct {
	pg     *pgconn.PgConn
	fe     *pgproto3.Frontend
	stmts  map[string]*pgStmt
	names  int
	queued int    // statements in the send buffer
	size   int    // bytes of their arguments
	status byte   // transaction status as last told: I, T or E
	tag    string // command tag of the last statement
	dead   bool
	since  time.Time // idle since
	params pgParams  // room for the arguments of the statement being queued
	spare  *pgRows   // room for the next result
}

// A queue is sent before the answers to it could fill the socket's buffers, or its arguments the memory.
const (
	maxQueued      = 256
	maxQueuedBytes = 1 << 20
)

// pgStmt is a prepared statement.
type pgStmt struct {
	name    string
	params  []uint32 // types
	fields  []uint32 // types
	formats []int16  // of the fields, as Bind asks for them
}

func newPgConn(pg *pgconn.PgConn) *pgConn {
	return &pgConn{pg: pg, fe: pg.Frontend(), stmts: map[string]*pgStmt{}, status: 'I'}
}

func (c *pgConn) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.pg.Close(ctx) // nobody could do anything about it
}

// queue prepares a statement if this connection has not seen it, and writes it into the send buffer.
func (c *pgConn) queue(t *text, args []any, domain int64) error {
	if c.dead {
		return errBroken
	}
	stmt := c.stmts[t.sql]
	if stmt == nil {
		var err error
		if stmt, err = c.prepare(t.sql); err != nil {
			return err
		}
	}
	bind := pgproto3.Bind{PreparedStatement: stmt.name, ResultFormatCodes: stmt.formats}
	if len(stmt.params) > 0 {
		if err := c.params.encode(stmt, t, args, domain); err != nil {
			return err
		}
		bind.ParameterFormatCodes, bind.Parameters = c.params.formats, c.params.values
		c.size += c.params.size
	}
	c.fe.SendBind(&bind)
	c.fe.SendExecute(&pgproto3.Execute{})
	c.queued++
	return nil
}

// prepare has a statement parsed by the server. What is queued is sent first: it may create the tables.
func (c *pgConn) prepare(q string) (*pgStmt, error) {
	if c.queued > 0 {
		if _, err := c.sync(context.Background(), nil); err != nil {
			return nil, err
		}
	}
	c.names++
	s := &pgStmt{name: "k" + strconv.Itoa(c.names)}
	c.fe.SendParse(&pgproto3.Parse{Name: s.name, Query: q})
	c.fe.SendDescribe(&pgproto3.Describe{ObjectType: 'S', Name: s.name})
	c.fe.SendSync(&pgproto3.Sync{})
	err := c.receive(func(msg pgproto3.BackendMessage) {
		switch m := msg.(type) {
		case *pgproto3.ParameterDescription:
			s.params = append(s.params, m.ParameterOIDs...)
		case *pgproto3.RowDescription:
			for _, f := range m.Fields {
				s.fields = append(s.fields, f.DataTypeOID)
				s.formats = append(s.formats, formatOf(f.DataTypeOID))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	c.stmts[q] = s
	return s, nil
}

// sync sends what is queued and reads the answers; the rows of the last statement go to rows. An error of a statement before
// the last is a queuedError.
func (c *pgConn) sync(ctx context.Context, rows *pgRows) (int64, error) {
	if c.dead {
		return 0, errBroken
	}
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() { _ = c.pg.Conn().SetDeadline(time.Unix(1, 0)) })
		defer func() {
			if !stop() {
				c.dead = true // the deadline is set, or about to be
			}
		}()
	}
	last, done := c.queued-1, 0
	c.queued, c.size = 0, 0
	var changed int64
	c.fe.SendSync(&pgproto3.Sync{})
	err := c.receive(func(msg pgproto3.BackendMessage) {
		switch m := msg.(type) {
		case *pgproto3.DataRow:
			if done == last && rows != nil {
				rows.add(m.Values)
			}
		case *pgproto3.CommandComplete:
			if done == last {
				c.tag = commandName(m.CommandTag)
				changed = rowsAffected(m.CommandTag)
			}
			done++
		}
	})
	if err != nil {
		if ctx.Err() != nil && c.dead {
			return 0, fmt.Errorf("%w: %w", errBroken, ctx.Err())
		}
		if done < last && !c.dead {
			return 0, &queuedError{err}
		}
		return 0, err
	}
	return changed, nil
}

// rowsAffected is the number at the end of a command tag.
func rowsAffected(tag []byte) int64 {
	n := int64(0)
	for _, c := range tag[bytes.LastIndexByte(tag, ' ')+1:] {
		if c < '0' || c > '9' {
			return 0
		}
		n = 10*n + int64(c-'0')
	}
	return n
}

func commandName(tag []byte) string {
	switch string(tag) { // no allocation for the frequent one
	case "COMMIT":
		return "COMMIT"
	case "ROLLBACK":
		return "ROLLBACK"
	}
	return ""
}

// receive flushes and reads until the server is ready again. It returns the first error; after one that is not the
// server's, the connection is dead.
func (c *pgConn) receive(each func(pgproto3.BackendMessage)) error {
	if err := c.fe.Flush(); err != nil {
		c.dead = true
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	var failed error
	for {
		msg, err := c.fe.Receive()
		if err != nil {
			c.dead = true
			if failed != nil { // the server said why it closes
				err = failed
			}
			return fmt.Errorf("%w: %w", errBroken, err)
		}
		switch m := msg.(type) {
		case *pgproto3.ReadyForQuery:
			c.status = m.TxStatus
			return failed
		case *pgproto3.ErrorResponse:
			if failed == nil {
				failed = &pgError{pgconn.ErrorResponseToPgError(m)}
			}
		case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
		default:
			each(msg)
		}
	}
}

// script runs statements without arguments in the simple protocol, which takes several at once.
func (c *pgConn) script(q string) error {
	if c.queued > 0 {
		if _, err := c.sync(context.Background(), nil); err != nil {
			return err
		}
	}
	c.fe.Send(&pgproto3.Query{String: q})
	return c.receive(func(pgproto3.BackendMessage) {})
}

// queuedError is an error of a statement that was queued, told to whoever came after it.
type queuedError struct{ err error }

func (e *queuedError) Error() string { return "queued statement: " + e.err.Error() }
func (e *queuedError) Unwrap() error { return e.err }

func isQueuedError(err error) bool {
	var q *queuedError
	return errors.As(err, &q)
}

// pgError is an error of the server.
type pgError struct{ *pgconn.PgError }

func (e *pgError) Error() string { return "postgres: " + e.Message + " (" + e.Code + ")" }

// Is maps SQLSTATE to what the package decides by.
func (e *pgError) Is(target error) bool {
	switch target {
	case ErrConflict:
		return e.Code == "23505"
	case errNoTable:
		return e.Code == "42P01"
	case errRetry:
		return e.Code == "40001" || e.Code == "40P01"
	case errFence:
		return e.Code == "23502" && e.TableName == "position"
	}
	return false
}
