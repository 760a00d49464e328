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
// a while, in memory: nobody may send it again. It is tried when more of the room has come, in the background: no transaction
// waits for it.
const (
	lateTime  = 5 * time.Minute
	lateAgain = 2 * time.Second // from what may be of use to the next try
	lateRoom  = 10              // events that wait in one room; the oldest make way
	lateBytes = 4 << 20         // in all rooms of the domain; A12
)

// late is the events that wait for others.
type late struct {
	came chan struct{} // there is a room to try

	mu    sync.Mutex
	rooms map[id.RoomID]*waiting // guarded by mu
	bytes int                    // guarded by mu
}

// waiting is one room's.
type waiting struct {
	events []lateEvent // oldest first
	again  bool        // more of the room has come since the last try
}

type lateEvent struct {
	pdu    *event.PDU
	origin id.ServerName
	since  time.Time
}

func (l *late) init() { l.rooms, l.came = map[id.RoomID]*waiting{}, make(chan struct{}, 1) }

// wait keeps verified events of a room until they connect.
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
		if !known && l.bytes+len(r.pdu.JSON) <= lateBytes {
			w.events = append(w.events, lateEvent{r.pdu, origin, now})
			l.bytes += len(r.pdu.JSON)
		}
		l.trim(r.pdu.RoomID, now)
	}
}

// more says that events of a room have come.
func (l *late) more(roomID id.RoomID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.rooms[roomID]; w != nil {
		w.again = true
		select {
		case l.came <- struct{}{}:
		default:
		}
	}
}

// trim drops what has waited too long or is too much, and rooms where nothing waits. Needs mu.
func (l *late) trim(roomID id.RoomID, now time.Time) {
	w := l.rooms[roomID]
	for len(w.events) > 0 && (len(w.events) > lateRoom || now.Sub(w.events[0].since) > lateTime) {
		l.bytes -= len(w.events[0].pdu.JSON)
		w.events = w.events[1:]
	}
	if len(w.events) == 0 {
		delete(l.rooms, roomID)
	}
}

// take gives the events of the rooms to try, and drops old ones.
func (l *late) take(now time.Time) [][]lateEvent {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all [][]lateEvent
	for roomID, w := range l.rooms {
		if l.trim(roomID, now); w.again && len(w.events) > 0 {
			w.again = false
			all = append(all, slices.Clone(w.events))
		}
	}
	return all
}

// drop takes out what has connected.
func (l *late) drop(pdu *event.PDU) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.rooms[pdu.RoomID]
	if w == nil {
		return
	}
	w.events = slices.DeleteFunc(w.events, func(e lateEvent) bool {
		if e.pdu.ID != pdu.ID {
			return false
		}
		l.bytes -= len(e.pdu.JSON)
		return true
	})
	if len(w.events) == 0 {
		delete(l.rooms, pdu.RoomID)
	}
}

// runLate tries late events again until ctx ends.
func (f *Federation) runLate(ctx context.Context) error {
	timer := f.cfg.Clock.NewTimer(lateTime)
	defer timer.Stop()
	for soon := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-f.late.came:
			if !soon { // a busy room must not put it off for ever
				timer.Reset(lateAgain)
			}
			soon = true
		case <-timer.C():
			soon = false
			for _, events := range f.late.take(f.cfg.Clock.Now()) {
				f.connectLate(ctx, events)
			}
			timer.Reset(lateTime) // to drop what is too old
		}
	}
}

// connectLate receives the events of a room that waited for others, as far as these have come.
func (f *Federation) connectLate(ctx context.Context, events []lateEvent) {
	for progress := true; progress; {
		progress = false
		events = slices.DeleteFunc(events, func(e lateEvent) bool {
			receipt, err := f.cfg.Rooms.Receive(ctx, e.origin, e.pdu)
			if err != nil {
				f.cfg.Log.Warn("late event not received", "error", err)
			}
			if err != nil || receipt.Outcome == room.Deferred {
				return false
			}
			f.late.drop(e.pdu)
			progress = true
			return true
		})
	}
}
