package push

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/pushrule"
)

// Pusher is a pusher as clients see it. CS v1.16 #get_matrixclientv3pushers
type Pusher struct {
	PushKey           string          `json:"pushkey"`
	Kind              string          `json:"kind"`
	AppID             string          `json:"app_id"`
	AppDisplayName    string          `json:"app_display_name"`
	DeviceDisplayName string          `json:"device_display_name"`
	ProfileTag        string          `json:"profile_tag,omitempty"`
	Lang              string          `json:"lang"`
	Data              json.RawMessage `json:"data"`
}

// Limits of a pusher. CS v1.16 #post_matrixclientv3pushersset
const (
	maxPushKey = 512
	maxAppID   = 64
	maxNames   = 1024     // bytes of each display name, tag and language
	maxData    = 16 << 10 // bytes of data
	maxPushers = 50       // of one user
)

// Pushers lists a user's pushers.
func (k *Keeper) Pushers(ctx context.Context, user id.UserID) ([]Pusher, error) {
	var rows []store.Pusher
	err := k.cfg.Store.ReadOne(ctx, func(tx *store.Tx) error {
		var err error
		rows, err = tx.Pushers(ctx, user)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read pushers: %w", err)
	}
	all := make([]Pusher, 0, len(rows))
	for _, r := range rows {
		all = append(all, Pusher{PushKey: r.PushKey, Kind: r.Kind, AppID: r.AppID, AppDisplayName: r.AppDisplayName,
			DeviceDisplayName: r.DeviceDisplayName, ProfileTag: r.ProfileTag, Lang: r.Lang, Data: r.Data})
	}
	return all, nil
}

// SetPusher adds a pusher or replaces it. Unless others may keep theirs, it takes the app and key away from other users.
func (k *Keeper) SetPusher(ctx context.Context, user id.UserID, device id.DeviceID, p Pusher, keepOthers bool) error {
	if err := k.check(p); err != nil {
		return err
	}
	key := store.PusherKey{User: user, AppID: p.AppID, PushKey: p.PushKey}
	err := k.cfg.Store.Write(ctx, func(tx *store.Tx) error {
		present, err := tx.Pushers(ctx, user)
		if err != nil {
			return err
		}
		if len(present) >= maxPushers {
			return mxerr.TooLarge("Too many pushers")
		}
		if !keepOthers {
			if err := tx.DeleteForeignPushers(ctx, key); err != nil {
				return err
			}
		}
		return tx.SetPusher(ctx, store.Pusher{
			PusherKey: key, Device: device, Kind: p.Kind, AppDisplayName: p.AppDisplayName,
			DeviceDisplayName: p.DeviceDisplayName, ProfileTag: p.ProfileTag, Lang: p.Lang, Data: p.Data,
			SetTS: clock.Millis(k.cfg.Clock),
		})
	})
	k.pushersChanged()
	return err
}

// DeletePusher removes a pusher; one that is not there is no error.
func (k *Keeper) DeletePusher(ctx context.Context, user id.UserID, appID, pushKey string) error {
	err := k.cfg.Store.Write(ctx, func(tx *store.Tx) error {
		return tx.DeletePusher(ctx, store.PusherKey{User: user, AppID: appID, PushKey: pushKey})
	})
	k.pushersChanged()
	return err
}

func (k *Keeper) pushersChanged() {
	k.mu.Lock()
	k.pushers = nil
	k.mu.Unlock()
	hint(k.ringNow)
}

// check says whether a pusher may be set.
func (k *Keeper) check(p Pusher) error {
	switch {
	case len(p.PushKey) > maxPushKey:
		return mxerr.InvalidParam("pushkey is too long")
	case len(p.AppID) > maxAppID:
		return mxerr.InvalidParam("app_id is too long")
	case max(len(p.AppDisplayName), len(p.DeviceDisplayName), len(p.ProfileTag), len(p.Lang)) > maxNames || len(p.Data) > maxData:
		return mxerr.TooLarge("The pusher is too large")
	case p.Kind != "http":
		return mxerr.InvalidParam("Pushers of this kind are not supported")
	}
	_, err := k.target(p.Data)
	return err
}

// pusherData is what data of an http pusher says. CS v1.16 #post_matrixclientv3pushersset
type pusherData struct {
	URL    string `json:"url"`
	Format string `json:"format"`
}

// target reads the gateway's address: https, and the one path a gateway answers on, so that a pusher can not be made to
// call anything else (A30).
func (k *Keeper) target(data json.RawMessage) (pusherData, error) {
	var d pusherData
	if data = bytes.TrimSpace(data); len(data) == 0 || data[0] != '{' || json.Unmarshal(data, &d) != nil {
		return d, mxerr.InvalidParam("data is not the object it must be")
	}
	if d.URL == "" {
		return d, mxerr.MissingParam("data.url is missing")
	}
	u, err := url.Parse(d.URL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return d, mxerr.InvalidParam("data.url is no URL")
	case u.Scheme != "https" && (u.Scheme != "http" || !k.cfg.AllowPrivate):
		return d, mxerr.InvalidParam("data.url must be an https URL")
	case strings.TrimSuffix(u.EscapedPath(), "/") != "/_matrix/push/v1/notify":
		return d, mxerr.InvalidParam("data.url must have the path /_matrix/push/v1/notify")
	}
	return d, nil
}

// pusherKeys gives everybody's pushers, for the counting. The map is never changed, only replaced.
func (k *Keeper) pusherKeys(ctx context.Context) (map[id.UserID][]store.PusherKey, error) {
	k.mu.Lock()
	known := k.pushers
	k.mu.Unlock()
	if known != nil {
		return known, nil
	}
	var rows []store.Pusher
	err := k.cfg.Store.ReadOne(ctx, func(tx *store.Tx) error {
		var err error
		rows, err = tx.AllPushers(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read pushers: %w", err)
	}
	known = make(map[id.UserID][]store.PusherKey, len(rows))
	for _, r := range rows {
		known[r.User] = append(known[r.User], r.PusherKey)
	}
	k.mu.Lock()
	k.pushers = known
	k.mu.Unlock()
	return known, nil
}

// ring queues a notification for each of a user's pushers. It needs mu.
func (k *Keeper) ring(keys []store.PusherKey, ev *room.Event, o *pushrule.Outcome) {
	if len(keys) == 0 {
		return
	}
	tweaks := tweaksOf(o)
	for _, key := range keys {
		k.waiting = append(k.waiting, store.Notification{
			PusherKey: key, Pos: ev.Pos, Event: ev.ID, Tweaks: tweaks,
			// A phone is woken for what makes a sound, and for what may turn out to once it is decrypted.
			High: len(tweaks) > 2 || ev.Type == event.TypeEncrypted,
		})
	}
}

// badge queues the news that a user has read something. It needs mu.
func (k *Keeper) badge(user id.UserID, pos int64) {
	for _, key := range k.pushers[user] {
		k.waiting = append(k.waiting, store.Notification{PusherKey: key, Pos: pos, Tweaks: []byte("{}")})
		hint(k.flushSoon)
	}
}

// tweaksOf collects the tweaks of a rule's actions.
func tweaksOf(o *pushrule.Outcome) []byte {
	tweaks := map[string]json.RawMessage{}
	for _, raw := range o.Actions {
		var t struct {
			Name  string          `json:"set_tweak"`
			Value json.RawMessage `json:"value"`
		}
		if json.Unmarshal(raw, &t) != nil || t.Name == "" {
			continue
		}
		if t.Value == nil {
			t.Value = json.RawMessage("true") // highlight without a value
		}
		tweaks[t.Name] = t.Value
	}
	raw, err := json.Marshal(tweaks)
	if err != nil {
		return []byte("{}") // a value that is no JSON can not have been stored
	}
	return raw
}
