package push

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/pushrule"
)

// Limits of one page of /notifications. It is found by asking the user's rules about past events, newest first.
const (
	maxNotifications = 100
	maxLookedAt      = 2000
)

// Notified is an event that a user was, or would have been, notified of.
type Notified struct {
	Event   *room.Event
	Actions []json.RawMessage
	Read    bool
}

// NotificationPage is one page, newest first. Next is "" at the end.
type NotificationPage struct {
	Notified []Notified
	Next     string
}

// Notifications lists what a user was notified of. from is "" or Next of the page before. CS v1.16 #listing-notifications
func (k *Keeper) Notifications(ctx context.Context, user id.UserID, from string, limit int, highlights bool) (NotificationPage, error) {
	upTo := k.cfg.Store.Position()
	if from != "" {
		pos, err := strconv.ParseInt(from, 10, 64)
		if err != nil || pos < 0 || pos > upTo {
			return NotificationPage{}, mxerr.InvalidParam("Unknown token")
		}
		upTo = pos
	}
	if limit <= 0 || limit > maxNotifications {
		limit = maxNotifications
	}
	set, err := k.Rules(ctx, user)
	if err != nil {
		return NotificationPage{}, err
	}
	rules := set.Compile(string(user))
	joined, err := k.cfg.Rooms.JoinedRooms(ctx, user)
	if err != nil {
		return NotificationPage{}, err
	}
	var nids []int64
	err = k.cfg.Store.ReadOne(ctx, func(tx *store.Tx) error {
		var err error
		nids, err = tx.NewestEvents(ctx, joined, upTo, maxLookedAt)
		return err
	})
	if err != nil {
		return NotificationPage{}, fmt.Errorf("read events to notify of: %w", err)
	}
	var page NotificationPage
	for i := 0; i < len(nids); i += batch {
		events, err := k.cfg.Rooms.EventsByNID(ctx, nids[i:min(i+batch, len(nids))])
		if err != nil {
			return page, err
		}
		for _, ev := range events {
			if len(page.Notified) == limit {
				page.Next = strconv.FormatInt(ev.Pos, 10)
				return page, nil
			}
			n, ok, err := k.notified(ctx, user, rules, ev, highlights)
			if err != nil {
				return page, err
			}
			if ok {
				page.Notified = append(page.Notified, n)
			}
		}
		if last := events[len(events)-1].Pos; len(nids) == maxLookedAt && i+batch >= len(nids) && last > 1 {
			page.Next = strconv.FormatInt(last-1, 10)
		}
	}
	return page, nil
}

// notified asks the rules about one past event.
func (k *Keeper) notified(ctx context.Context, user id.UserID, rules *pushrule.Rules, ev *room.Event, highlights bool) (Notified, bool, error) {
	if ev.Sender == user {
		return Notified{}, false, nil
	}
	name := ""
	asked, err := k.facts(ctx, ev)
	if err != nil {
		return Notified{}, false, err
	}
	if asked.AsksForName() {
		member, err := k.cfg.Rooms.StateEvent(ctx, ev.RoomID, "m.room.member", string(user))
		if err != nil {
			return Notified{}, false, err
		}
		if member != nil {
			name = displayName(member.Content)
		}
	}
	o := rules.Evaluate(asked, name)
	if o == nil || !o.Notify || highlights && !o.Highlight {
		return Notified{}, false, nil
	}
	visible, err := k.cfg.Rooms.VisibleToUser(ctx, user, []*room.Event{ev})
	if err != nil || len(visible) == 0 {
		return Notified{}, false, err
	}
	return Notified{Event: ev, Actions: o.Actions, Read: k.hasRead(ctx, user, ev)}, true, nil
}

// hasRead says whether a receipt of the user covers an event, as far as the counts know.
func (k *Keeper) hasRead(ctx context.Context, user id.UserID, ev *room.Event) bool {
	root, err := k.threadOf(ctx, ev, 0)
	if err != nil || k.take(ctx) != nil {
		return false
	}
	defer k.give()
	if k.load(ctx, map[id.RoomID]bool{ev.RoomID: true}) != nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.rooms[ev.RoomID].members[user]
	return m != nil && ev.Pos <= max(m.read, m.readIn(root))
}
