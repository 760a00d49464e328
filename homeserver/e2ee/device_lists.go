package e2ee

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
)

// The EDUs of this package. SS v1.16 #device-management, #send-to-device-messaging
const (
	EDUDeviceList = "m.device_list_update"
	EDUSigningKey = "m.signing_key_update"
	EDUToDevice   = "m.direct_to_device"
)

// Changes is device_lists of /sync and the answer of /keys/changes.
type Changes struct {
	Changed []id.UserID `json:"changed"` // fetch their keys again
	Left    []id.UserID `json:"left"`    // forget them: no news of them will come
}

// Changes says whose device lists a user has to fetch again, and whose to forget, for what happened after one position, up to
// another. CS v1.16 #tracking-the-device-list-for-a-user
func (k *Keeper) Changes(ctx context.Context, user id.UserID, after, upTo int64) (Changes, error) {
	var c Changes
	err := k.Store.Read(ctx, func(tx *store.Tx) (err error) {
		c, err = ChangesIn(ctx, tx, user, after, upTo)
		return err
	})
	if err != nil {
		return Changes{}, fmt.Errorf("read changes of device lists: %w", err)
	}
	return c, nil
}

// ChangesIn is Keeper.Changes inside a snapshot of the caller's.
func ChangesIn(ctx context.Context, tx *store.Tx, user id.UserID, after, upTo int64) (Changes, error) {
	lists, err := tx.DeviceListChanges(ctx, user, after, upTo)
	if err != nil {
		return Changes{}, err
	}
	entered, err := tx.EnteredMembers(ctx, user, after, upTo)
	if err != nil {
		return Changes{}, err
	}
	gone, err := tx.LeftMembers(ctx, user, after, upTo)
	if err != nil {
		return Changes{}, err
	}
	moves, err := tx.MembershipMoves(ctx, user, after, upTo)
	if err != nil {
		return Changes{}, err
	}
	changed := setOf(append(lists, entered...))
	for _, m := range moves {
		was, is := membership(m.Before), membership(m.Event)
		switch {
		case is == "join" && was != "join":
			changed[m.User] = true
		case is != "join" && was == "join":
			gone = append(gone, m.User)
		}
	}
	still, err := stillShared(ctx, tx, user, gone)
	if err != nil {
		return Changes{}, err
	}
	c := Changes{Changed: []id.UserID{}, Left: []id.UserID{}}
	left := setOf(gone)
	for who := range left {
		if who == user || still[who] {
			continue
		}
		// Whoever came and went is gone in the end.
		delete(changed, who)
		c.Left = append(c.Left, who)
	}
	for who := range changed {
		c.Changed = append(c.Changed, who)
	}
	slices.Sort(c.Changed)
	slices.Sort(c.Left)
	return c, nil
}

func stillShared(ctx context.Context, tx *store.Tx, user id.UserID, gone []id.UserID) (map[id.UserID]bool, error) {
	if len(gone) == 0 {
		return nil, nil
	}
	users, err := tx.SharingWith(ctx, user, gone)
	return setOf(users), err
}

// membership reads the membership of a stored member event, "" for none.
func membership(json []byte) string {
	m, _ := canonical.GetString(json, "content", "membership")
	return m
}

// EDU is what other servers have to hear of.
type EDU struct {
	Pos         int64
	Type        string
	Content     []byte        // JSON object
	User        id.UserID     // set: for all servers that share a room with this user of ours
	Destination id.ServerName // set: for this server
}

// Outgoing gives what happened after one position, up to another, that other servers have to hear of, in order: at most limit
// device list changes and at most limit to-device messages. Federation takes it over into its queues and moves on; messages it
// has taken over are dropped by store.Tx.DropToDeviceOut. complete says that there was no more up to upTo.
func (k *Keeper) Outgoing(ctx context.Context, after, upTo int64, limit int) (edus []EDU, complete bool, err error) {
	err = k.Store.Read(ctx, func(tx *store.Tx) error {
		edus = nil
		updates, err := tx.DeviceUpdates(ctx, after, upTo, limit)
		if err != nil {
			return err
		}
		messages, err := tx.ToDeviceOut(ctx, after, upTo, limit)
		if err != nil {
			return err
		}
		complete = len(updates) < limit && len(messages) < limit
		for _, m := range messages {
			edus = append(edus, EDU{Pos: m.Pos, Type: EDUToDevice, Content: m.Content, Destination: m.Destination})
		}
		for _, u := range updates {
			edu, err := k.updateEDU(ctx, tx, u)
			if err != nil {
				return err
			}
			edus = append(edus, edu)
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("read outgoing keys and messages: %w", err)
	}
	slices.SortStableFunc(edus, func(a, b EDU) int { return cmp.Compare(a.Pos, b.Pos) })
	return edus, complete, nil
}

// DevicesOf gives all devices and the cross-signing keys of a user of ours as EDUs, for servers that begin to share a room with
// them. SS v1.16 #device-management
func (k *Keeper) DevicesOf(ctx context.Context, user id.UserID) ([]EDU, error) {
	var edus []EDU
	err := k.Store.Read(ctx, func(tx *store.Tx) error {
		edus = nil
		streamID, err := tx.DeviceStreamID(ctx, user)
		if err != nil {
			return err
		}
		devices, err := tx.LocalDevices(ctx, user)
		if err != nil {
			return err
		}
		for _, d := range devices {
			edus = append(edus, EDU{Pos: streamID, Type: EDUDeviceList, User: user,
				Content: k.deviceListUpdate(d, store.DeviceUpdate{Pos: streamID, User: user, Device: d.Device}, false)})
		}
		keys, err := tx.CrossSigningKeys(ctx, []id.UserID{user})
		if err == nil && len(keys) > 0 {
			edus = append(edus, EDU{Pos: streamID, Type: EDUSigningKey, User: user, Content: signingKeyUpdate(user, keys)})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read devices for other servers: %w", err)
	}
	return edus, nil
}

// updateEDU writes what a change is about as it is now: a later change of the same device will only say it again.
func (k *Keeper) updateEDU(ctx context.Context, tx *store.Tx, u store.DeviceUpdate) (EDU, error) {
	edu := EDU{Pos: u.Pos, User: u.User, Type: EDUDeviceList}
	if u.Device == "" {
		keys, err := tx.CrossSigningKeys(ctx, []id.UserID{u.User})
		edu.Type, edu.Content = EDUSigningKey, signingKeyUpdate(u.User, keys)
		return edu, err
	}
	device, err := tx.LocalDevice(ctx, u.User, u.Device)
	deleted := errors.Is(err, store.ErrNotFound)
	if err != nil && !deleted {
		return edu, err
	}
	edu.Content = k.deviceListUpdate(device, u, deleted)
	return edu, nil
}

// deviceListUpdate writes the content of an m.device_list_update.
func (k *Keeper) deviceListUpdate(d store.DeviceKeys, u store.DeviceUpdate, deleted bool) []byte {
	b := canonical.AppendString([]byte(`{"user_id":`), u.User)
	b = canonical.AppendString(append(b, `,"device_id":`...), u.Device)
	b = strconv.AppendInt(append(b, `,"stream_id":`...), u.Pos, 10)
	b = append(b, `,"prev_id":[`...)
	if u.Prev > 0 {
		b = strconv.AppendInt(b, u.Prev, 10)
	}
	b = append(b, ']')
	if deleted {
		return append(b, `,"deleted":true}`...)
	}
	if d.DisplayName != "" && !k.HideDeviceNames {
		b = canonical.AppendString(append(b, `,"device_display_name":`...), d.DisplayName)
	}
	if d.Keys != nil {
		b = append(append(b, `,"keys":`...), d.Keys...)
	}
	return append(b, '}')
}

// signingKeyUpdate writes the content of an m.signing_key_update. The user-signing key is nobody else's business.
func signingKeyUpdate(user id.UserID, keys []store.CrossSigningKey) []byte {
	b := canonical.AppendString([]byte(`{"user_id":`), user)
	for _, key := range keys {
		switch key.Usage {
		case store.UsageMaster, store.UsageSelfSigning:
			b = append(append(append(append(b, `,"`...), key.Usage...), `_key":`...), key.JSON...)
		}
	}
	return append(b, '}')
}
