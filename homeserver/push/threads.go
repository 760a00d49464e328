package push

import (
	"context"
	"errors"

	"konsil/homeserver/room"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
)

// maxHops bounds how far relations are followed in search of a thread. CS v1.16 #marking-notifications-as-read
const maxHops = 3

// threadOf finds the root of the thread an event is in, "" for the main timeline.
func (k *Keeper) threadOf(ctx context.Context, ev *room.Event, hops int) (id.EventID, error) {
	relation, ok := canonical.Get(ev.Content, "m.relates_to")
	if !ok {
		return "", nil
	}
	parent, ok := canonical.GetString(relation, "event_id")
	if !ok {
		return "", nil
	}
	if kind, _ := canonical.GetString(relation, "rel_type"); kind == "m.thread" {
		return id.EventID(parent), nil
	}
	if hops++; hops >= maxHops {
		return "", nil
	}
	next, err := k.cfg.Rooms.Event(ctx, id.EventID(parent))
	if errors.Is(err, room.ErrUnknownEvent) || err == nil && next.RoomID != ev.RoomID {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return k.threadOf(ctx, next, hops)
}

// displayName reads the name out of a member event's content.
func displayName(content []byte) string {
	name, _ := canonical.GetString(content, "displayname")
	return name
}
