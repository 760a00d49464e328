package e2ee

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"konsil/homeserver/notify"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Messages are to-device messages of one type: user → device → content. The device "*" is all of a user's.
type Messages map[id.UserID]map[id.DeviceID]json.RawMessage

// AllDevices stands for all devices of a user in Messages. CS v1.16 #put_matrixclientv3sendtodeviceeventtypetxnid
const AllDevices id.DeviceID = "*"

// Limits of to-device messages. A key share to a large room goes out in requests of some hundred devices.
const (
	maxMessage     = 64 << 10 // bytes of one content
	maxRecipients  = 5_000    // of one request of ours
	maxEDUMessages = 1_000    // of one EDU received (A23)
	maxEDU         = 60 << 10 // bytes of one EDU sent, unless a single message is larger
)

// SendToDevice queues messages for devices, ours and other servers', and returns when they are safe. The same transaction of
// the same device does nothing a second time. CS v1.16 #send-to-device-messaging
func (k *Keeper) SendToDevice(ctx context.Context, sender id.UserID, device id.DeviceID, txnID, typ string, messages Messages) error {
	if len(typ) > id.MaxLength || !storable(typ) {
		return mxerr.InvalidParam("The event type is too long or no text")
	}
	if err := checkMessages(messages); err != nil {
		return err
	}
	ours, out, err := k.split(sender, typ, messages)
	if err != nil {
		return err
	}
	source := string(store.OwnerOf(sender, device))
	return k.deliver(ctx, source, txnID, sender, typ, ours, out)
}

func checkMessages(messages Messages) error {
	n := 0
	for _, byDevice := range messages {
		n += len(byDevice)
		for _, content := range byDevice {
			if len(content) > maxMessage {
				return mxerr.TooLarge("A message is larger than %d bytes", maxMessage)
			}
			if !canonical.IsObject(content) {
				return mxerr.BadJSON("The content of a message is no JSON object")
			}
			if !utf8.Valid(content) {
				return mxerr.NotJSON("A message is no UTF-8")
			}
		}
	}
	if n > maxRecipients {
		return mxerr.TooLarge("More than %d messages in one request", maxRecipients)
	}
	return nil
}

// split tells messages for our devices from those for other servers, which become EDUs.
func (k *Keeper) split(sender id.UserID, typ string, messages Messages) (Messages, []store.ToDeviceOut, error) {
	ours := Messages{}
	byServer := map[id.ServerName]Messages{}
	for user, byDevice := range messages {
		if k.local(user) {
			ours[user] = byDevice
			continue
		}
		server := user.Server()
		if byServer[server] == nil {
			byServer[server] = Messages{}
		}
		byServer[server][user] = byDevice
	}
	var out []store.ToDeviceOut
	for server, theirs := range byServer {
		contents, err := k.pack(sender, typ, theirs)
		if err != nil {
			return nil, nil, err
		}
		for _, content := range contents {
			out = append(out, store.ToDeviceOut{Destination: server, Content: content})
		}
	}
	return ours, out, nil
}

// pack writes the contents of as many m.direct_to_device EDUs as the messages for one server take.
// SS v1.16 #send-to-device-messaging
func (k *Keeper) pack(sender id.UserID, typ string, messages Messages) ([][]byte, error) {
	var contents [][]byte
	var b []byte
	begin := func() error {
		messageID, err := k.messageID()
		if err != nil {
			return err
		}
		b = canonical.AppendString([]byte(`{"sender":`), sender)
		b = canonical.AppendString(append(b, `,"type":`...), typ)
		b = canonical.AppendString(append(b, `,"message_id":`...), messageID)
		b = append(b, `,"messages":{`...)
		return nil
	}
	for _, user := range slices.Sorted(maps.Keys(messages)) {
		inUser := false
		for _, device := range slices.Sorted(maps.Keys(messages[user])) {
			content := messages[user][device]
			if b != nil && len(b)+len(content) > maxEDU {
				if inUser {
					b = append(b, '}')
				}
				contents = append(contents, append(b, `}}`...))
				b, inUser = nil, false
			}
			if b == nil {
				if err := begin(); err != nil {
					return nil, err
				}
			}
			if !inUser {
				if b[len(b)-1] != '{' {
					b = append(b, ',')
				}
				b = append(canonical.AppendString(b, user), `:{`...)
				inUser = true
			} else {
				b = append(b, ',')
			}
			b = append(append(canonical.AppendString(b, device), ':'), content...)
		}
		if inUser {
			b = append(b, '}')
		}
	}
	if b != nil {
		contents = append(contents, append(b, `}}`...))
	}
	return contents, nil
}

// deliver stores messages: those for our devices where these wait for them, the others for federation. source and txnID
// together happen once.
func (k *Keeper) deliver(ctx context.Context, source, txnID string, sender id.UserID, typ string, ours Messages, out []store.ToDeviceOut) error {
	users := slices.Collect(maps.Keys(ours))
	var pos int64
	err := k.Store.Write(ctx, func(tx *store.Tx) error {
		pos = 0
		isNew, err := tx.SeenToDevice(ctx, source, txnID, clock.Millis(k.Clock))
		if err != nil || !isNew {
			return err
		}
		if len(users) > 0 {
			owners, err := tx.LocalOwners(ctx, users)
			if err != nil {
				return err
			}
			if events := address(owners, sender, typ, ours); len(events) > 0 {
				if pos, err = tx.AddToDevice(ctx, events); err != nil {
					return err
				}
			}
		}
		if len(out) > 0 {
			pos, err = tx.AddToDeviceOut(ctx, out)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("queue to-device messages: %w", err)
	}
	if pos > 0 {
		kind := notify.ToDevice
		if len(out) > 0 {
			kind |= notify.Outgoing
		}
		k.Notify.Wake(notify.Change{Pos: pos, Users: users, Kind: kind})
	}
	return nil
}

// address writes the events for those devices that exist; a message to a device that is gone would wait forever.
func address(owners []store.Owner, sender id.UserID, typ string, messages Messages) map[store.Owner][]byte {
	exists := make(map[store.Owner]bool, len(owners))
	byUser := map[id.UserID][]store.Owner{}
	for _, owner := range owners {
		exists[owner] = true
		user := owner.User()
		byUser[user] = append(byUser[user], owner)
	}
	tail := canonical.AppendString([]byte(`,"sender":`), sender)
	tail = append(canonical.AppendString(append(tail, `,"type":`...), typ), '}')
	write := func(content []byte) []byte {
		b := make([]byte, 0, len(content)+len(tail)+11)
		return append(append(append(b, `{"content":`...), content...), tail...)
	}
	events := make(map[store.Owner][]byte, len(owners))
	for user, byDevice := range messages {
		if content, ok := byDevice[AllDevices]; ok {
			event := write(content)
			for _, owner := range byUser[user] {
				events[owner] = event
			}
		}
		for device, content := range byDevice {
			if owner := store.OwnerOf(user, device); device != AllDevices && exists[owner] {
				events[owner] = write(content)
			}
		}
	}
	return events
}

// ReceiveToDevice takes an m.direct_to_device EDU. One that names a sender of another server is dropped, one that came before
// does nothing again (A23). SS v1.16 #send-to-device-messaging
func (k *Keeper) ReceiveToDevice(ctx context.Context, origin id.ServerName, content []byte) error {
	k.origins.Heard(origin)
	obj, err := canonicalObject(content)
	if err != nil {
		return nil
	}
	who, _ := canonical.GetString(obj, "sender")
	typ, hasType := canonical.GetString(obj, "type")
	messageID, hasID := canonical.GetString(obj, "message_id")
	all, _ := canonical.Get(obj, "messages")
	sender, err := id.ParseUserID(who)
	if err != nil || sender.Server() != origin || !hasType || !storable(typ) || !hasID || messageID == "" || len(messageID) > id.MaxLength {
		return nil
	}
	ours, n := Messages{}, 0
	_ = canonical.Object(all, func(name string, byDevice []byte) error {
		user, err := id.ParseUserID(name)
		if err != nil || !k.local(user) {
			return nil
		}
		return canonical.Object(byDevice, func(device string, content []byte) error {
			if n++; n > maxEDUMessages {
				return canonical.ErrValue
			}
			if len(content) <= maxMessage && canonical.IsObject(content) {
				if ours[user] == nil {
					ours[user] = map[id.DeviceID]json.RawMessage{}
				}
				ours[user][id.DeviceID(device)] = content
			}
			return nil
		})
	})
	if len(ours) == 0 {
		return nil
	}
	return k.deliver(ctx, string(origin), messageID, sender, typ, ours, nil)
}

// ToDevice reads the messages that wait for a device, for /sync: at most limit, after the client's token and up to the
// position of the answer. Those up to the token have arrived, and Acknowledge drops them.
func (k *Keeper) ToDevice(ctx context.Context, user id.UserID, device id.DeviceID, after, upTo int64, limit int) ([]store.ToDevice, error) {
	var all []store.ToDevice
	err := k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.ToDevice(ctx, store.OwnerOf(user, device), after, upTo, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read to-device messages: %w", err)
	}
	return all, nil
}

// Acknowledge drops the messages a device has got: it came back with a sync token of this position.
func (k *Keeper) Acknowledge(ctx context.Context, user id.UserID, device id.DeviceID, upTo int64) error {
	owner := store.OwnerOf(user, device)
	var waiting []store.ToDevice
	err := k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		waiting, err = tx.ToDevice(ctx, owner, 0, upTo, 1)
		return err
	})
	if err == nil && len(waiting) > 0 {
		err = k.Store.Write(ctx, func(tx *store.Tx) error { return tx.DropToDevice(ctx, owner, upTo) })
	}
	if err != nil {
		return fmt.Errorf("drop to-device messages: %w", err)
	}
	return nil
}
