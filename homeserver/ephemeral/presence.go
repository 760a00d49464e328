package ephemeral

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"konsil/homeserver/notify"
	"konsil/homeserver/store"
	"konsil/kit/obs"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// The states of presence. CS v1.16 #presence
const (
	Online      = "online"
	Unavailable = "unavailable"
	Offline     = "offline"
)

const (
	idleAfter    = 5 * time.Minute  // online without doing anything becomes unavailable
	offlineAfter = 30 * time.Second // after the last sync
	activeGrain  = time.Minute      // how exactly last_active is kept: finer would wake everybody all the time
	maxStatus    = 512              // bytes of a status message
	maxPresences = 1000             // in one EDU
)

// activity is what is known of one of our users who was there lately.
type activity struct {
	store.Presence
	syncing  int       // syncs under way
	lastSync time.Time // end of the last one
	idle     bool      // unavailable because nothing was done, not because the user said so
}

// SetPresence takes what a user of ours says. CS v1.16 #put_matrixclientv3presenceuseridstatus
func (k *Keeper) SetPresence(ctx context.Context, user id.UserID, state string, status *string) error {
	if state != Online && state != Unavailable && state != Offline {
		return mxerr.InvalidParam("Unknown presence")
	}
	if status != nil && len(*status) > maxStatus {
		return mxerr.TooLarge("The status message is longer than %d bytes", maxStatus)
	}
	if status != nil && strings.IndexByte(*status, 0) >= 0 {
		return mxerr.InvalidParam("The status message holds a character that is none")
	}
	if !k.Presence {
		return nil
	}
	return k.change(ctx, user, func(a *activity, now time.Time) bool {
		a.State, a.StatusMsg, a.idle = state, status, false
		a.LastActive, a.Active = now.UnixMilli(), state == Online
		return true
	})
}

// change applies a change to a user's activity and stores it, if change says that others have to hear of it.
func (k *Keeper) change(ctx context.Context, user id.UserID, change func(a *activity, now time.Time) bool) error {
	if err := k.know(ctx, user); err != nil {
		return err
	}
	now := k.Clock.Now()
	k.mu.Lock()
	a := k.active[user]
	if a == nil {
		a = &activity{Presence: store.Presence{User: user, State: Offline}}
		k.active[user] = a
	}
	tell := change(a, now)
	p := a.Presence
	k.lookAt(now.Add(offlineAfter))
	k.mu.Unlock()
	if !tell {
		return nil
	}
	return k.storePresence(ctx, p)
}

// know brings what is stored of a user into memory.
func (k *Keeper) know(ctx context.Context, user id.UserID) error {
	k.mu.Lock()
	_, known := k.active[user]
	k.mu.Unlock()
	if known {
		return nil
	}
	p, err := k.presence(ctx, user)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, known := k.active[user]; !known {
		k.active[user] = &activity{Presence: p, lastSync: k.Clock.Now()}
	}
	return nil
}

// presence reads what is stored of a user; nothing stored is offline.
func (k *Keeper) presence(ctx context.Context, user id.UserID) (store.Presence, error) {
	p := store.Presence{User: user, State: Offline}
	err := k.Store.ReadOne(ctx, func(tx *store.Tx) error {
		stored, err := tx.Presence(ctx, user)
		if err == nil {
			p = stored
		}
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return p, fmt.Errorf("read presence: %w", err)
	}
	return p, nil
}

// Syncing notes that a client of a user syncs, with the set_presence it asked for ("" is online). The function that it returns
// is called when the sync is over. CS v1.16 #get_matrixclientv3sync
func (k *Keeper) Syncing(ctx context.Context, user id.UserID, set string) (done func(), err error) {
	if !k.Presence || set == Offline {
		return func() {}, nil
	}
	err = k.change(ctx, user, func(a *activity, now time.Time) bool {
		a.syncing++
		a.lastSync = now
		switch {
		case set == Unavailable && a.State == Online:
			a.State, a.idle, a.Active = Unavailable, true, false
		case set == Unavailable && a.State == Offline:
			a.State, a.idle = Unavailable, true
		case set != Unavailable && (a.State == Offline || a.State == Unavailable && a.idle):
			// Who said "unavailable" stays it until they say something else.
			a.State, a.idle, a.Active, a.LastActive = Online, false, true, now.UnixMilli()
		default:
			return false
		}
		return true
	})
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if a := k.active[user]; a != nil && a.syncing > 0 {
			a.syncing--
			a.lastSync = k.Clock.Now()
			k.lookAt(a.lastSync.Add(offlineAfter))
		}
	}, err
}

// Active notes that a user of ours did something.
func (k *Keeper) Active(ctx context.Context, user id.UserID) {
	if !k.Presence {
		return
	}
	err := k.change(ctx, user, func(a *activity, now time.Time) bool {
		woke := a.State == Unavailable && a.idle
		if woke {
			a.State, a.idle = Online, false
		}
		if !woke && now.UnixMilli()-a.LastActive < activeGrain.Milliseconds() {
			return false
		}
		tell := woke || a.State == Online && !a.Active
		a.LastActive, a.Active = now.UnixMilli(), a.State == Online
		return tell
	})
	if err != nil && ctx.Err() == nil {
		k.Log.Warn("note that a user is active", obs.KeyError, err) // the next thing they do says it again
	}
}

// expirePresence finds who became idle or went away. Needs k.mu.
func (k *Keeper) expirePresence(now time.Time) []store.Presence {
	var changed []store.Presence
	for user, a := range k.active {
		gone := a.syncing == 0 && !now.Before(a.lastSync.Add(offlineAfter))
		idleAt := time.UnixMilli(a.LastActive).Add(idleAfter)
		switch {
		case gone && a.State != Offline:
			a.State, a.Active, a.idle = Offline, false, false
			changed = append(changed, a.Presence)
			delete(k.active, user)
			continue
		case gone:
			delete(k.active, user)
			continue
		case a.State == Online && !now.Before(idleAt):
			a.State, a.Active, a.idle = Unavailable, false, true
			changed = append(changed, a.Presence)
		}
		next := idleAt
		if a.State != Online {
			next = now.Add(idleAfter)
		}
		if leaves := a.lastSync.Add(offlineAfter); a.syncing == 0 && leaves.Before(next) {
			next = leaves
		}
		k.lookAt(next)
	}
	return changed
}

// loadPresence takes over who was there when the program ended: whoever does not come back goes offline.
func (k *Keeper) loadPresence(ctx context.Context) error {
	var there []store.Presence
	err := k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		there, err = tx.ActivePresences(ctx)
		return err
	})
	if err != nil {
		return err
	}
	now := k.Clock.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range there {
		if _, known := k.active[p.User]; !known && k.local(p.User) {
			k.active[p.User] = &activity{Presence: p, lastSync: now}
			k.lookAt(now.Add(offlineAfter))
		}
	}
	return nil
}

// storePresence stores a user's presence and wakes those who see it.
func (k *Keeper) storePresence(ctx context.Context, p store.Presence) error {
	var pos int64
	var rooms []id.RoomID
	err := k.Store.Write(ctx, func(tx *store.Tx) (err error) {
		if pos, err = tx.SetPresence(ctx, p); err == nil {
			rooms, err = tx.RoomsOf(ctx, p.User)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("store presence: %w", err)
	}
	kind := notify.Presence
	if k.local(p.User) {
		kind |= notify.Outgoing
	}
	k.Notify.Wake(notify.Change{Pos: pos, Rooms: rooms, Users: []id.UserID{p.User}, Kind: kind})
	return nil
}

// GetPresence is a user's presence as asker may see it. CS v1.16 #get_matrixclientv3presenceuseridstatus
func (k *Keeper) GetPresence(ctx context.Context, asker, user id.UserID) ([]byte, error) {
	if asker != user {
		shares, err := k.Rooms.SharesRoom(ctx, asker, user)
		if err != nil {
			return nil, err
		}
		if !shares {
			return nil, mxerr.Forbidden("You share no room with this user")
		}
	}
	p, err := k.presence(ctx, user)
	if err != nil {
		return nil, err
	}
	return append(appendContent([]byte{'{'}, p, k.Clock.Now()), '}'), nil
}

// PresenceEvent writes the m.presence event for /sync.
func (k *Keeper) PresenceEvent(p store.Presence) []byte {
	b := appendContent([]byte(`{"content":{`), p, k.Clock.Now())
	b = canonical.AppendString(append(b, `},"sender":`...), p.User)
	return append(b, `,"type":"m.presence"}`...)
}

func appendContent(b []byte, p store.Presence, now time.Time) []byte {
	b = canonical.AppendString(append(b, `"presence":`...), p.State)
	if p.LastActive > 0 {
		b = strconv.AppendInt(append(b, `,"last_active_ago":`...), max(0, now.UnixMilli()-p.LastActive), 10)
	}
	if p.StatusMsg != nil {
		b = canonical.AppendString(append(b, `,"status_msg":`...), *p.StatusMsg)
	}
	if p.State == Online {
		b = strconv.AppendBool(append(b, `,"currently_active":`...), p.Active)
	}
	return b
}

// ReceivePresence takes an m.presence EDU. Users that are not the sending server's or share no room with us are dropped (A24).
// SS v1.16 #presence
func (k *Keeper) ReceivePresence(ctx context.Context, origin id.ServerName, content []byte) error {
	if !k.Presence {
		return nil
	}
	now := k.Clock.Now().UnixMilli()
	var all []store.Presence
	var users []id.UserID
	push, _ := canonical.Get(content, "push")
	_ = canonical.Array(push, func(value []byte) error {
		if len(all) >= maxPresences {
			return canonical.ErrValue
		}
		if p, ok := parsePresence(value, now); ok && p.User.Server() == origin && !k.local(p.User) {
			all, users = append(all, p), append(users, p.User)
		}
		return nil
	})
	if len(all) == 0 {
		return nil
	}
	var sharing []id.UserID
	err := k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		sharing, err = tx.SharingUsers(ctx, users)
		return err
	})
	if err != nil {
		return fmt.Errorf("find out who shares rooms: %w", err)
	}
	for _, user := range sharing {
		for _, p := range all {
			if p.User != user {
				continue
			}
			if err := k.storePresence(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func parsePresence(value []byte, now int64) (store.Presence, bool) {
	var p store.Presence
	who, _ := canonical.GetString(value, "user_id")
	user, err := id.ParseUserID(who)
	if err != nil {
		return p, false
	}
	p.User = user
	p.State, _ = canonical.GetString(value, "presence")
	if p.State != Online && p.State != Unavailable && p.State != Offline {
		return p, false
	}
	if status, ok := canonical.GetString(value, "status_msg"); ok && len(status) <= maxStatus && strings.IndexByte(status, 0) < 0 {
		p.StatusMsg = &status
	}
	if ago, ok := canonical.GetInt(value, "last_active_ago"); ok && ago >= 0 && ago <= now {
		p.LastActive = now - ago
	}
	p.Active, _ = canonical.GetBool(value, "currently_active")
	return p, true
}
