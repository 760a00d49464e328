package clientsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"konsil/homeserver/account"
	"konsil/homeserver/store"
	"konsil/matrix/id"
)

// view is what a user's syncs stand on: their rooms, and whom they ignore. It never changes; a newer one replaces it.
type view struct {
	rooms   []store.UserRoomRow
	byRoom  map[id.RoomID]*store.UserRoomRow
	joined  []id.RoomID // of these, the rooms they are in
	ignored map[id.UserID]bool
	invites *account.InvitePermission
	pos     int64 // right for everything up to here, and for later as long as the tail knows of no change for the user
}

// views keeps those of users who sync.
type views struct {
	mu     sync.Mutex
	byUser map[id.UserID]*view // guarded by mu
	rooms  int                 // how many rooms they hold together, guarded by mu
}

// maxViewRooms bounds the rooms of all views together; each takes some 200 bytes.
const maxViewRooms = 50_000

func newViews() *views { return &views{byUser: map[id.UserID]*view{}} }

func (v *views) get(user id.UserID) *view {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.byUser[user]
}

func (v *views) put(user id.UserID, w *view) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if old := v.byUser[user]; old != nil {
		v.rooms -= len(old.rooms)
	}
	if v.rooms += len(w.rooms); v.rooms > maxViewRooms {
		clear(v.byUser)
		v.rooms = len(w.rooms)
	}
	v.byUser[user] = w
}

func (v *views) drop(user id.UserID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if old := v.byUser[user]; old != nil {
		v.rooms -= len(old.rooms)
		delete(v.byUser, user)
	}
}

// view gives a user's view, and the position that an answer made of it may reach: the present, with the tail up to there.
func (s *Syncer) view(ctx context.Context, user id.UserID) (*view, int64, error) {
	for {
		upTo := s.cfg.Store.Position()
		if err := s.tail.extend(ctx, upTo); err != nil {
			return nil, 0, err
		}
		if v := s.views.get(user); v != nil && !s.tail.look(v.pos, upTo).changed(store.UserDataChanged, string(user)) {
			return v, upTo, nil
		}
		v, err := s.loadView(ctx, user)
		if err != nil {
			return nil, 0, err
		}
		s.views.put(user, v)
		if v.pos == s.cfg.Store.Position() {
			return v, v.pos, s.tail.extend(ctx, v.pos)
		}
		// Something was stored meanwhile; it may be in the view although it came after its position. Once more, then the
		// tail knows whether that was about this user.
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
	}
}

func (s *Syncer) loadView(ctx context.Context, user id.UserID) (*view, error) {
	v := &view{pos: s.cfg.Store.Position()}
	var ignored []byte
	err := s.cfg.Store.Read(ctx, func(tx *store.Tx) error {
		var err error
		if v.rooms, err = tx.UserRooms(ctx, user); err != nil {
			return err
		}
		ignored, err = tx.AccountData(ctx, user, "", "m.ignored_user_list")
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		v.invites, err = account.ReadInvitePermission(ctx, tx, user)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read rooms of a user: %w", err)
	}
	v.byRoom = make(map[id.RoomID]*store.UserRoomRow, len(v.rooms))
	for i := range v.rooms {
		v.byRoom[v.rooms[i].RoomID] = &v.rooms[i]
		if v.rooms[i].Membership == store.Joined {
			v.joined = append(v.joined, v.rooms[i].RoomID)
		}
	}
	v.ignored = ignoredUsers(ignored)
	return v, nil
}

// ignoredUsers reads m.ignored_user_list. CS v1.16 #mignored_user_list
func ignoredUsers(content []byte) map[id.UserID]bool {
	var list struct {
		Users map[id.UserID]json.RawMessage `json:"ignored_users"`
	}
	if len(content) == 0 || json.Unmarshal(content, &list) != nil || len(list.Users) == 0 {
		return nil
	}
	ignored := make(map[id.UserID]bool, len(list.Users))
	for user := range list.Users {
		ignored[user] = true
	}
	return ignored
}
