package push

import (
	"context"
	"fmt"

	"konsil/homeserver/store"
	"konsil/matrix/id"
)

// Unread gives a user's counts in rooms, in the order of the rooms, as they are at upTo or a little later.
func (k *Keeper) Unread(ctx context.Context, user id.UserID, rooms []id.RoomID, upTo int64) ([]store.UnreadCounts, error) {
	if err := k.Advance(ctx, upTo); err != nil {
		return nil, err
	}
	counts := make([]store.UnreadCounts, len(rooms))
	var cold []id.RoomID
	k.mu.Lock()
	for i, room := range rooms {
		if r := k.rooms[room]; r != nil {
			counts[i] = r.members[user].counts()
		} else {
			cold = append(cold, room)
		}
	}
	k.mu.Unlock()
	if len(cold) == 0 {
		return counts, nil
	}
	// Rooms that are not in memory have had no events since they were written.
	var stored map[id.RoomID][]byte
	err := k.cfg.Store.ReadOne(ctx, func(tx *store.Tx) error {
		var err error
		stored, err = tx.Unread(ctx, cold)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read unread counts: %w", err)
	}
	for i, room := range rooms {
		blob, ok := stored[room]
		if !ok {
			continue
		}
		r := roomCounts{members: map[id.UserID]*member{user: {user: user}}}
		if err := r.decode(blob); err != nil {
			return nil, err
		}
		counts[i] = r.members[user].counts()
	}
	return counts, nil
}

// counts gives what is unread; nil is who is no member.
func (m *member) counts() store.UnreadCounts {
	if m == nil {
		return store.UnreadCounts{}
	}
	c := store.UnreadCounts{Notify: m.main.notify, Highlight: m.main.highlight}
	for root, t := range m.threads {
		if t.notify == 0 && t.highlight == 0 {
			continue
		}
		if c.Threads == nil {
			c.Threads = make(map[id.EventID]store.ThreadCounts, len(m.threads))
		}
		c.Threads[root] = store.ThreadCounts{Notify: t.notify, Highlight: t.highlight}
	}
	return c
}
