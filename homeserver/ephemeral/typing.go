package ephemeral

import (
	"context"
	"fmt"
	"slices"
	"time"

	"konsil/homeserver/notify"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Bounds of typing notifications. CS v1.16 #typing-notifications
const (
	defaultTyping = 30 * time.Second // when a client gives no time
	maxTyping     = 2 * time.Minute
	remoteTyping  = time.Minute      // servers repeat it while it lasts
	repeatTyping  = 15 * time.Second // how often other servers are told that somebody still types
	maxTypists    = 100              // in one room; more tell nobody anything
)

// typingRoom is who types in a room. Its position is that of the last change.
type typingRoom struct {
	pos   int64
	users map[id.UserID]typist
}

type typist struct {
	until time.Time
	told  time.Time // when other servers were told last
}

// SetTyping notes that a user of ours types, for the time given, or stopped. tell says that other servers have to hear of it.
// CS v1.16 #put_matrixclientv3roomsroomidtypinguserid
func (k *Keeper) SetTyping(ctx context.Context, room id.RoomID, user id.UserID, typing bool, lasts time.Duration) (tell bool, err error) {
	if in, err := k.joined(ctx, room, user); err != nil || !in {
		if err == nil {
			err = mxerr.Forbidden("You are not in this room")
		}
		return false, err
	}
	if lasts <= 0 {
		lasts = defaultTyping
	}
	k.Active(ctx, user)
	changed, tell := k.note(room, user, typing, min(lasts, maxTyping))
	if changed {
		err = k.typingChanged(ctx, room)
	}
	return tell, err
}

// note changes who types in a room. changed: clients have to hear of it. tell: other servers.
func (k *Keeper) note(room id.RoomID, user id.UserID, typing bool, lasts time.Duration) (changed, tell bool) {
	now := k.Clock.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.typing[room]
	if r == nil {
		r = &typingRoom{users: map[id.UserID]typist{}}
		if !typing {
			return false, false
		}
		k.typing[room] = r
	}
	was, typed := r.users[user]
	if !typing {
		delete(r.users, user)
		return typed, typed
	}
	if !typed && len(r.users) >= maxTypists {
		return false, false
	}
	tell = !typed || now.Sub(was.told) >= repeatTyping
	if tell {
		was.told = now
	}
	was.until = now.Add(lasts)
	r.users[user] = was
	k.lookAt(was.until)
	return !typed, tell
}

// typingChanged gives a change of who types its place in the domain's order, and wakes those who see it.
func (k *Keeper) typingChanged(ctx context.Context, room id.RoomID) error {
	var pos int64
	// The number is set before it can be seen, so that no sync passes it by without looking.
	err := k.Store.Write(ctx, func(tx *store.Tx) error {
		pos = tx.NextPosition()
		k.mu.Lock()
		defer k.mu.Unlock()
		if r := k.typing[room]; r != nil {
			r.pos = pos
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("order a typing notification: %w", err)
	}
	k.Notify.Wake(notify.Change{Pos: pos, Rooms: []id.RoomID{room}, Kind: notify.Ephemeral})
	return nil
}

// expireTyping drops who has not typed on, and lists the rooms where that changed something. Needs k.mu.
func (k *Keeper) expireTyping(now time.Time) []id.RoomID {
	var changed []id.RoomID
	for room, r := range k.typing {
		n := len(r.users)
		for user, t := range r.users {
			if !t.until.After(now) {
				delete(r.users, user)
				continue
			}
			k.lookAt(t.until)
		}
		switch {
		case len(r.users) < n:
			changed = append(changed, room)
		case n == 0:
			// Everybody who syncs has seen that nobody types any more, or will not miss it.
			delete(k.typing, room)
			continue
		}
		if len(r.users) == 0 {
			k.lookAt(now.Add(10 * time.Minute))
		}
	}
	return changed
}

// Typing says who types in a room, if that changed after a position: the m.typing event for /sync, nil for no news.
// The position of the answer must have been read before.
func (k *Keeper) Typing(room id.RoomID, after int64) []byte {
	k.mu.Lock()
	r := k.typing[room]
	if r == nil || r.pos <= after {
		k.mu.Unlock()
		return nil
	}
	users := make([]id.UserID, 0, len(r.users))
	for user := range r.users {
		users = append(users, user)
	}
	k.mu.Unlock()
	slices.Sort(users)
	b := []byte(`{"content":{"user_ids":[`)
	for i, user := range users {
		if i > 0 {
			b = append(b, ',')
		}
		b = canonical.AppendString(b, user)
	}
	return append(b, `]},"type":"m.typing"}`...)
}

// TypingRooms lists the rooms where who types changed after a position, and at which.
func (k *Keeper) TypingRooms(after int64) map[id.RoomID]int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	var rooms map[id.RoomID]int64
	for room, r := range k.typing {
		if r.pos > after {
			if rooms == nil {
				rooms = map[id.RoomID]int64{}
			}
			rooms[room] = r.pos
		}
	}
	return rooms
}

// ReceiveTyping takes an m.typing EDU. It is dropped unless the user is the sending server's and in the room (A24).
// SS v1.16 #typing-notifications
func (k *Keeper) ReceiveTyping(ctx context.Context, origin id.ServerName, content []byte) error {
	name, _ := canonical.GetString(content, "room_id")
	who, _ := canonical.GetString(content, "user_id")
	typing, ok := canonical.GetBool(content, "typing")
	room, err := id.ParseRoomID(name)
	if err != nil || !ok {
		return nil
	}
	user, err := id.ParseUserID(who)
	if err != nil || user.Server() != origin || k.local(user) {
		return nil
	}
	if in, err := k.joined(ctx, room, user); err != nil || !in {
		return err
	}
	if changed, _ := k.note(room, user, typing, remoteTyping); changed {
		return k.typingChanged(ctx, room)
	}
	return nil
}
