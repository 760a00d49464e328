package room

import (
	"context"
	"errors"

	"konsil/matrix/id"
)

// job is one change that waits in a room's queue. build runs on the room's head in memory and adds to the batch; it may run
// again, so it assigns its results. An error undoes what it added and answers only its own caller.
type job struct {
	build func(b *batch) error
	err   error
	wake  chan bool // true: lead the queue from now on; false: done
}

// maxBatch bounds the jobs of one transaction, so that nobody waits for too much work of others.
const maxBatch = 64

// change runs build in the room's queue and returns when its work is on disk.
//
// The first who comes leads: it takes all that waits, builds one after another, stores them together. Then whoever waits in
// front leads, so that nobody works for others for long.
func (e *Engine) change(ctx context.Context, room id.RoomID, build func(b *batch) error) error {
	r := e.rooms.acquire(room)
	defer e.rooms.release(r)
	j := &job{build: build, wake: make(chan bool, 1)}
	r.mu.Lock()
	r.queue = append(r.queue, j)
	lead := !r.leading
	r.leading = true
	r.mu.Unlock()
	if !lead {
		// Not cut short by ctx: the job is taken, or will be, and must not lead a queue that nobody attends.
		if lead = <-j.wake; !lead {
			return j.err
		}
	}
	// What is built for others must not break with the leader's own request.
	e.lead(context.WithoutCancel(ctx), r, j)
	return j.err
}

func (e *Engine) lead(ctx context.Context, r *activeRoom, own *job) {
	r.mu.Lock()
	n := min(len(r.queue), maxBatch)
	jobs := r.queue[:n:n]
	r.queue = r.queue[n:]
	r.mu.Unlock()
	defer func() { // also when a job panics: the others must not wait for ever
		for _, j := range jobs {
			if j != own {
				j.wake <- false
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.queue) > 0 {
			r.queue[0].wake <- true
		} else {
			r.queue = nil
			r.leading = false
		}
	}()
	for _, j := range jobs {
		j.err = errPanicked
	}
	e.process(ctx, r, jobs, false)
}

var errPanicked = errors.New("a change of the room broke off")

// process builds jobs into one batch and stores it.
func (e *Engine) process(ctx context.Context, r *activeRoom, jobs []*job, careful bool) {
	h, err := e.loaded(ctx, r)
	if err != nil {
		for _, j := range jobs {
			j.err = err
		}
		return
	}
	b := newBatch(ctx, e, r.id, h)
	b.careful = careful
	var built []*job
	for _, j := range jobs {
		m := b.mark()
		if j.err = j.build(b); j.err != nil {
			b.undo(m)
		} else {
			built = append(built, j)
		}
	}
	if b.empty() {
		return
	}
	err = e.commit(b)
	if err == nil {
		r.set(&b.head)
		e.publish(b)
		return
	}
	r.set(nil) // what is in memory may be what could not be stored
	if careful {
		for _, j := range built {
			j.err = err
		}
		return
	}
	// One of them is at fault, by a client transaction that is stored already or by something nobody foresaw. Alone, each answers for
	// itself.
	for _, j := range built {
		e.process(ctx, r, []*job{j}, true)
	}
}
