package federation

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"time"

	"konsil/client/ssclient"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/obs"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
)

// destination is one server and what waits for it. All fields are guarded by Sender.mu.
type destination struct {
	server   id.ServerName
	running  bool              // a worker has it
	items    []item            // in memory, oldest first
	inFlight []item            // being sent
	parked   []item            // on their way into the store
	volatile map[string]outEDU // typing, receipts, presence: the latest of each key counts, nothing is stored
	order    []string          // keys of volatile, oldest first

	stored   bool // there are, or may be, rows in the store, and new items join them
	spilling int  // writes of rows under way
	spills   int  // counts them, so that a reader notices
	edus     int  // rows added since the start, a rough guard against endless growth

	dirty map[int64]bool // rooms with a row, once the queue keeps one event per room only; nil before

	failures int // in a row; 0 is a server in good order
	since    int64
	retryAt  time.Time
	tried    time.Time
}

// item is a PDU or an EDU that must arrive.
type item struct {
	pos   int64
	event *room.Event // nil for an EDU
	edu   []byte      // {"edu_type":…,"content":…}
	key   string      // of an EDU: tells those of one position apart
	must  bool        // the event is about the server itself (a kick): it is not thinned out
}

// outEDU is an EDU that may get lost.
type outEDU struct {
	edu  []byte
	read *receipt // merged with others when it is sent
}

// destination finds or makes a server's entry. Needs mu.
func (s *Sender) destination(server id.ServerName) *destination {
	d := s.dests[server]
	if d == nil {
		d = &destination{server: server}
		s.dests[server] = d
	}
	return d
}

// oldest is the position of the oldest item in memory, 0 for none. Needs mu.
func (d *destination) oldest() int64 {
	var oldest int64
	for _, list := range [][]item{d.inFlight, d.items, d.parked} {
		for _, it := range list {
			if oldest == 0 || it.pos < oldest {
				oldest = it.pos
			}
		}
	}
	return oldest
}

// start gives the server a worker, unless it has one or has to wait. Needs mu.
func (s *Sender) start(d *destination) {
	if d.running || s.spawn == nil || d.failures > 0 && s.clock.Now().Before(d.retryAt) {
		return
	}
	d.running = true
	s.spawn(func() error {
		s.work(s.ctx, d)
		return nil
	})
}

// work sends to one server until nothing is left or it fails.
func (s *Sender) work(ctx context.Context, d *destination) {
	for ctx.Err() == nil {
		batch, err := s.next(ctx, d)
		if err != nil {
			s.log.Error("read a federation queue", obs.KeyError, err)
			s.failed(ctx, d, batch, 0)
			return
		}
		if batch == nil {
			return // next has cleared running
		}
		err = s.send(ctx, d, batch)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			s.failed(ctx, d, batch, retryAfter(err))
			return
		}
		if err := s.sent(ctx, d, batch); err != nil {
			s.log.Error("clear a federation queue", obs.KeyError, err)
			s.failed(ctx, d, batch, 0)
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.running = false
}

// batch is what one transaction holds.
type batch struct {
	items    []item
	volatile []outEDU
	pdus     []store.QueuedPDU // rows to delete once sent
	edus     []store.QueuedEDU
	fromRows bool
}

// next takes the next transaction's content, nil when there is none: then the worker is no more.
func (s *Sender) next(ctx context.Context, d *destination) (*batch, error) {
	for {
		s.mu.Lock()
		stored, spills := d.stored, d.spills
		s.mu.Unlock()
		if !stored {
			return s.nextLive(d), nil
		}
		b, err := s.nextRows(ctx, d)
		if err != nil || b != nil {
			return b, err
		}
		if s.drained(d, spills) {
			return nil, nil
		}
	}
}

// drained is called when the queue in the store was found empty after so many spills. If nothing came since, items wait in
// memory from now on. true: the worker has to end, for whoever is just writing rows starts it again.
func (s *Sender) drained(d *destination, spills int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.spilling > 0 {
		d.running = false
		return true
	}
	if d.spills == spills {
		d.stored, d.dirty, d.edus = false, nil, 0
		s.progressed()
	}
	return false
}

// nextLive takes from memory.
func (s *Sender) nextLive(d *destination) *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &batch{}
	pdus, edus := 0, 0
	for _, it := range d.items {
		if it.event != nil {
			if pdus++; pdus > maxPDUs {
				break
			}
		} else if edus++; edus > maxEDUs {
			break
		}
		b.items = append(b.items, it)
	}
	d.items = d.items[len(b.items):]
	if len(d.items) == 0 {
		d.items = nil // lets go of the array
	}
	d.inFlight = b.items
	b.volatile = d.takeVolatile(maxEDUs - min(edus, maxEDUs))
	if len(b.items) == 0 && len(b.volatile) == 0 {
		d.running = false
		if d.failures == 0 && !d.stored && len(d.parked) == 0 {
			delete(s.dests, d.server)
		}
		return nil
	}
	return b
}

// takeVolatile takes up to n of what may get lost. Needs mu.
func (d *destination) takeVolatile(n int) []outEDU {
	n = min(n, len(d.order))
	var taken []outEDU
	for _, key := range d.order[:n] {
		taken = append(taken, d.volatile[key])
		delete(d.volatile, key)
	}
	d.order = slices.Delete(d.order, 0, n)
	return taken
}

// nextRows takes the head of the queue in the store; nil when it is empty.
func (s *Sender) nextRows(ctx context.Context, d *destination) (*batch, error) {
	b := &batch{fromRows: true}
	err := s.store.Read(ctx, func(tx *store.Tx) (err error) {
		b.pdus, b.edus, err = tx.Queued(ctx, d.server, maxPDUs, maxEDUs)
		return err
	})
	if err != nil || len(b.pdus)+len(b.edus) == 0 {
		return nil, err
	}
	s.mu.Lock()
	thinned := d.dirty != nil
	s.mu.Unlock()
	events, err := s.queuedEvents(ctx, d.server, b, thinned)
	if err != nil {
		return nil, err
	}
	for _, ev := range events {
		b.items = append(b.items, item{event: ev})
	}
	for _, e := range b.edus {
		b.items = append(b.items, item{edu: e.EDU, key: e.Key})
	}
	return b, nil
}

// queuedEvents reads the events of a batch of rows. Rows of a thinned queue stand for "something happened in this room
// since": what is sent is the newest that is known here, and the server fetches what lies between. It gets nothing of a room
// it is no longer in but what the row itself names.
func (s *Sender) queuedEvents(ctx context.Context, server id.ServerName, b *batch, thinned bool) ([]*room.Event, error) {
	nids := make([]int64, len(b.pdus))
	for i, p := range b.pdus {
		nids[i] = p.EventNID
	}
	events, err := s.rooms.EventsByNID(ctx, nids)
	if err != nil || !thinned {
		return events, err
	}
	var newest []*room.Event
	for i, ev := range events {
		in, err := s.rooms.ServerInRoom(ctx, ev.RoomID, server)
		if err != nil {
			return nil, err
		}
		info, err := s.rooms.Room(ctx, ev.RoomID)
		if err != nil {
			return nil, err
		}
		if !in || !info.Here || len(info.Extremities) == 0 {
			newest = append(newest, ev)
			continue
		}
		if len(newest)+len(info.Extremities)+len(events)-i > maxPDUs && i > 0 {
			b.pdus = b.pdus[:i] // the others come with the next transaction
			break
		}
		tips, err := s.rooms.Events(ctx, info.Extremities)
		if err != nil {
			return nil, err
		}
		newest = append(newest, tips...)
	}
	return newest[:min(len(newest), maxPDUs)], nil
}

// send makes one transaction of a batch. SS v1.16 #transactions
func (s *Sender) send(ctx context.Context, d *destination, b *batch) error {
	slots := s.fresh
	s.mu.Lock()
	switch {
	case d.failures > 0:
		slots = s.retries
	case s.proven[d.server]:
		slots = s.live
	}
	d.tried = s.clock.Now()
	s.mu.Unlock()
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	body, txnID := s.transaction(b)
	_, err := s.client.SendTransaction(ctx, d.server, txnID, body)
	if answered, ok := ssclient.Answered(err); ok && hopeless(answered) {
		// The server is there and will never take this; keeping it would block all that follows.
		s.log.Warn("another server refused a transaction", obs.KeyStatus, answered.Status, obs.KeyCode, answered.Code)
		return nil
	}
	return err
}

// hopeless reports whether a refusal is about the transaction and not about the moment.
func hopeless(e *ssclient.Error) bool {
	return e.Status == 400 || e.Status == 413
}

func retryAfter(err error) time.Duration {
	if answered, ok := ssclient.Answered(err); ok {
		return answered.RetryAfter
	}
	return 0
}

// transaction writes the body and gives an ID that is the same for the same content, also after a restart. Content that
// may rightly be the same twice (typing, receipts) counts with a number.
func (s *Sender) transaction(b *batch) (body []byte, txnID string) {
	size := 128
	for _, it := range b.items {
		size += len(it.edu) + 1
		if it.event != nil {
			size += len(it.event.JSON)
		}
	}
	body = append(make([]byte, 0, size), `{"pdus":[`...)
	n := 0
	for _, it := range b.items {
		if it.event == nil {
			continue
		}
		if n++; n > 1 {
			body = append(body, ',')
		}
		body = append(body, it.event.JSON...)
	}
	body = append(body, ']')
	edus := mergeReceipts(b.volatile)
	for _, it := range b.items {
		if it.event == nil {
			edus = append(edus, it.edu)
		}
	}
	if len(edus) > 0 {
		body = append(body, `,"edus":[`...)
		for i, edu := range edus {
			if i > 0 {
				body = append(body, ',')
			}
			body = append(body, edu...)
		}
		body = append(body, ']')
	}
	hash := sha256.New()
	hash.Write(body)
	if len(b.volatile) > 0 {
		hash.Write(strconv.AppendInt(nil, s.started, 10))
		hash.Write(strconv.AppendInt([]byte{'/'}, s.counter.Add(1), 10))
	}
	txnID = base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:15])
	body = append(body, `,"origin":`...)
	body = canonical.AppendString(body, s.server)
	body = append(body, `,"origin_server_ts":`...)
	body = strconv.AppendInt(body, s.clock.Now().UnixMilli(), 10)
	return append(body, '}'), txnID
}

// sent notes a success.
func (s *Sender) sent(ctx context.Context, d *destination, b *batch) error {
	s.mu.Lock()
	recovered := d.failures > 0
	s.mu.Unlock()
	if recovered || b.fromRows {
		err := s.store.Write(ctx, func(tx *store.Tx) error {
			if recovered {
				if err := tx.SetReachable(ctx, d.server); err != nil {
					return err
				}
			}
			return tx.Dequeue(ctx, d.server, b.pdus, b.edus)
		})
		if err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.inFlight = nil
	if recovered {
		d.failures = 0
		s.failing.Add(-1)
	}
	if len(s.proven) >= maxProven {
		clear(s.proven)
	}
	s.proven[d.server] = true
	s.progressed()
	return nil
}

// failed stores what was to be sent, and when to try again.
func (s *Sender) failed(ctx context.Context, d *destination, b *batch, wait time.Duration) {
	now := s.clock.Now()
	s.mu.Lock()
	if d.failures == 0 {
		d.since = now.UnixMilli()
		s.failing.Add(1)
	}
	d.failures++
	delete(s.proven, d.server)
	pause := max(jitter(backoff(d.failures)), wait)
	d.retryAt = now.Add(pause)
	d.volatile, d.order = nil, nil
	if b != nil && b.fromRows {
		b.items = nil // they have their rows
	}
	s.progressed()
	row := store.Destination{Server: d.server, FailingSince: d.since, RetryAt: d.retryAt.UnixMilli(), Failures: int64(d.failures)}
	s.mu.Unlock()
	s.spill(ctx, d, &row)
	s.mu.Lock()
	d.running = false
	s.mu.Unlock()
	s.poke()
}

// spill moves what waits in memory into the store. Until it is there it holds the cursor back.
func (s *Sender) spill(ctx context.Context, d *destination, failing *store.Destination) {
	s.mu.Lock()
	d.stored = true
	d.spilling++
	d.spills++
	items := append(d.inFlight, d.items...)
	d.inFlight, d.items = nil, nil
	d.parked = append(d.parked, items...)
	pdus, edus := d.rows(items)
	s.mu.Unlock()
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		if failing != nil {
			if err := tx.SetFailing(ctx, *failing); err != nil {
				return err
			}
		}
		return tx.Enqueue(ctx, d.server, pdus, edus)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		s.log.Error("store a federation queue", obs.KeyError, err)
	}
	d.spilled(items, err)
}

// spilled ends the writing of rows. What could not be stored waits in memory again, and goes with the next try. Needs mu.
func (d *destination) spilled(items []item, err error) {
	d.spilling--
	d.parked = without(d.parked, items)
	if err != nil {
		d.items = append(slices.Clone(items), d.items...)
	}
}

// rows turns items into rows, without those that add nothing to a thinned queue. Needs mu.
func (d *destination) rows(items []item) (pdus []store.QueuedPDU, edus []store.QueuedEDU) {
	for _, it := range items {
		if it.event == nil {
			if d.edus++; d.edus <= maxQueuedEDUs {
				edus = append(edus, store.QueuedEDU{Pos: it.pos, Key: it.key, EDU: it.edu})
			}
			continue
		}
		if d.dirty != nil {
			if d.dirty[it.event.RoomNID] && !it.must {
				continue
			}
			d.dirty[it.event.RoomNID] = true
		}
		pdus = append(pdus, store.QueuedPDU{Pos: it.pos, RoomNID: it.event.RoomNID, EventNID: it.event.NID})
	}
	return pdus, edus
}

// thin keeps one event per room of a queue that has become long.
func (s *Sender) thin(ctx context.Context, d *destination) error {
	var left []store.QueuedPDU
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.QueueLength(ctx, d.server, maxQueuedPDUs+1)
		if err != nil {
			return err
		}
		left = nil
		if n <= maxQueuedPDUs {
			return nil
		}
		if _, err := tx.ThinQueue(ctx, d.server); err != nil {
			return err
		}
		left, _, err = tx.Queued(ctx, d.server, 100_000, 0)
		return err
	})
	if err != nil || left == nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.dirty = make(map[int64]bool, len(left))
	for _, p := range left {
		d.dirty[p.RoomNID] = true
	}
	return nil
}
