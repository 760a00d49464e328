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
	Joins []RoomUser  // who entered or left a room with this change: all that happens, for users' rooms are followed by them
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
	rooms     map[id.RoomID]map[*listener]struct{} // guarded by mu
	users     map[id.UserID]*listener              // guarded by mu
	idle      listener                             // ring of those nobody waits for: next left first; guarded by mu
	idlers    int                                  // guarded by mu
	followers map[string]follower                  // guarded by mu
	waiters   int                                  // guarded by mu
	ending    chan struct{}                        // closed by End; made when it is first asked for, guarded by mu
	ended     bool                                 // guarded by mu
}

// listener is a user some of whose clients wait, or did so lately. It knows the user's rooms, so that a long poll need not
// enter itself for each of them: a user of thousands of rooms asks again with each message. All of it is guarded by Notifier.mu.
type listener struct {
	user       id.UserID
	rooms      map[id.RoomID]bool
	version    int64 // of the Interest that named them last
	waiters    map[*Waiter]struct{}
	next, prev *listener // in the ring of idle ones
}

// keepIdle bounds the listeners that are kept though nobody waits: these, or as many as do wait.
const keepIdle = 64

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
	User    id.UserID
	Rooms   []id.RoomID
	Version int64 // of the rooms: where it is that of the user's last wait they need not be looked at; 0 for none
}

// Waiter is one registered wait. It is made before the store is read, so that nothing falls between the two.
type Waiter struct {
	n     *Notifier
	of    *listener     // never changes
	woken chan struct{} // holds one hint
	gone  bool          // guarded by n.mu
	last  int64         // highest position hinted, guarded by n.mu
	kinds Kind          // what was hinted since the last Next, guarded by n.mu
}

// Register begins to listen. The caller must Close the waiter.
func (n *Notifier) Register(in Interest) *Waiter {
	w := &Waiter{n: n, woken: make(chan struct{}, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	w.of = n.listener(in)
	if len(w.of.waiters) == 0 {
		n.unrest(w.of)
	}
	w.of.waiters[w] = struct{}{}
	n.waiters++
	return w
}

// listener finds or makes the listener of a user. One that is there has followed its rooms since it was made. It needs n.mu.
func (n *Notifier) listener(in Interest) *listener {
	if l := n.users[in.User]; l != nil && in.Version != 0 && l.version == in.Version {
		return l
	}
	if n.users == nil {
		n.users, n.rooms = map[id.UserID]*listener{}, map[id.RoomID]map[*listener]struct{}{}
	}
	l := n.users[in.User]
	if l == nil {
		l = &listener{user: in.User, rooms: make(map[id.RoomID]bool, len(in.Rooms)), waiters: map[*Waiter]struct{}{}}
		n.users[in.User] = l
	}
	for _, room := range in.Rooms {
		n.addRoom(l, room)
	}
	l.version = in.Version
	return l
}

// addRoom needs n.mu.
func (n *Notifier) addRoom(l *listener, room id.RoomID) {
	l.rooms[room] = true
	set := n.rooms[room]
	if set == nil {
		set = map[*listener]struct{}{}
		n.rooms[room] = set
	}
	set[l] = struct{}{}
}

// dropRoom needs n.mu.
func (n *Notifier) dropRoom(l *listener, room id.RoomID) {
	delete(l.rooms, room)
	set := n.rooms[room]
	delete(set, l)
	if len(set) == 0 {
		delete(n.rooms, room)
	}
}

// rest puts a listener that nobody waits for into the ring, and forgets those who rest longest. It needs n.mu.
func (n *Notifier) rest(l *listener) {
	ring := &n.idle
	if ring.next == nil {
		ring.next, ring.prev = ring, ring
	}
	l.prev, l.next = ring.prev, ring
	l.prev.next, ring.prev = l, l
	n.idlers++
	for n.idlers > max(keepIdle, n.waiters) {
		oldest := ring.next
		n.unrest(oldest)
		for room := range oldest.rooms {
			n.dropRoom(oldest, room)
		}
		delete(n.users, oldest.user)
	}
}

// unrest takes a listener out of the ring if it is there. It needs n.mu.
func (n *Notifier) unrest(l *listener) {
	if l.next == nil {
		return
	}
	l.prev.next, l.next.prev = l.next, l.prev
	l.next, l.prev = nil, nil
	n.idlers--
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
	delete(w.of.waiters, w)
	if len(w.of.waiters) == 0 {
		n.rest(w.of)
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
		if l := n.users[j.User]; l != nil {
			if j.Joined {
				n.addRoom(l, j.Room)
			} else {
				n.dropRoom(l, j.Room)
			}
			l.hint(c)
		}
	}
	for _, room := range c.Rooms {
		for l := range n.rooms[room] {
			l.hint(c)
		}
	}
	for _, user := range c.Users {
		if l := n.users[user]; l != nil {
			l.hint(c)
		}
	}
	for _, f := range n.followers {
		if f.kinds&c.Kind != 0 {
			poke(f.wake)
		}
	}
}

// hint needs n.mu.
func (l *listener) hint(c Change) {
	for w := range l.waiters {
		w.hint(c)
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
