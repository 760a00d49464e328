package db

import (
	"context"
	"errors"
	"fmt"
)

var (
	errNull   = errors.New("is NULL")
	errTxDone = errors.New("transaction is over")
)

// Tx is a transaction. It belongs to the function that got it and is not safe for concurrent use.
type Tx struct {
	db   *DB
	s    session
	once bool // ReadOne: one statement only
	used bool
	over bool

	batch  context.Context // of a write: outlives the callers, whose contexts must not break the shared transaction
	next   int64           // of a write: the last position handed out
	wrote  bool            // of a write: this function may have changed something
	failed bool            // a statement failed: PostgreSQL takes no more of them
}

func (tx *Tx) dbTx() *Tx { return tx }

// Domain is $0.
func (tx *Tx) Domain() int64 { return tx.db.cfg.Domain }

// OnPostgres says which engine this is, for the few statements that can not read the same on both: full-text search.
func (tx *Tx) OnPostgres() bool { return tx.db.engine.dialect() == postgres }

// NextPosition gives the next number of the domain's one order. Write transactions only. The numbers of a transaction become
// visible together, after its commit and before its callers are answered.
func (tx *Tx) NextPosition() int64 {
	if tx.batch == nil {
		panic("kit/db: NextPosition in a read")
	}
	tx.wrote = true
	tx.next++
	return tx.next
}

// Exec runs a statement and says how many rows it changed.
func (tx *Tx) Exec(ctx context.Context, q string, args ...any) (int64, error) {
	t, ctx, err := tx.start(ctx, q, args)
	if err != nil {
		return 0, err
	}
	n, err := tx.s.exec(ctx, t, args)
	return n, tx.check(q, err)
}

// Queue runs a statement whose outcome nobody needs before the commit. On PostgreSQL it travels with the next statement that
// is waited for, which saves its round trip; a failure of it fails the function that queued it. Arguments must not change
// afterwards. On SQLite it is Exec.
func (tx *Tx) Queue(ctx context.Context, q string, args ...any) error {
	t, ctx, err := tx.start(ctx, q, args)
	if err != nil {
		return err
	}
	return tx.check(q, tx.s.queue(ctx, t, args))
}

// start checks what all statements have in common. Errors made here left the transaction as it was.
func (tx *Tx) start(ctx context.Context, q string, args []any) (*text, context.Context, error) {
	if tx.over {
		return nil, nil, errTxDone
	}
	if tx.once && tx.used {
		return nil, nil, errors.New("ReadOne is for one statement")
	}
	tx.used = true
	t, err := tx.db.text(q)
	if err != nil {
		return nil, nil, fmt.Errorf("%w in %s", err, brief(q))
	}
	if len(args) != t.args {
		return nil, nil, fmt.Errorf("%d arguments for %d in %s", len(args), t.args, brief(q))
	}
	if tx.batch != nil {
		tx.wrote = tx.wrote || !t.reads
		return t, tx.batch, nil
	}
	return t, ctx, ctx.Err()
}

// check notes a failed statement and names it.
func (tx *Tx) check(q string, err error) error {
	if err == nil {
		return nil
	}
	tx.failed = true
	return fmt.Errorf("%s: %w", brief(q), err)
}

// query runs a statement that gives rows, and hands them to fn.
func (tx *Tx) query(ctx context.Context, q string, args []any, fn func(rows cursor) error) error {
	t, ctx, err := tx.start(ctx, q, args)
	if err != nil {
		return err
	}
	rows, err := tx.s.query(ctx, t, args)
	if err != nil {
		return tx.check(q, err)
	}
	err = fn(rows)
	if closed := rows.close(); err == nil && closed != nil {
		err = tx.check(q, closed)
	}
	return err
}

// Get reads one column of one row, or ErrNotFound.
func Get[T any](ctx context.Context, tx Querier, q string, args ...any) (T, error) {
	var v T
	err := One(ctx, tx, q, args, &v)
	return v, err
}

// List reads one column of all rows.
func List[T any](ctx context.Context, tx Querier, q string, args ...any) ([]T, error) {
	var list []T
	err := Each(ctx, tx, q, args, func(row *Row) error {
		var v T
		if err := row.Scan(&v); err != nil {
			return err
		}
		list = append(list, v)
		return nil
	})
	return list, err
}

// One reads several columns of one row, or ErrNotFound. Further rows are not looked at.
func One(ctx context.Context, tx Querier, q string, args []any, dest ...any) error {
	t := tx.dbTx()
	return t.query(ctx, q, args, func(rows cursor) error {
		found, err := rows.next()
		if err != nil {
			return t.check(q, err)
		}
		if !found {
			return ErrNotFound
		}
		row := Row{rows: rows, q: q}
		return row.Scan(dest...)
	})
}

// Each calls fn for each row, until fn gives an error. fn may run other statements; the row is valid until it returns.
// PostgreSQL's answer is read whole before the first call, so callers page what may be long.
func Each(ctx context.Context, tx Querier, q string, args []any, fn func(row *Row) error) error {
	t := tx.dbTx()
	return t.query(ctx, q, args, func(rows cursor) error {
		row := Row{rows: rows, q: q}
		for n := 0; ; n++ {
			if n&63 == 63 && t.batch == nil && ctx.Err() != nil {
				return ctx.Err()
			}
			found, err := rows.next()
			if err != nil {
				return t.check(q, err)
			}
			if !found {
				return nil
			}
			if err := fn(&row); err != nil {
				return err
			}
		}
	})
}

// Row is the current row of Each.
type Row struct {
	rows cursor
	q    string
}

// Scan copies the columns of the row into pointers. A NULL needs a *[]byte or a pointer to a pointer.
func (r *Row) Scan(dest ...any) error {
	if n := r.rows.columns(); n != len(dest) {
		return fmt.Errorf("%d destinations for %d columns of %s", len(dest), n, brief(r.q))
	}
	for i, d := range dest {
		if err := assign(r.rows, i, d); err != nil {
			return fmt.Errorf("column %d of %s: %w", i+1, brief(r.q), err)
		}
	}
	return nil
}

// brief names a statement in an error by its beginning. Statements hold no data, so logs may show it.
func brief(q string) string {
	out := make([]byte, 0, 64)
	space := true
	for i := 0; i < len(q) && len(out) < 60; i++ {
		c := q[i]
		if c == '\n' || c == '\t' {
			c = ' '
		}
		if c == ' ' && space {
			continue
		}
		space = c == ' '
		out = append(out, c)
	}
	return "`" + string(out) + "`"
}
