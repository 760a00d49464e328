package db

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// retries is how often a transaction is run again that lost against another one.
const retries = 5

var (
	errWentOn    = errors.New("function went on after a failed statement")
	errAbandoned = errors.New("transaction was abandoned: a function in it ended its goroutine")
	errFence     = errors.New("position was moved by somebody else: a second process writes this domain")
)

// run gives every function of the batch its outcome. The first pass brackets nothing, for nearly always all goes well; when
// a function fails that has written, the second pass gives each a savepoint, so that any number of failures costs two passes.
func (d *DB) run(batch []*Pending) {
	for _, p := range batch {
		p.err = errAbandoned // unless the following lines get to their end
	}
	ctx := context.Background()
	careful := false
	var err error
	for range retries {
		for _, p := range batch {
			p.settled = false
		}
		if err = d.transact(ctx, batch, careful); errors.Is(err, errCareful) {
			careful = true
			err = d.transact(ctx, batch, careful)
		}
		if !errors.Is(err, errRetry) {
			break
		}
	}
	for _, p := range batch {
		if !p.settled {
			p.err = err
		}
	}
}

// errCareful asks for the pass with savepoints.
var errCareful = errors.New("a function of the batch failed")

// transact runs the batch in one transaction. Functions that failed on their own are settled; the error is that of the rest.
func (d *DB) transact(ctx context.Context, batch []*Pending, careful bool) (err error) {
	if err := d.knowPosition(ctx); err != nil {
		return err
	}
	s, err := d.engine.begin(ctx, write)
	if err != nil {
		return err
	}
	start := d.position.Load()
	tx := &Tx{db: d, s: s, batch: ctx, next: start}
	committed := false
	defer func() {
		tx.over = true
		if !committed {
			s.rollback()
		}
	}()
	alive := 0
	for _, p := range batch {
		p.settled = false
		ok, err := d.apply(tx, p, careful, len(batch) == 1)
		if err != nil {
			return err
		}
		if ok {
			alive++
		}
	}
	if alive == 0 {
		return nil
	}
	if err := d.storePosition(ctx, s, start, tx.next); err != nil {
		return d.uncommitted(err, careful || len(batch) == 1)
	}
	committed = true
	if err := s.commit(ctx); err != nil {
		return d.uncommitted(err, careful || len(batch) == 1)
	}
	d.position.Store(tx.next)
	return nil
}

// uncommitted judges an error after the functions ran. Without a connection nobody knows whether the commit happened, so the
// position is read again. What the functions had queued may have failed only now: the careful pass finds out whose it was.
func (d *DB) uncommitted(err error, known bool) error {
	d.writer.stale.Store(true)
	switch {
	case errors.Is(err, errFence):
		return errFence
	case isQueuedError(err) && !known && !errors.Is(err, errRetry):
		return errCareful
	}
	return fmt.Errorf("commit: %w", err)
}

// apply runs one function. It says whether the function's work is part of the transaction; an error ends the transaction.
func (d *DB) apply(tx *Tx, p *Pending, careful, alone bool) (bool, error) {
	before := tx.next
	tx.wrote, tx.failed = false, false
	if careful {
		if err := tx.s.savepoint(tx.batch); err != nil {
			return false, err
		}
	}
	err := call(tx, p.fn)
	if err == nil && careful {
		err = tx.s.flush(tx.batch)
	}
	switch {
	case err == nil && tx.failed:
		err = errWentOn
	case errors.Is(err, errRetry), errors.Is(err, errBroken):
		return false, err // not the function's fault alone
	case isQueuedError(err) && !careful && !alone:
		return false, errCareful // perhaps a neighbour's statement
	}
	if err == nil {
		if careful {
			return true, tx.s.keep(tx.batch)
		}
		return true, nil
	}
	p.err, p.settled = err, true
	tx.next = before
	switch {
	case careful:
		return false, tx.s.undo(tx.batch)
	case alone:
		return false, nil // the caller rolls back, for nothing is alive
	case tx.wrote || tx.failed:
		return false, errCareful
	}
	return false, nil // it changed nothing, the transaction goes on
}

// call turns a panic of fn into an error: a bug in one function must not take the writer with it.
func call(tx *Tx, fn func(*Tx) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			tx.wrote = true
			err = fmt.Errorf("panic in a transaction: %v\n%s", r, debug.Stack())
		}
	}()
	return fn(tx)
}

// upsertPosition changes the row only from the value that this process knows, and otherwise to NULL, which it refuses: so a
// second process on the same domain is found out inside the transaction, without waiting for the count of rows.
const (
	selectPosition = `SELECT value FROM position WHERE domain_id = $0`
	upsertPosition = `INSERT INTO position (domain_id, value) VALUES ($0, $1)
		ON CONFLICT (domain_id) DO UPDATE SET value = CASE WHEN position.value = $2 THEN excluded.value END`
)

// storePosition writes the counter, once per commit.
func (d *DB) storePosition(ctx context.Context, s session, start, next int64) error {
	if next == start {
		return nil
	}
	t, err := d.text(upsertPosition)
	if err != nil {
		return err
	}
	return s.queue(ctx, t, []any{next, start})
}

// knowPosition reads the counter again after an accident. Only the leader calls it.
func (d *DB) knowPosition(ctx context.Context) error {
	if !d.writer.stale.Load() {
		return nil
	}
	return d.loadPosition(ctx)
}

// loadPosition reads the counter. Before the first Migrate there is no table and no position.
func (d *DB) loadPosition(ctx context.Context) error {
	var value int64
	err := d.read(ctx, readOne, func(tx *Tx) error {
		var err error
		value, err = Get[int64](ctx, tx, selectPosition)
		return err
	})
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, errNoTable):
		value = 0
	case err != nil:
		return fmt.Errorf("read position: %w", err)
	}
	d.position.Store(value)
	d.writer.stale.Store(false)
	return nil
}
