package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// PusherKey names a pusher.
type PusherKey struct {
	User    id.UserID
	AppID   string
	PushKey string
}

// Pusher says where to ring for a user.
type Pusher struct {
	PusherKey
	Device            id.DeviceID // that set it
	Kind              string
	AppDisplayName    string
	DeviceDisplayName string
	ProfileTag        string
	Lang              string
	Data              []byte // JSON object
	SetTS             int64  // ms
	Failures          int64  // in a row
	RetryAt           int64  // ms, 0 at once
}

// A pusher whose device is gone (logged out, deleted, its password changed elsewhere) is void.
const pusherQuery = `
	SELECT p.user_id, p.app_id, p.pushkey, p.device_id, p.kind, p.app_display_name, p.device_display_name, p.profile_tag,
		p.lang, p.data, p.set_ts, p.failures, p.retry_at
	FROM pusher p WHERE p.domain_id = $0 AND (p.device_id = '' OR EXISTS (
		SELECT 1 FROM device d WHERE d.domain_id = $0 AND d.user_id = p.user_id AND d.device_id = p.device_id)) `

// Pushers lists a user's pushers.
func (tx *Tx) Pushers(ctx context.Context, user id.UserID) ([]Pusher, error) {
	return tx.pushers(ctx, pusherQuery+`AND p.user_id = $1 ORDER BY p.app_id, p.pushkey`, user)
}

// AllPushers lists everybody's.
func (tx *Tx) AllPushers(ctx context.Context) ([]Pusher, error) {
	return tx.pushers(ctx, pusherQuery+`ORDER BY p.user_id, p.app_id, p.pushkey`)
}

func (tx *Tx) pushers(ctx context.Context, q string, args ...any) ([]Pusher, error) {
	var all []Pusher
	err := db.Each(ctx, tx, q, args, func(row *db.Row) error {
		var p Pusher
		err := row.Scan(&p.User, &p.AppID, &p.PushKey, &p.Device, &p.Kind, &p.AppDisplayName, &p.DeviceDisplayName, &p.ProfileTag,
			&p.Lang, &p.Data, &p.SetTS, &p.Failures, &p.RetryAt)
		if err != nil {
			return err
		}
		all = append(all, p)
		return nil
	})
	return all, err
}

// SetPusher adds a pusher or replaces it.
func (tx *Tx) SetPusher(ctx context.Context, p Pusher) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO pusher (domain_id, user_id, app_id, pushkey, device_id, kind, app_display_name, device_display_name,
			profile_tag, lang, data, set_ts, failures, retry_at)
		VALUES ($0, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0)
		ON CONFLICT (domain_id, user_id, app_id, pushkey) DO UPDATE SET device_id = excluded.device_id, kind = excluded.kind,
			app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name,
			profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data, set_ts = excluded.set_ts,
			failures = 0, retry_at = 0`,
		p.User, p.AppID, p.PushKey, p.Device, p.Kind, p.AppDisplayName, p.DeviceDisplayName, p.ProfileTag, p.Lang, p.Data, p.SetTS)
	return err
}

// DeletePusher removes a pusher and what waits for it.
func (tx *Tx) DeletePusher(ctx context.Context, key PusherKey) error {
	if _, err := tx.Exec(ctx, `
		DELETE FROM pusher WHERE domain_id = $0 AND user_id = $1 AND app_id = $2 AND pushkey = $3`,
		key.User, key.AppID, key.PushKey); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		DELETE FROM push_outbox WHERE domain_id = $0 AND user_id = $1 AND app_id = $2 AND pushkey = $3`,
		key.User, key.AppID, key.PushKey)
	return err
}

// DeleteForeignPushers removes the pushers that other users have for an app and key: the phone changed hands.
func (tx *Tx) DeleteForeignPushers(ctx context.Context, key PusherKey) error {
	if _, err := tx.Exec(ctx, `
		DELETE FROM push_outbox
		WHERE domain_id = $0 AND user_id <> $1 AND app_id = $2 AND pushkey = $3 AND user_id IN (
			SELECT user_id FROM pusher WHERE domain_id = $0 AND app_id = $2 AND pushkey = $3)`,
		key.User, key.AppID, key.PushKey); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		DELETE FROM pusher WHERE domain_id = $0 AND user_id <> $1 AND app_id = $2 AND pushkey = $3`,
		key.User, key.AppID, key.PushKey)
	return err
}

// PusherFailed notes when to try a pusher again; failures 0 says that it works.
func (tx *Tx) PusherFailed(ctx context.Context, key PusherKey, failures, retryAt int64) error {
	_, err := tx.Exec(ctx, `
		UPDATE pusher SET failures = $4, retry_at = $5
		WHERE domain_id = $0 AND user_id = $1 AND app_id = $2 AND pushkey = $3`,
		key.User, key.AppID, key.PushKey, failures, retryAt)
	return err
}

// Notification is one ring that waits for its pusher's gateway.
type Notification struct {
	PusherKey
	Pos    int64
	Event  id.EventID // "" when just the counts are told
	Tweaks []byte     // JSON object
	High   bool       // priority
}

// AddNotification queues one.
func (tx *Tx) AddNotification(ctx context.Context, n Notification) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO push_outbox (domain_id, user_id, app_id, pushkey, pos, event_id, tweaks, high)
		VALUES ($0, $1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (domain_id, user_id, app_id, pushkey, pos) DO NOTHING`,
		n.User, n.AppID, n.PushKey, n.Pos, n.Event, n.Tweaks, bit(n.High))
	return err
}

// Notifications lists what waits for a pusher, oldest first.
func (tx *Tx) Notifications(ctx context.Context, key PusherKey, limit int) ([]Notification, error) {
	var all []Notification
	err := db.Each(ctx, tx, `
		SELECT pos, event_id, tweaks, high FROM push_outbox
		WHERE domain_id = $0 AND user_id = $1 AND app_id = $2 AND pushkey = $3 ORDER BY pos LIMIT $4`,
		[]any{key.User, key.AppID, key.PushKey, limit}, func(row *db.Row) error {
			n := Notification{PusherKey: key}
			var high int64
			if err := row.Scan(&n.Pos, &n.Event, &n.Tweaks, &high); err != nil {
				return err
			}
			n.High = high == 1
			all = append(all, n)
			return nil
		})
	return all, err
}

// WaitingPushers lists the pushers that something waits for.
func (tx *Tx) WaitingPushers(ctx context.Context) ([]PusherKey, error) {
	var all []PusherKey
	err := db.Each(ctx, tx, `
		SELECT DISTINCT user_id, app_id, pushkey FROM push_outbox WHERE domain_id = $0`, nil, func(row *db.Row) error {
		var k PusherKey
		if err := row.Scan(&k.User, &k.AppID, &k.PushKey); err != nil {
			return err
		}
		all = append(all, k)
		return nil
	})
	return all, err
}

// DropNotifications forgets what was told to a pusher, up to a position.
func (tx *Tx) DropNotifications(ctx context.Context, key PusherKey, upTo int64) error {
	_, err := tx.Exec(ctx, `
		DELETE FROM push_outbox
		WHERE domain_id = $0 AND user_id = $1 AND app_id = $2 AND pushkey = $3 AND pos <= $4`,
		key.User, key.AppID, key.PushKey, upTo)
	return err
}
