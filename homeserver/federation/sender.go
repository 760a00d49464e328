package federation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"konsil/client/ssclient"
	"konsil/homeserver/e2ee"
	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/obs"
	"konsil/matrix/id"
)

// Sender tells other servers what happened here. It follows the domain's order from a durable cursor; what a reachable
// server has to get waits in memory only, and the cursor stays behind it, so that a crash costs a repetition and never a
// loss. A server that can not be reached has its queue in the store, and no part in the cursor.
//
// A server with something to send has one goroutine, others have none. Lock order: Sender.mu before nothing; it is never
// held over network or store.
type Sender struct {
	server  id.ServerName
	client  *ssclient.Client
	store   *store.DB
	rooms   *room.Engine
	devices *e2ee.Keeper
	clock   clock.Clock
	log     *slog.Logger
	started int64 // ms; makes transaction IDs of EDUs that are not stored differ between runs
	counter atomic.Int64

	wake    map[stream]<-chan struct{}
	changed chan struct{} // the loop has to look at retries or the cursor
	failing atomic.Int64  // destinations with a retryAt, so that Contact costs nothing when all is well

	// Slots for transactions, in three pools so that servers that hang never keep those waiting that answer (A31).
	live    chan struct{} // to servers that have answered since the start
	fresh   chan struct{} // to servers of which nothing is known yet
	retries chan struct{} // to servers that did not answer last time

	mu       sync.Mutex
	dests    map[id.ServerName]*destination // with something to send, or failing; guarded by mu
	proven   map[id.ServerName]bool         // those that have answered since the start, guarded by mu
	relays   map[id.EventID]bool            // foreign events that are ours to tell, guarded by mu
	silent   map[id.EventID]bool            // events of ours that another server tells, guarded by mu
	relayed  []id.EventID                   // relays done since the cursor was saved, guarded by mu
	read     [streams]int64                 // how far each stream was dispatched, guarded by mu
	saved    int64                          // the durable cursor, guarded by mu
	progress chan struct{}                  // closed when a server got something; nil while nobody waits; guarded by mu
	spawn    func(func() error)             // starts a worker, set by Run, guarded by mu
	ctx      context.Context                // of Run, for workers; guarded by mu
}

const (
	liveSlots  = 256
	freshSlots = 128
	retrySlots = 32
	maxProven  = 50_000 // servers remembered as having answered

	cursorEvery = time.Second

	// A queue in memory longer than this moves into the store.
	maxLivePDUs = 500
	maxLiveEDUs = 500
	// A queue in the store longer than this keeps the latest event of each room only.
	maxQueuedPDUs = 100
	// To-device messages and device lists for a server that is away are kept up to this number.
	maxQueuedEDUs = 10_000

	backoffMin    = 500 * time.Millisecond
	backoffMax    = time.Hour
	backoffFactor = 1.5
)

func newSender(cfg Config) *Sender {
	s := &Sender{
		server: cfg.Server, client: cfg.Client, store: cfg.Store, rooms: cfg.Rooms, devices: cfg.Devices,
		clock: cfg.Clock, log: cfg.Log, started: cfg.Clock.Now().UnixMilli(),
		changed: make(chan struct{}, 1), live: make(chan struct{}, liveSlots), fresh: make(chan struct{}, freshSlots), retries: make(chan struct{}, retrySlots),
		dests: map[id.ServerName]*destination{}, proven: map[id.ServerName]bool{}, relays: map[id.EventID]bool{}, silent: map[id.EventID]bool{},
		wake: map[stream]<-chan struct{}{},
	}
	// Followers are registered before anything is read, so that nothing falls between.
	for st, kinds := range streamKinds {
		s.wake[stream(st)] = cfg.Notify.Follow(fmt.Sprintf("federation-%d", st), kinds)
	}
	return s
}

// Run follows and sends until ctx ends. Transactions under way are given up then; they are repeated at the next start.
func (s *Sender) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	s.mu.Lock()
	s.spawn, s.ctx = g.Go, ctx
	s.mu.Unlock()
	g.Go(func() error {
		<-ctx.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.spawn = nil // from here on no worker starts
		return nil
	})
	g.Go(func() error {
		if err := s.load(ctx); err != nil {
			return err
		}
		return s.loop(ctx)
	})
	err := g.Wait()
	s.saveCursor(context.WithoutCancel(ctx))
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// load reads where we stopped.
func (s *Sender) load(ctx context.Context) error {
	var (
		cursor  int64
		relays  []id.EventID
		failing []store.Destination
		queued  []id.ServerName
	)
	err := s.store.Read(ctx, func(tx *store.Tx) (err error) {
		if cursor, err = tx.FederationCursor(ctx); err != nil {
			return err
		}
		if relays, err = tx.Relays(ctx); err != nil {
			return err
		}
		if failing, err = tx.FailingDestinations(ctx); err != nil {
			return err
		}
		queued, err = tx.QueuedServers(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("load federation queues: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved = cursor
	for st := range s.read {
		s.read[st] = cursor
	}
	for _, ev := range relays {
		s.relays[ev] = true
	}
	for _, row := range failing {
		d := s.destination(row.Server)
		d.stored, d.failures, d.since = true, int(row.Failures), row.FailingSince
		d.retryAt = time.UnixMilli(row.RetryAt)
		s.failing.Add(1)
	}
	for _, server := range queued {
		d := s.destination(server)
		d.stored = true
		if d.failures == 0 {
			s.start(d)
		}
	}
	return nil
}

// loop dispatches what happens, starts retries, saves the cursor.
func (s *Sender) loop(ctx context.Context) error {
	timer := s.clock.NewTimer(0)
	defer timer.Stop()
	ready := allStreams
	for {
		for st := range stream(streams) {
			for ready.has(st) {
				more, err := s.follow(ctx, st)
				if err != nil {
					if ctx.Err() != nil {
						return nil
					}
					// The store has a problem of its own; ask again a little later, from the same place.
					s.log.Error("follow the domain's order for federation", obs.KeyError, err)
					timer.Reset(cursorEvery)
					break
				}
				if !more {
					ready.clear(st)
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake[streamEvents]:
			ready.set(streamEvents)
		case <-s.wake[streamKeys]:
			ready.set(streamKeys)
		case <-s.wake[streamReceipts]:
			ready.set(streamReceipts)
		case <-s.wake[streamPresence]:
			ready.set(streamPresence)
		case <-s.changed:
			timer.Reset(s.tick())
		case <-timer.C():
			// Positions of things that are nobody's business but ours move the streams along as well.
			ready = allStreams
			s.saveCursor(ctx)
			timer.Reset(s.tick())
		}
	}
}

// tick starts the retries that are due and says when to come again.
func (s *Sender) tick() time.Duration {
	now := s.clock.Now()
	next := cursorEvery
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing.Load() == 0 {
		return next
	}
	for _, d := range s.dests {
		if d.failures == 0 || d.running {
			continue
		}
		if wait := d.retryAt.Sub(now); wait > 0 {
			next = min(next, wait)
		} else if len(d.items) > 0 || d.stored {
			s.start(d)
		}
	}
	return max(next, time.Millisecond)
}

func (s *Sender) poke() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// saveCursor stores how far all reachable servers have everything.
func (s *Sender) saveCursor(ctx context.Context) {
	s.mu.Lock()
	pos := s.read[0]
	for _, at := range s.read {
		pos = min(pos, at)
	}
	for _, d := range s.dests {
		if oldest := d.oldest(); oldest > 0 {
			pos = min(pos, oldest-1)
		}
	}
	if pos <= s.saved {
		s.mu.Unlock()
		return
	}
	relayed := s.relayed
	s.relayed = nil
	s.mu.Unlock()
	err := s.store.Write(ctx, func(tx *store.Tx) error { return tx.SetFederationCursor(ctx, pos, relayed) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.relayed = append(s.relayed, relayed...)
		if ctx.Err() == nil {
			s.log.Error("store the federation cursor", obs.KeyError, err)
		}
		return
	}
	s.saved = max(s.saved, pos)
}

func (s *Sender) busy() bool {
	pos := s.store.Position()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spawn == nil {
		return false // does not run: nothing will change
	}
	for _, at := range s.read {
		if at < pos {
			return true
		}
	}
	for _, d := range s.dests {
		if d.running || d.spilling > 0 || len(d.items) > 0 && d.failures == 0 {
			return true
		}
	}
	return false
}

func (s *Sender) nextDue() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due int64
	for _, d := range s.dests {
		if at := d.retryAt.UnixMilli(); d.failures > 0 && d.stored && (due == 0 || at < due) {
			due = at
		}
	}
	return due
}

// Relay makes it ours to tell a room of another server's event: a join, leave or knock it made through us. It is called
// before the event is admitted, so that a crash between the two loses nothing; Unrelay takes it back for an event that is
// refused. SS v1.16 #joining-rooms
func (s *Sender) Relay(ctx context.Context, event id.EventID) error {
	err := s.store.Write(ctx, func(tx *store.Tx) error { return tx.AddRelay(ctx, event) })
	if err != nil {
		return fmt.Errorf("note an event to relay: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.relays[event] = true
	return nil
}

// Unrelay takes Relay back.
func (s *Sender) Unrelay(ctx context.Context, event id.EventID) {
	s.mu.Lock()
	delete(s.relays, event)
	s.mu.Unlock()
	err := s.store.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.DropRelay(ctx, event) })
	if err != nil {
		s.log.Warn("forget an event to relay", obs.KeyError, err) // a row too many
	}
}

// Silence keeps an event of ours from being sent: the server we made it through tells the others.
func (s *Sender) Silence(event id.EventID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.silent) > 10_000 {
		clear(s.silent) // forgotten ones are sent twice, which does no harm
	}
	s.silent[event] = true
}

// Contact notes that a server has reached us, so it is likely to be there: what waits for it is tried now. How often that
// works is bounded by the time since the last try, for a server may reach us and still not be reachable.
func (s *Sender) Contact(server id.ServerName) {
	if s.failing.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dests[server]
	if d == nil || d.failures == 0 || d.running {
		return
	}
	now := s.clock.Now()
	if pause := min(backoff(d.failures)/8, time.Minute); now.Sub(d.tried) < pause {
		return
	}
	d.retryAt = now
	s.poke()
}

// backoff is the pause after so many failures in a row, without jitter.
func backoff(failures int) time.Duration {
	pause := float64(backoffMin)
	for i := 1; i < failures && pause < float64(backoffMax); i++ {
		pause *= backoffFactor
	}
	return min(time.Duration(pause), backoffMax)
}

// jitter spreads a pause by a tenth, so that a thousand servers that failed together are not retried together. It guards
// nothing, so ordinary chance is enough.
func jitter(pause time.Duration) time.Duration {
	return pause - pause/20 + time.Duration(rand.Int64N(int64(pause/10)+1))
}

// streamKinds says which hints concern which stream.
var streamKinds = [streams]notify.Kind{
	streamEvents:   notify.Events,
	streamKeys:     notify.Outgoing,
	streamReceipts: notify.Outgoing,
	streamPresence: notify.Presence,
}
