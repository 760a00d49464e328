// Package notify wakes whoever waits for something to happen: long polls for their user's rooms, followers for the order.
//
// It carries hints, not facts: "at position N something may have happened for these". It knows no store, keeps nothing, and
// may wake somebody in vain; who is woken looks into the store. What it promises is that nobody sleeps through a change that
// was woken after the wait began. All methods are safe for concurrent use.
package notify

import (
	"context"
	"sync"

	"konsil/matrix/id"
)

// Kind says what sort of thing happened, for followers that care about one only.
type Kind uint8

// The kinds. A change may have several.
const (
	Events    Kind = 1 << iota // timeline events or state of the rooms
	Ephemeral                  // receipts, typing
	ToDevice                   // messages for devices of the users
	Devices                    // device lists of the users
	Account                    // account data, push rules of the users
	Presence                   // presence of the users
	Outgoing                   // something waits for other servers
)

// Change is one hint.
type Change struct {
	Pos   int64       // position of the last thing that happened
	Rooms []id.RoomID // everybody who waits for one of the rooms is woken
	Users []id.UserID // and these users, whatever room they wait for
	Kind  Kind        // zero counts as Events
	Joins []RoomUser  // who entered or left a room with this change: waiters follow their user's rooms
}

// RoomUser is a membership change: waits of the user include the room from now on, or no longer.
type RoomUser struct {
	Room   id.RoomID
	User   id.UserID
	Joined bool
}

// Notifier is one domain's. The zero value is ready.
type Notifier struct {
	mu        sync.Mutex
	rooms     map[id.RoomID]map[*Waiter]struct{} // guarded by mu
	users     map[id.UserID]map[*Waiter]struct{} // guarded by mu
	followers map[string]follower                // guarded by mu
	waiters   int                                // guarded by mu
	ending    chan struct{}                      // closed by End; made when it is first asked for, guarded by mu
	ended     bool                               // guarded by mu
}

type follower struct {
	kinds Kind
	wake  chan struct{}
}

// New makes a notifier that nobody waits for yet.
func New() *Notifier { return &Notifier{} }

// End lets all who wait, now or later, go with what they have: the process stops, and their clients ask again elsewhere.
func (n *Notifier) End() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ended {
		n.ended = true
		close(n.endingChannel())
	}
}

// Ended is closed by End.
func (n *Notifier) Ended() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.endingChannel()
}

// endingChannel needs n.mu.
func (n *Notifier) endingChannel() chan struct{} {
	if n.ending == nil {
		n.ending = make(chan struct{})
	}
	return n.ending
}

// Interest is what a waiter wants to hear about.
type Interest struct {
	User  id.UserID
	Rooms []id.RoomID
}

// Waiter is one registered wait. It is made before the store is read, so that nothing falls between the two.
type Waiter struct {
	n        *Notifier
	interest Interest           // User never changes
	rooms    map[id.RoomID]bool // guarded by n.mu
	woken    chan struct{}      // holds one hint
	gone     bool               // guarded by n.mu
	last     int64              // highest position hinted, guarded by n.mu
	kinds    Kind               // what was hinted since the last Next, guarded by n.mu
}

// Register begins to listen. The caller must Close the waiter.
func (n *Notifier) Register(in Interest) *Waiter {
	w := &Waiter{n: n, interest: in, rooms: make(map[id.RoomID]bool, len(in.Rooms)), woken: make(chan struct{}, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiters++
	for _, room := range in.Rooms {
		n.addRoom(w, room)
	}
	if in.User != "" {
		if n.users == nil {
			n.users = map[id.UserID]map[*Waiter]struct{}{}
		}
		set := n.users[in.User]
		if set == nil {
			set = map[*Waiter]struct{}{}
			n.users[in.User] = set
		}
		set[w] = struct{}{}
	}
	return w
}

// addRoom needs n.mu.
func (n *Notifier) addRoom(w *Waiter, room id.RoomID) {
	if w.rooms[room] {
		return
	}
	w.rooms[room] = true
	if n.rooms == nil {
		n.rooms = map[id.RoomID]map[*Waiter]struct{}{}
	}
	set := n.rooms[room]
	if set == nil {
		set = map[*Waiter]struct{}{}
		n.rooms[room] = set
	}
	set[w] = struct{}{}
}

// dropRoom needs n.mu.
func (n *Notifier) dropRoom(w *Waiter, room id.RoomID) {
	delete(w.rooms, room)
	set := n.rooms[room]
	delete(set, w)
	if len(set) == 0 {
		delete(n.rooms, room)
	}
}

// Close ends the wait. It may be called twice.
func (w *Waiter) Close() {
	n := w.n
	n.mu.Lock()
	defer n.mu.Unlock()
	if w.gone {
		return
	}
	w.gone = true
	n.waiters--
	for room := range w.rooms {
		n.dropRoom(w, room)
	}
	set := n.users[w.interest.User]
	delete(set, w)
	if len(set) == 0 {
		delete(n.users, w.interest.User)
	}
}

// C receives one value after each hint; several hints may share one. Next says what they were.
func (w *Waiter) C() <-chan struct{} { return w.woken }

// Next waits for a hint, and says the highest position hinted so far and the kinds since the last call.
func (w *Waiter) Next(ctx context.Context) (pos int64, kinds Kind, err error) {
	select {
	case <-w.woken:
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	w.n.mu.Lock()
	defer w.n.mu.Unlock()
	kinds = w.kinds
	w.kinds = 0
	return w.last, kinds, nil
}

// Wait registers, waits for one hint and closes. For callers that checked the store between Register and here, Register and
// Next are the right pair; Wait alone serves those who only sleep between two looks.
func (n *Notifier) Wait(ctx context.Context, in Interest) (int64, error) {
	w := n.Register(in)
	defer w.Close()
	pos, _, err := w.Next(ctx)
	return pos, err
}

// Wake tells of a change that is committed. It never blocks.
func (n *Notifier) Wake(c Change) {
	if c.Kind == 0 {
		c.Kind = Events
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	// Membership first: who enters with this change is woken by it, and who leaves is woken once more.
	for _, j := range c.Joins {
		for w := range n.users[j.User] {
			if j.Joined {
				n.addRoom(w, j.Room)
			} else {
				n.dropRoom(w, j.Room)
			}
			w.hint(c)
		}
	}
	for _, room := range c.Rooms {
		for w := range n.rooms[room] {
			w.hint(c)
		}
	}
	for _, user := range c.Users {
		for w := range n.users[user] {
			w.hint(c)
		}
	}
	for _, f := range n.followers {
		if f.kinds&c.Kind != 0 {
			poke(f.wake)
		}
	}
}

// hint needs n.mu.
func (w *Waiter) hint(c Change) {
	w.last = max(w.last, c.Pos)
	w.kinds |= c.Kind
	poke(w.woken)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // a hint is there already
	}
}

// Follow gives the wake-ups of a follower, by its name. It receives a value after changes of the kinds (0: all); one value
// may stand for many. A second call with the same name gives the same channel.
func (n *Notifier) Follow(name string, kinds Kind) <-chan struct{} {
	if kinds == 0 {
		kinds = ^Kind(0)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.followers == nil {
		n.followers = map[string]follower{}
	}
	f, ok := n.followers[name]
	if !ok {
		f.wake = make(chan struct{}, 1)
	}
	f.kinds |= kinds
	n.followers[name] = f
	return f.wake
}

// Waiting is the number of registered waiters: a domain with one does not forget its notifier when it sleeps.
func (n *Notifier) Waiting() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.waiters
}
