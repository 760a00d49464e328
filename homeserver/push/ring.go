package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/obs"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

const (
	parallelRings = 8                // gateways spoken to at the same time
	ringsAtOnce   = 20               // of a pusher that was away, the newest; more would only annoy
	ringMaxAge    = 24 * time.Hour   // what nobody could be told for a day is old news
	firstRetry    = 2 * time.Second  // doubled with each failure
	lastRetry     = 30 * time.Minute // at most
)

// ringAll empties the outbox whenever there is something in it, until the context ends.
func (k *Keeper) ringAll(ctx context.Context) {
	for {
		next, err := k.ringWaiting(ctx)
		if err != nil && ctx.Err() == nil {
			k.cfg.Log.Error("read push outbox", obs.KeyError, err)
			next = k.cfg.Clock.Now().Add(lastRetry)
		}
		k.due.Store(0)
		wait := (<-chan time.Time)(nil)
		var timer clock.Timer
		if !next.IsZero() {
			k.due.Store(next.UnixMilli())
			timer = k.cfg.Clock.NewTimer(next.Sub(k.cfg.Clock.Now()))
			wait = timer.C()
		}
		select {
		case <-ctx.Done():
		case <-k.ringNow:
		case <-wait:
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// ringWaiting rings each pusher that something waits for and that is due, and says when the next one is.
func (k *Keeper) ringWaiting(ctx context.Context) (next time.Time, err error) {
	var keys []store.PusherKey
	var all []store.Pusher
	err = k.cfg.Store.Read(ctx, func(tx *store.Tx) error {
		var err error
		if keys, err = tx.WaitingPushers(ctx); err != nil || len(keys) == 0 {
			return err
		}
		all, err = tx.AllPushers(ctx)
		return err
	})
	if err != nil {
		return next, err
	}
	pushers := make(map[store.PusherKey]store.Pusher, len(all))
	for _, p := range all {
		pushers[p.PusherKey] = p
	}
	var rings sync.WaitGroup
	var mu sync.Mutex // guards next
	slots := make(chan struct{}, parallelRings)
	later := func(at time.Time) {
		mu.Lock()
		defer mu.Unlock()
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	for _, key := range keys {
		p, ok := pushers[key]
		if !ok { // its device is gone
			if err := k.cfg.Store.Write(ctx, func(tx *store.Tx) error { return tx.DeletePusher(ctx, key) }); err != nil {
				return next, err
			}
			continue
		}
		if at := time.UnixMilli(p.RetryAt); at.After(k.cfg.Clock.Now()) {
			later(at)
			continue
		}
		slots <- struct{}{}
		rings.Go(func() {
			defer func() { <-slots }()
			if at := k.ringOne(ctx, p); !at.IsZero() {
				later(at)
			}
		})
	}
	rings.Wait()
	return next, nil
}

// ringOne tells a pusher what waits for it. It gives the time for the next attempt, zero when nothing is left.
func (k *Keeper) ringOne(ctx context.Context, p store.Pusher) time.Time {
	for {
		var waiting []store.Notification
		err := k.cfg.Store.ReadOne(ctx, func(tx *store.Tx) error {
			var err error
			waiting, err = tx.Notifications(ctx, p.PusherKey, 500)
			return err
		})
		if err != nil || len(waiting) == 0 {
			return k.trouble(ctx, "read push outbox", err)
		}
		if len(waiting) > ringsAtOnce {
			waiting = waiting[len(waiting)-ringsAtOnce:]
		}
		for _, n := range waiting {
			result, err := k.tell(ctx, p, n)
			if ctx.Err() != nil {
				return time.Time{}
			}
			if err != nil {
				// No key, no address, no URL: who pushes whom is nobody's business.
				k.cfg.Log.Warn("push gateway failed", obs.KeyError, errors.Unwrap(err))
				return k.retry(ctx, p)
			}
			err = k.cfg.Store.Write(ctx, func(tx *store.Tx) error {
				if result == rejected {
					return tx.DeletePusher(ctx, p.PusherKey)
				}
				if p.Failures > 0 {
					if err := tx.PusherFailed(ctx, p.PusherKey, 0, 0); err != nil {
						return err
					}
				}
				return tx.DropNotifications(ctx, p.PusherKey, n.Pos)
			})
			if err != nil {
				return k.trouble(ctx, "clear push outbox", err)
			}
			if p.Failures = 0; result == rejected {
				k.pushersChanged()
				return time.Time{}
			}
		}
	}
}

// trouble logs an error of our own and gives the time to try again; zero if there was none.
func (k *Keeper) trouble(ctx context.Context, what string, err error) time.Time {
	if err == nil || ctx.Err() != nil {
		return time.Time{}
	}
	k.cfg.Log.Error(what, obs.KeyError, err)
	return k.cfg.Clock.Now().Add(time.Minute)
}

// retry notes a failure and when to try again.
func (k *Keeper) retry(ctx context.Context, p store.Pusher) time.Time {
	p.Failures++
	wait := min(firstRetry<<min(p.Failures-1, 20), lastRetry)
	at := k.cfg.Clock.Now().Add(wait)
	err := k.cfg.Store.Write(ctx, func(tx *store.Tx) error {
		return tx.PusherFailed(ctx, p.PusherKey, p.Failures, at.UnixMilli())
	})
	if err != nil {
		k.trouble(ctx, "note failure of a pusher", err)
	}
	return at
}

type result int

const (
	told     result = iota
	rejected        // the gateway knows the pushkey no longer
)

// tell makes one call of a gateway. PG v1.16 #post_matrixpushv1notify
func (k *Keeper) tell(ctx context.Context, p store.Pusher, n store.Notification) (result, error) {
	target, err := k.target(p.Data)
	if err != nil {
		return rejected, nil // set under other rules than today's
	}
	body, skip, err := k.payload(ctx, p, n, target.Format == "event_id_only")
	if err != nil || skip {
		return told, err
	}
	gone, err := k.gateway.notify(ctx, target.URL, body)
	if err != nil {
		return told, fmt.Errorf("notify: %w", err)
	}
	for _, key := range gone {
		if key == p.PushKey {
			return rejected, nil
		}
	}
	return told, nil
}

// notification is the body of /notify.
type notification struct {
	EventID      id.EventID      `json:"event_id,omitempty"`
	RoomID       id.RoomID       `json:"room_id,omitempty"`
	Type         string          `json:"type,omitempty"`
	Sender       id.UserID       `json:"sender,omitempty"`
	SenderName   string          `json:"sender_display_name,omitempty"`
	RoomName     string          `json:"room_name,omitempty"`
	RoomAlias    string          `json:"room_alias,omitempty"`
	UserIsTarget bool            `json:"user_is_target,omitempty"`
	Prio         string          `json:"prio,omitempty"`
	Content      json.RawMessage `json:"content,omitempty"`
	Counts       struct {
		Unread int64 `json:"unread"` // also when it is 0: that is what clears the badge
	} `json:"counts"`
	Devices []pushDevice `json:"devices"`
}

type pushDevice struct {
	AppID     string                     `json:"app_id"`
	PushKey   string                     `json:"pushkey"`
	PushKeyTS int64                      `json:"pushkey_ts"` // seconds
	Data      map[string]json.RawMessage `json:"data"`
	Tweaks    json.RawMessage            `json:"tweaks,omitempty"`
}

// payload makes the body; skip says that there is nothing worth telling any more.
func (k *Keeper) payload(ctx context.Context, p store.Pusher, n store.Notification, idOnly bool) (body []byte, skip bool, err error) {
	var out notification
	if out.Counts.Unread, err = k.total(ctx, p.User); err != nil {
		return nil, false, err
	}
	device := pushDevice{AppID: p.AppID, PushKey: p.PushKey, PushKeyTS: p.SetTS / 1000, Data: map[string]json.RawMessage{}}
	if err := json.Unmarshal(p.Data, &device.Data); err != nil {
		return nil, false, err
	}
	delete(device.Data, "url") // "the entire content including format and any custom keys but excluding url"
	if n.Event != "" {
		ev, err := k.cfg.Rooms.Event(ctx, n.Event)
		if errors.Is(err, room.ErrUnknownEvent) {
			return nil, true, nil
		}
		if err != nil {
			return nil, false, err
		}
		if k.cfg.Clock.Now().Sub(time.UnixMilli(ev.OriginServerTS)) > ringMaxAge {
			return nil, true, nil
		}
		out.EventID, out.RoomID = ev.ID, ev.RoomID
		if out.Prio = "low"; n.High {
			out.Prio = "high"
		}
		if !idOnly {
			device.Tweaks = n.Tweaks
			k.describe(ctx, &out, p.User, ev)
		}
	} else {
		out.Prio = "low"
	}
	out.Devices = []pushDevice{device}
	body, err = json.Marshal(map[string]any{"notification": out})
	return body, false, err
}

// describe adds what a gateway may show. What can not be read is left out: the ring is worth more than the name in it.
func (k *Keeper) describe(ctx context.Context, out *notification, user id.UserID, ev *room.Event) {
	out.Type, out.Sender, out.Content = ev.Type, ev.Sender, ev.Content
	out.UserIsTarget = ev.Type == event.TypeMember && ev.StateKey != nil && *ev.StateKey == string(user)
	text := func(typ, key, field string) string {
		state, err := k.cfg.Rooms.StateEvent(ctx, ev.RoomID, typ, key)
		if err != nil || state == nil {
			return ""
		}
		value, _ := canonical.GetString(state.Content, field)
		return value
	}
	out.SenderName = text(event.TypeMember, string(ev.Sender), "displayname")
	out.RoomName = text(event.TypeName, "", "name")
	out.RoomAlias = text(event.TypeCanonicalAlias, "", "alias")
}

// total counts what a user has not read in all their rooms.
func (k *Keeper) total(ctx context.Context, user id.UserID) (int64, error) {
	rooms, err := k.cfg.Rooms.JoinedRooms(ctx, user)
	if err != nil {
		return 0, err
	}
	counts, err := k.Unread(ctx, user, rooms, k.cfg.Store.Position())
	if err != nil {
		return 0, err
	}
	var total int64
	for _, c := range counts {
		total += c.Notify
		for _, t := range c.Threads {
			total += t.Notify
		}
	}
	return total, nil
}
