package federation

import (
	"context"
	"slices"
	"sync"
	"time"

	"konsil/homeserver/room"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// Transactions of several servers arrive side by side, so that an event may come before one that it builds on and that is
// on its way from somebody else. Its sender was asked for what lies between; if they do not have it, the event waits here for
// a while, in memory: nobody sends it again.
const (
	lateTime  = 5 * time.Minute
	lateRoom  = 10      // events that wait in one room; the oldest make way
	lateBytes = 4 << 20 // in all rooms of the domain; A12
)

// late is the events that wait for others.
type late struct {
	mu    sync.Mutex
	rooms map[id.RoomID]*waiting // guarded by mu
	bytes int                    // guarded by mu
}

// waiting is one room's.
type waiting struct {
	events []lateEvent // oldest first
	busy   bool        // somebody tries them
	again  bool        // what they wait for may have come meanwhile
}

type lateEvent struct {
	pdu    *event.PDU
	origin id.ServerName
	since  time.Time
}

func (l *late) init() { l.rooms = map[id.RoomID]*waiting{} }

// wait keeps verified events until connect finds what they wait for.
func (l *late) wait(origin id.ServerName, list []received, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range list {
		w := l.rooms[r.pdu.RoomID]
		if w == nil {
			w = &waiting{}
			l.rooms[r.pdu.RoomID] = w
		}
		known := slices.ContainsFunc(w.events, func(e lateEvent) bool { return e.pdu.ID == r.pdu.ID })
		if known || l.bytes+len(r.pdu.JSON) > lateBytes {
			continue
		}
		w.events = append(w.events, lateEvent{r.pdu, origin, now})
		l.bytes += len(r.pdu.JSON)
		l.trim(r.pdu.RoomID, now)
	}
}

// trim drops what has waited too long or is too much, and rooms where nothing waits. Needs mu.
func (l *late) trim(roomID id.RoomID, now time.Time) {
	w := l.rooms[roomID]
	for len(w.events) > 0 && (len(w.events) > lateRoom || now.Sub(w.events[0].since) > lateTime) {
		l.bytes -= len(w.events[0].pdu.JSON)
		w.events = w.events[1:]
	}
	if len(w.events) == 0 && !w.busy {
		delete(l.rooms, roomID)
	}
}

// take gives what waits in a room to one caller at a time; others make that one try again.
func (l *late) take(roomID id.RoomID, now time.Time) []lateEvent {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.rooms[roomID]
	if w == nil {
		return nil
	}
	if w.busy {
		w.again = true
		return nil
	}
	l.trim(roomID, now)
	w.busy = len(w.events) > 0
	return slices.Clone(w.events)
}

// put takes back what still waits; again says that the caller has to go on with it.
func (l *late) put(roomID id.RoomID, connected map[id.EventID]bool) (events []lateEvent, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.rooms[roomID]
	w.events = slices.DeleteFunc(w.events, func(e lateEvent) bool {
		if connected[e.pdu.ID] {
			l.bytes -= len(e.pdu.JSON)
		}
		return connected[e.pdu.ID]
	})
	again = (w.again || len(connected) > 0) && len(w.events) > 0
	w.again, w.busy = false, again
	if len(w.events) == 0 {
		delete(l.rooms, roomID)
	}
	return slices.Clone(w.events), again
}

// forget drops what has waited too long in any room.
func (l *late) forget(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for roomID := range l.rooms {
		l.trim(roomID, now)
	}
}

// connectLate receives the events of a room that waited for others, as far as these have come.
func (f *Federation) connectLate(ctx context.Context, roomID id.RoomID) {
	events := f.late.take(roomID, f.cfg.Clock.Now())
	for again := len(events) > 0; again; {
		connected := map[id.EventID]bool{}
		for _, e := range events {
			receipt, err := f.cfg.Rooms.Receive(ctx, e.origin, e.pdu)
			if err != nil {
				f.cfg.Log.Warn("late event not received", "error", err)
			} else if receipt.Outcome != room.Deferred {
				connected[e.pdu.ID] = true
			}
		}
		events, again = f.late.put(roomID, connected)
	}
}
