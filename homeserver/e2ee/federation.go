package e2ee

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"

	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// QueryFor answers another server's /user/keys/query, as JSON: our users' keys and nothing else.
// SS v1.16 #post_matrixfederationv1userkeysquery
func (k *Keeper) QueryFor(ctx context.Context, wanted Wanted) ([]byte, error) {
	if len(wanted) > maxQueried {
		return nil, mxerr.TooLarge("More than %d users in one query", maxQueried)
	}
	a := answer{wanted: Wanted{}, hideNames: k.HideDeviceNames}
	var users []id.UserID
	for user, devices := range wanted {
		if k.local(user) {
			a.wanted[user] = devices
			users = append(users, user)
		}
	}
	slices.Sort(users)
	err := k.Store.Read(ctx, func(tx *store.Tx) (err error) {
		if a.devices, err = tx.DeviceKeys(ctx, users); err == nil {
			a.keys, err = tx.CrossSigningKeys(ctx, users)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read keys for another server: %w", err)
	}
	return a.json(), nil
}

// ClaimFor answers another server's /user/keys/claim, as JSON. SS v1.16 #post_matrixfederationv1userkeysclaim
func (k *Keeper) ClaimFor(ctx context.Context, wanted ClaimWanted) ([]byte, error) {
	ours := ClaimWanted{}
	n := 0
	for user, devices := range wanted {
		if k.local(user) {
			ours[user] = devices
			n += len(devices)
		}
	}
	if n > maxClaimed {
		return nil, mxerr.TooLarge("More than %d devices in one claim", maxClaimed)
	}
	got, err := k.claimLocal(ctx, ours)
	if err != nil {
		return nil, err
	}
	return claimJSON(got, nil), nil
}

// DevicesFor answers another server's /user/devices, as JSON. SS v1.16 #get_matrixfederationv1userdevicesuserid
func (k *Keeper) DevicesFor(ctx context.Context, user id.UserID) ([]byte, error) {
	if !k.local(user) {
		return nil, mxerr.NotFound("Not a user of this server")
	}
	var streamID int64
	var devices []store.DeviceKeys
	var keys []store.CrossSigningKey
	err := k.Store.Read(ctx, func(tx *store.Tx) (err error) {
		if streamID, err = tx.DeviceStreamID(ctx, user); err != nil {
			return err
		}
		if devices, err = tx.LocalDevices(ctx, user); err != nil {
			return err
		}
		keys, err = tx.CrossSigningKeys(ctx, []id.UserID{user})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read devices for another server: %w", err)
	}
	b := canonical.AppendString([]byte(`{"user_id":`), user)
	b = strconv.AppendInt(append(b, `,"stream_id":`...), streamID, 10)
	b = append(b, `,"devices":[`...)
	first := true
	for _, d := range devices {
		if d.Keys == nil {
			continue // "keys" is required here, and who has none can not be written to
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = canonical.AppendString(append(b, `{"device_id":`...), d.Device)
		if d.DisplayName != "" && !k.HideDeviceNames {
			b = canonical.AppendString(append(b, `,"device_display_name":`...), d.DisplayName)
		}
		b = append(append(append(b, `,"keys":`...), d.Keys...), '}')
	}
	b = append(b, ']')
	for _, key := range keys {
		switch key.Usage {
		case store.UsageMaster, store.UsageSelfSigning:
			b = append(append(append(append(b, `,"`...), key.Usage...), `_key":`...), key.JSON...)
		}
	}
	return append(b, '}'), nil
}

// ReceiveDeviceList takes an m.device_list_update. A gap in the sequence makes the list stale: it is fetched once, when
// somebody asks for it, however many updates come (A25). Updates of users who share no room with us are dropped (A24).
// SS v1.16 #device-management
func (k *Keeper) ReceiveDeviceList(ctx context.Context, origin id.ServerName, content []byte) error {
	k.origins.Heard(origin)
	u, ok := parseDeviceListUpdate(content, origin)
	if !ok || k.local(u.user) {
		return nil
	}
	var pos int64
	err := k.Store.Write(ctx, func(tx *store.Tx) error {
		pos = 0
		sharing, err := tx.SharingUsers(ctx, []id.UserID{u.user})
		if err != nil || len(sharing) == 0 {
			return err
		}
		lists, err := tx.RemoteLists(ctx, []id.UserID{u.user})
		if err != nil {
			return err
		}
		list, known := lists[u.user]
		if !known && u.first {
			// Nobody has fetched the list since the user came to share a room with us, and whoever may fetch it was told so
			// by that. What introduces the user's devices now is no news.
			return nil
		}
		if known && !list.Stale {
			if u.streamID == list.StreamID {
				return nil // told again
			}
			if err := u.apply(ctx, tx, list); err != nil {
				return err
			}
		}
		pos, err = tx.RemoteDeviceListChanged(ctx, u.user)
		return err
	})
	if err != nil {
		return fmt.Errorf("store a device list update: %w", err)
	}
	if pos == 0 {
		return nil
	}
	return k.wakeDevices(ctx, u.user, pos)
}

// listUpdate is a parsed m.device_list_update.
type listUpdate struct {
	user     id.UserID
	device   id.DeviceID
	streamID int64
	prev     []int64
	first    bool // says that nothing came before
	deleted  bool
	keys     []byte // nil: the device has none
	name     string
	broken   bool // the keys are not as they should be: the list has to be fetched
}

func parseDeviceListUpdate(content []byte, origin id.ServerName) (listUpdate, bool) {
	var u listUpdate
	obj, err := canonicalObject(content)
	if err != nil {
		return u, false
	}
	who, _ := canonical.GetString(obj, "user_id")
	which, _ := canonical.GetString(obj, "device_id")
	streamID, ok := canonical.GetInt(obj, "stream_id")
	if u.user, err = id.ParseUserID(who); err != nil || u.user.Server() != origin || !ok {
		return u, false
	}
	if u.device, err = id.ParseDeviceID(which); err != nil || u.device == "" {
		return u, false
	}
	u.streamID = streamID
	u.deleted, _ = canonical.GetBool(obj, "deleted")
	u.name = displayName(obj, "device_display_name")
	if prev, ok := canonical.Get(obj, "prev_id"); ok {
		_ = canonical.Array(prev, func(value []byte) error {
			if n, ok := canonical.Int(value); ok && len(u.prev) < 100 {
				u.prev = append(u.prev, n)
			}
			return nil
		})
		u.first = bytes.Equal(prev, []byte("[]"))
	}
	if keys, ok := canonical.Get(obj, "keys"); ok && !bytes.Equal(keys, []byte("null")) {
		u.keys, err = parseDeviceKeys(keys, u.user, u.device)
		u.broken = err != nil
	}
	return u, true
}

// apply changes the stored list, if this update follows it; else the list is stale from now on.
func (u *listUpdate) apply(ctx context.Context, tx *store.Tx, list store.RemoteList) error {
	follows := list.StreamID >= 0 && u.streamID > list.StreamID && len(u.prev) > 0 && !u.broken
	for _, prev := range u.prev {
		follows = follows && prev <= list.StreamID
	}
	n, err := tx.CountDevices(ctx, u.user)
	if err != nil {
		return err
	}
	if !follows || n >= maxDevices {
		return tx.StaleRemoteList(ctx, u.user)
	}
	if u.deleted {
		err = tx.DropRemoteDevices(ctx, u.user, []id.DeviceID{u.device})
	} else {
		err = tx.SetDeviceKey(ctx, u.user, u.device, u.keys, u.name)
	}
	if err != nil {
		return err
	}
	return tx.AdvanceRemoteList(ctx, u.user, u.streamID)
}

// ReceiveSigningKeys takes an m.signing_key_update. SS v1.16 #end-to-end-encryption
func (k *Keeper) ReceiveSigningKeys(ctx context.Context, origin id.ServerName, content []byte) error {
	k.origins.Heard(origin)
	obj, err := canonicalObject(content)
	if err != nil {
		return nil
	}
	who, _ := canonical.GetString(obj, "user_id")
	user, err := id.ParseUserID(who)
	if err != nil || user.Server() != origin || k.local(user) {
		return nil
	}
	var list remoteList
	list.addKey(obj, "master_key", user, store.UsageMaster)
	list.addKey(obj, "self_signing_key", user, store.UsageSelfSigning)
	var pos int64
	err = k.Store.Write(ctx, func(tx *store.Tx) error {
		pos = 0
		sharing, err := tx.SharingUsers(ctx, []id.UserID{user})
		if err != nil || len(sharing) == 0 {
			return err
		}
		stored, err := tx.CrossSigningKeys(ctx, []id.UserID{user})
		if err != nil {
			return err
		}
		changed := false
		for _, key := range list.keys {
			if slices.ContainsFunc(stored, func(s store.CrossSigningKey) bool { return s.Usage == key.Usage && bytes.Equal(s.JSON, key.JSON) }) {
				continue
			}
			if err := tx.SetCrossSigningKey(ctx, key); err != nil {
				return err
			}
			changed = true
		}
		if changed {
			pos, err = tx.RemoteDeviceListChanged(ctx, user)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("store a signing key update: %w", err)
	}
	if pos == 0 {
		return nil
	}
	return k.wakeDevices(ctx, user, pos)
}
