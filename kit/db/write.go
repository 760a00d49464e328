package db

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// maxBatch bounds how many functions share a transaction, so that the first of them is not kept waiting for long.
const maxBatch = 256

// writer is the group commit. There is no writer goroutine: the first caller that finds nobody writing leads, runs its
// function and those of all who wait in one transaction, and then hands the lead to the first who came meanwhile. A lone
// writer so pays no switch between goroutines, and an idle domain holds none.
type writer struct {
	mu     sync.Mutex
	idle   *sync.Cond // signalled when busy becomes false
	queue  []*Pending // in the order of their commits, guarded by mu
	busy   bool       // somebody leads, guarded by mu
	closed bool       // guarded by mu

	stale atomic.Bool // the position in memory may be wrong; the leader reads it again
}

func (w *writer) init() { w.idle = sync.NewCond(&w.mu) }

// Pending is a function that waits for its transaction.
type Pending struct {
	db      *DB
	fn      func(tx *Tx) error
	err     error
	settled bool      // err is final, whatever becomes of the transaction
	nobody  bool      // submitted: perhaps nobody waits yet, so it cannot lead
	turn    chan bool // true: lead; false: it is done
}

// Write runs fn in a transaction that it may share with others (group commit) and returns when it is on disk. fn may run more
// than once (when a neighbour failed): it assigns what it captured, never appends or counts. An error or panic of fn undoes
// the work of fn alone. Once fn was started, ctx is not looked at any more: what others wait for is not broken off.
func (d *DB) Write(ctx context.Context, fn func(tx *Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := &Pending{db: d, fn: fn, turn: make(chan bool, 1)}
	lead, err := d.writer.enqueue(p)
	if err != nil {
		return err
	}
	if lead {
		d.lead(p)
		return p.err
	}
	return p.Wait(ctx)
}

// Submit puts fn into the queue of Write and returns at once: functions submitted in an order commit in that order. It is for
// a caller that must know its place before it waits; others call Write.
func (d *DB) Submit(fn func(tx *Tx) error) (*Pending, error) {
	p := &Pending{db: d, fn: fn, nobody: true, turn: make(chan bool, 1)}
	lead, err := d.writer.enqueue(p)
	if err == nil && lead {
		go d.lead(nil)
	}
	return p, err
}

// Wait returns when the function's transaction is on disk, or has failed. When ctx ends before the function was started, it
// never is. Wait is called at most once.
func (p *Pending) Wait(ctx context.Context) error {
	select {
	case lead := <-p.turn:
		return p.proceed(lead)
	case <-ctx.Done():
		if p.db.writer.withdraw(p) {
			return ctx.Err()
		}
		return p.proceed(<-p.turn) // it runs: its captured variables are not ours until it is done
	}
}

func (p *Pending) proceed(lead bool) error {
	if lead {
		p.db.lead(p)
	}
	return p.err
}

// enqueue says whether the caller leads.
func (w *writer) enqueue(p *Pending) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false, ErrClosed
	}
	w.queue = append(w.queue, p)
	if w.busy {
		return false, nil
	}
	w.busy = true
	return true, nil
}

// withdraw takes p out of the queue, unless it was taken or told to lead.
func (w *writer) withdraw(p *Pending) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.queue, p)
	if i < 0 || len(p.turn) > 0 {
		return false
	}
	w.queue = slices.Delete(w.queue, i, i+1)
	return true
}

// take gives the leader its batch.
func (w *writer) take() []*Pending {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.queue), maxBatch)
	batch := slices.Clone(w.queue[:n])
	w.queue = slices.Delete(w.queue, 0, n)
	return batch
}

// next says who leads after the present leader: a waiting caller, or nobody. Then on says whether there is more to do.
func (w *writer) next() (heir *Pending, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.busy = false
		w.idle.Broadcast()
		return nil, false
	}
	if head := w.queue[0]; !head.nobody {
		head.turn <- true
		return head, true
	}
	return nil, true
}

// close lets the queue run empty and refuses what comes later. It says whether this was the first call.
func (w *writer) close() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := !w.closed
	w.closed = true
	for w.busy {
		w.idle.Wait()
	}
	return first
}

// lead runs one batch and passes the lead on: to a caller that waits, or else to a goroutine, which ends with the queue and
// which Close waits for. own is the leader's own function, if it is a caller of Write.
func (d *DB) lead(own *Pending) {
	batch := d.writer.take()
	defer func() { // also when a function ends this goroutine (t.FailNow): the others must not wait for ever
		if heir, on := d.writer.next(); on && heir == nil {
			go d.lead(nil)
		}
		answer(batch, own)
	}()
	d.run(batch)
}

func answer(batch []*Pending, own *Pending) {
	for _, p := range batch {
		if p != own {
			p.turn <- false
		}
	}
}
