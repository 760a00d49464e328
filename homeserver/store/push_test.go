package store_test

import (
	"context"
	"errors"
	"testing"

	"konsil/homeserver/store"
	"konsil/matrix/id"
)

func TestPushRulesAreKeptWithTheirPosition(t *testing.T) {
	eachStore(t, func(t *testing.T, d *store.DB) {
		var first, second int64
		write(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
			first, err = tx.SetPushRules(ctx, alice, []byte(`{"own":1}`))
			return err
		})
		write(t, d, func(ctx context.Context, tx *store.Tx) (err error) {
			second, err = tx.SetPushRules(ctx, alice, []byte(`{}`))
			return err
		})
		read(t, d, func(ctx context.Context, tx *store.Tx) error {
			rules, pos, err := tx.PushRules(ctx, alice)
			check(t, string(rules), `{}`)
			check(t, pos, second)
			if rules, pos, err := tx.PushRules(ctx, bob); rules != nil || pos != 0 || err != nil {
				t.Errorf("rules of who has none: %s %d %v", rules, pos, err)
			}
			changed, err2 := tx.PushRulesChanged(ctx, first, second)
			check(t, len(changed), 1)
			none, err3 := tx.PushRulesChanged(ctx, second, second+1)
			check(t, len(none), 0)
			of, err4 := tx.PushRulesOf(ctx, []id.UserID{alice, bob})
			check(t, len(of), 1)
			return errors.Join(err, err2, err3, err4)
		})
	})
}

func TestUnreadCountsAreKeptWithTheirCursor(t *testing.T) {
	eachStore(t, func(t *testing.T, d *store.DB) {
		write(t, d, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.SetUnread(ctx, "!a", []byte{1}), tx.SetUnread(ctx, "!b", []byte{2}), tx.SetUnreadCursor(ctx, 7))
		})
		write(t, d, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.SetUnread(ctx, "!a", []byte{3}), tx.SetUnreadCursor(ctx, 9))
		})
		read(t, d, func(ctx context.Context, tx *store.Tx) error {
			counts, err := tx.Unread(ctx, []id.RoomID{"!a", "!b", "!c"})
			check(t, counts, map[id.RoomID][]byte{"!a": {3}, "!b": {2}})
			cursor, err2 := tx.UnreadCursor(ctx)
			check(t, cursor, int64(9))
			return errors.Join(err, err2)
		})
	})
}

func TestPushersAndTheirOutbox(t *testing.T) {
	eachStore(t, func(t *testing.T, d *store.DB) {
		mine := store.PusherKey{User: alice, AppID: "app", PushKey: "key"}
		others := store.PusherKey{User: bob, AppID: "app", PushKey: "key"}
		set := func(key store.PusherKey, device id.DeviceID) store.Pusher {
			return store.Pusher{PusherKey: key, Device: device, Kind: "http", Data: []byte(`{}`)}
		}
		write(t, d, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.SetPusher(ctx, set(mine, "")), tx.SetPusher(ctx, set(others, "")),
				tx.AddNotification(ctx, store.Notification{PusherKey: mine, Pos: 2, Event: "$b", Tweaks: []byte(`{}`), High: true}),
				tx.AddNotification(ctx, store.Notification{PusherKey: mine, Pos: 1, Event: "$a", Tweaks: []byte(`{}`)}),
				tx.AddNotification(ctx, store.Notification{PusherKey: mine, Pos: 1, Event: "$again", Tweaks: []byte(`{}`)}),
				tx.AddNotification(ctx, store.Notification{PusherKey: others, Pos: 1, Tweaks: []byte(`{}`)}),
				tx.PusherFailed(ctx, mine, 3, 99))
		})
		read(t, d, func(ctx context.Context, tx *store.Tx) error {
			all, err := tx.AllPushers(ctx)
			check(t, len(all), 2)
			of, err2 := tx.Pushers(ctx, alice)
			check(t, []int64{of[0].Failures, of[0].RetryAt}, []int64{3, 99})
			waiting, err3 := tx.Notifications(ctx, mine, 10)
			check(t, waiting, []store.Notification{
				{PusherKey: mine, Pos: 1, Event: "$a", Tweaks: []byte(`{}`)},
				{PusherKey: mine, Pos: 2, Event: "$b", Tweaks: []byte(`{}`), High: true},
			})
			keys, err4 := tx.WaitingPushers(ctx)
			check(t, len(keys), 2)
			return errors.Join(err, err2, err3, err4)
		})
		// The key moves to another user, and what was waiting for the old one is gone.
		write(t, d, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.DeleteForeignPushers(ctx, others), tx.DropNotifications(ctx, others, 1))
		})
		// A pusher of a device that is not there is void.
		write(t, d, func(ctx context.Context, tx *store.Tx) error {
			return tx.SetPusher(ctx, set(others, "GONE"))
		})
		read(t, d, func(ctx context.Context, tx *store.Tx) error {
			all, err := tx.AllPushers(ctx)
			check(t, len(all), 0)
			keys, err2 := tx.WaitingPushers(ctx)
			check(t, len(keys), 0)
			return errors.Join(err, err2)
		})
	})
}

func TestChangesAfter(t *testing.T) {
	eachStore(t, func(t *testing.T, d *store.DB) {
		var pos [6]int64
		write(t, d, func(ctx context.Context, tx *store.Tx) error {
			var errs [6]error
			pos[0], errs[0] = tx.SetReceipt(ctx, store.Receipt{Room: "!r", User: alice, Kind: "m.read", Event: "$e"}, true)
			errs[1] = tx.PutAccountData(ctx, alice, "", "t", []byte(`{}`))
			pos[2], errs[2] = tx.AddToDevice(ctx, map[store.Owner][]byte{store.OwnerOf(alice, "DEV"): []byte(`{}`)})
			pos[3], errs[3] = tx.DeviceListChanged(ctx, bob)
			pos[4], errs[4] = tx.SetPresence(ctx, store.Presence{User: bob, State: "online"})
			pos[5], errs[5] = tx.SetPushRules(ctx, bob, []byte(`{}`))
			return errors.Join(errs[:]...)
		})
		read(t, d, func(ctx context.Context, tx *store.Tx) error {
			got := map[store.ChangeKind][]string{}
			changes, err := tx.ChangesAfter(ctx, 0, d.Position(), 100)
			for _, c := range changes {
				got[c.Kind] = append(got[c.Kind], c.Key)
			}
			if len(got[store.UserDataChanged]) == 2 && got[store.UserDataChanged][0] != string(alice) {
				got[store.UserDataChanged] = []string{got[store.UserDataChanged][1], got[store.UserDataChanged][0]}
			}
			check(t, got, map[store.ChangeKind][]string{
				store.ReceiptChanged: {"!r"}, store.UserDataChanged: {string(alice), string(bob)},
				store.ToDeviceAdded: {string(store.OwnerOf(alice, "DEV"))}, store.DeviceListUpdated: {string(bob)},
				store.PresenceChanged: {string(bob)},
			})
			later, err2 := tx.ChangesAfter(ctx, pos[4], d.Position(), 100)
			check(t, later, []store.Changed{{Kind: store.UserDataChanged, Key: string(bob), Pos: pos[5]}})
			return errors.Join(err, err2)
		})
	})
}
