package clientsync

import (
	"sync"

	"konsil/homeserver/store"
	"konsil/matrix/id"
)

// lazyMembers remembers which members each lazily loading client was told of, so that it is not told again with every message.
// It is a memory for one line of syncs: a client that comes back with another token than the one we gave last may have lost
// the response, and is told anew. CS v1.16 #lazy-loading-room-members
type lazyMembers struct {
	mu      sync.Mutex
	devices map[store.Owner]*toldMembers // guarded by mu
	total   int                          // users in all of them, guarded by mu
}

type toldMembers struct {
	pos   int64 // of the token that was given with it
	rooms map[id.RoomID]map[id.UserID]bool
	count int
}

// maxLazy bounds the entries; each takes some 50 bytes.
const maxLazy = 200_000

func newLazyMembers() *lazyMembers { return &lazyMembers{devices: map[store.Owner]*toldMembers{}} }

// known gives the members of a room the client knows, as far as we are sure. The map is not to be kept.
func (l *lazyMembers) known(q *query, room id.RoomID) map[id.UserID]bool {
	if q.filter.state.redundantMembers {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	told := l.devices[store.OwnerOf(q.User, q.Device)]
	if told == nil || told.pos != q.since {
		return nil
	}
	// A copy: the device may have another request under way.
	known := make(map[id.UserID]bool, len(told.rooms[room]))
	for user := range told.rooms[room] {
		known[user] = true
	}
	return known
}

// told notes what a response with a token tells a client.
func (l *lazyMembers) told(q *query, upTo int64, rooms map[id.RoomID][]id.UserID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	owner := store.OwnerOf(q.User, q.Device)
	before := l.devices[owner]
	if before == nil || before.pos != q.since || q.initial {
		if before != nil {
			l.total -= before.count
		}
		before = &toldMembers{rooms: map[id.RoomID]map[id.UserID]bool{}}
		l.devices[owner] = before
	}
	before.pos = upTo
	for room, users := range rooms {
		set := before.rooms[room]
		if set == nil {
			set = map[id.UserID]bool{}
			before.rooms[room] = set
		}
		for _, user := range users {
			if !set[user] {
				set[user] = true
				before.count++
				l.total++
			}
		}
	}
	if l.total > maxLazy {
		l.devices, l.total = map[store.Owner]*toldMembers{}, 0 // everybody is told once more
	}
}
