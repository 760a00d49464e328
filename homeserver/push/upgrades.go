package push

import (
	"context"
	"errors"

	"konsil/homeserver/room"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// followUpgrade takes the room rules of local users along when their room is replaced by another: when the old room says so
// while they are in it, and when they enter a new room that names its predecessor. In the latter case the old room has to
// agree; otherwise anybody could claim to continue any room (A28). CS v1.16 #server-behaviour-19
func (k *Keeper) followUpgrade(ctx context.Context, ev *room.Event) error {
	if ev.StateKey == nil {
		return nil
	}
	switch {
	case ev.Type == event.TypeTombstone && *ev.StateKey == "":
		to, ok := canonical.GetString(ev.Content, "replacement_room")
		if !ok || to == "" {
			return nil
		}
		var users []id.UserID
		k.mu.Lock()
		for user, m := range k.rooms[ev.RoomID].members {
			if m.rules.set.HasRoom(string(ev.RoomID)) {
				users = append(users, user)
			}
		}
		k.mu.Unlock()
		for _, user := range users {
			if err := k.RoomUpgraded(ctx, user, ev.RoomID, id.RoomID(to)); err != nil {
				return err
			}
		}
	case ev.Type == event.TypeMember && ev.Membership() == event.Join:
		return k.enterUpgraded(ctx, id.UserID(*ev.StateKey), ev.RoomID)
	}
	return nil
}

// enterUpgraded looks whether the room a user joins replaces one that they have rules for.
func (k *Keeper) enterUpgraded(ctx context.Context, user id.UserID, to id.RoomID) error {
	k.mu.Lock()
	m := k.rooms[to].members[user]
	k.mu.Unlock()
	if m == nil || !m.rules.set.HasRooms() {
		return nil
	}
	create, err := k.cfg.Rooms.StateEvent(ctx, to, event.TypeCreate, "")
	if err != nil || create == nil {
		return err
	}
	from, ok := canonical.GetString(create.Content, "predecessor", "room_id")
	if !ok || !m.rules.set.HasRoom(from) {
		return nil
	}
	tombstone, err := k.cfg.Rooms.StateEvent(ctx, id.RoomID(from), event.TypeTombstone, "")
	if errors.Is(err, room.ErrUnknownRoom) || err == nil && tombstone == nil {
		return nil
	}
	if err != nil {
		return err
	}
	if agreed, _ := canonical.GetString(tombstone.Content, "replacement_room"); agreed != string(to) {
		return nil
	}
	return k.RoomUpgraded(ctx, user, id.RoomID(from), to)
}
