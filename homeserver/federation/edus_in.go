package federation

import (
	"context"

	"konsil/homeserver/e2ee"
	"konsil/kit/obs"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
)

// splitEDUs parts those that events depend on from those that depend on events.
func splitEDUs(edus []edu) (first, rest []edu) {
	for _, e := range edus {
		switch e.kind {
		case e2ee.EDUToDevice, e2ee.EDUDeviceList, e2ee.EDUSigningKey:
			first = append(first, e)
		case "m.typing", "m.receipt", "m.presence":
			rest = append(rest, e)
		} // others are unknown and ignored
	}
	return first, rest
}

// receiveEDUs hands EDUs to whom they concern. None of them can make a transaction fail: an error is ours, logged, and the
// sender has no better copy.
func (f *Federation) receiveEDUs(ctx context.Context, origin id.ServerName, edus []edu) {
	for _, e := range edus {
		if err := f.receiveEDU(ctx, origin, e); err != nil && ctx.Err() == nil {
			f.cfg.Log.Error("receive an EDU", obs.KeyType, e.kind, obs.KeyError, err)
		}
	}
}

// receiveEDU leaves it to the keepers to drop what the origin may not say about users (A23, A24); what rooms exclude a server
// is checked here.
func (f *Federation) receiveEDU(ctx context.Context, origin id.ServerName, e edu) error {
	keys, eph := f.cfg.Devices, f.cfg.Ephemeral
	switch {
	case e.kind == e2ee.EDUToDevice && keys != nil:
		return keys.ReceiveToDevice(ctx, origin, e.content)
	case e.kind == e2ee.EDUDeviceList && keys != nil:
		return keys.ReceiveDeviceList(ctx, origin, e.content)
	case e.kind == e2ee.EDUSigningKey && keys != nil:
		return keys.ReceiveSigningKeys(ctx, origin, e.content)
	case e.kind == "m.typing" && eph != nil:
		roomID, _ := canonical.GetString(e.content, "room_id")
		if !f.mayTell(ctx, origin, roomID) {
			return nil
		}
		return eph.ReceiveTyping(ctx, origin, e.content)
	case e.kind == "m.receipt" && eph != nil:
		return eph.ReceiveReceipts(ctx, origin, f.withoutForbiddenRooms(ctx, origin, e.content))
	case e.kind == "m.presence" && eph != nil:
		return eph.ReceivePresence(ctx, origin, e.content)
	}
	return nil
}

// mayTell reports whether the origin may say something about a room at all. SS v1.16 #server-access-control-lists-acls
func (f *Federation) mayTell(ctx context.Context, origin id.ServerName, text string) bool {
	roomID, err := id.ParseRoomID(text)
	if err != nil {
		return false
	}
	return f.access(ctx, origin, roomID).err == nil
}

// withoutForbiddenRooms takes the rooms out of a receipt EDU that its origin is excluded from.
func (f *Federation) withoutForbiddenRooms(ctx context.Context, origin id.ServerName, content []byte) []byte {
	kept := []byte{'{'}
	err := canonical.Object(content, func(roomID string, value []byte) error {
		if !f.mayTell(ctx, origin, roomID) {
			return nil
		}
		if len(kept) > 1 {
			kept = append(kept, ',')
		}
		kept = canonical.AppendString(kept, roomID)
		kept = append(append(kept, ':'), value...)
		return nil
	})
	if err != nil {
		return []byte("{}")
	}
	return append(kept, '}')
}
