package room

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Rooms we are not in are known by what concerns our users: an invite, a knock, their end. Such a membership is an outlier
// event and a row of user_room; the room's own tables say nothing of it.

// outside stores a membership of a local user in a room we are not in.
func (b *batch) outside(pdu *event.PDU, user id.UserID, m store.Membership, stripped []byte) (*Event, error) {
	if !b.known && b.head.nid == 0 {
		b.head.nid, b.head.version = b.e.store.NextNID(), pdu.Version
	}
	if pdu.Version != b.head.version {
		return nil, mxerr.IncompatibleRoomVersion(pdu.Version.ID)
	}
	known, err := b.find(pdu.ID)
	if err != nil {
		return nil, err
	}
	w := &write{guest: &guest{user: user, membership: m, stripped: stripped}}
	if known != nil {
		if known.RoomNID != b.head.nid {
			return nil, errOtherRoom
		}
		w.ev, w.place = known, true
	} else {
		slot, err := b.slot(pdu.Slot())
		if err != nil {
			return nil, err
		}
		w.ev = &Event{PDU: pdu, EventMeta: store.EventMeta{NID: b.e.store.NextNID(), RoomNID: b.head.nid,
			Topo: min(pdu.Depth, 1<<53), Status: store.Outlier, SlotNID: slot}}
	}
	b.register(w)
	return w.ev, nil
}

// SignInvite signs another server's invite of a local user, and remembers it with its stripped state unless we are in the room.
// SS v1.16 #put_matrixfederationv2inviteroomideventid
func (e *Engine) SignInvite(ctx context.Context, invite *event.PDU, stripped []json.RawMessage) (*event.PDU, error) {
	if invite.StateKey == nil || invite.Membership() != event.Invite {
		return nil, mxerr.InvalidParam("The event is not an invite")
	}
	user, err := id.ParseUserID(*invite.StateKey)
	if err != nil || !e.local(user) {
		return nil, mxerr.InvalidParam("The invited user is not of this server")
	}
	signed := invite.Sign(e.cfg.Server, e.cfg.Key)
	err = e.change(ctx, invite.RoomID, func(b *batch) error {
		if b.head.here() {
			return nil // it comes with the room's other events
		}
		// A ban we know of may be lifted by now: nobody tells a server that is not in the room.
		_, err := b.outside(signed, user, store.Invited, strippedWith(stripped, signed))
		return err
	})
	if errors.Is(err, errOtherRoom) {
		err = mxerr.InvalidParam("The event belongs to another room")
	}
	return signed, err
}

// strippedWith adds the member event itself to stripped state, and takes out what is no stripped state. A22
func strippedWith(stripped []json.RawMessage, member *event.PDU) []byte {
	kept := make([]json.RawMessage, 0, len(stripped)+1)
	for _, raw := range stripped {
		typ, ok := canonical.GetString(raw, "type")
		key, hasKey := canonical.GetString(raw, "state_key")
		content, found := canonical.Get(raw, "content")
		sender, hasSender := canonical.GetString(raw, "sender")
		if !ok || !hasKey || !found || !canonical.IsObject(content) || !hasSender {
			continue
		}
		if typ == event.TypeMember && key == *member.StateKey {
			continue
		}
		// Servers may send whole events; clients get the create event whole, and of others what they have a word for. MSC4311
		if whole, err := event.Parse(raw, member.Version); err == nil && whole.IsCreate() && whole.RoomID == member.RoomID && whole.HashMatches() {
			kept = append(kept, whole.Stripped())
			continue
		}
		out := append([]byte(`{"content":`), content...)
		out = append(append(out, `,"sender":`...), canonical.AppendString(nil, sender)...)
		out = append(append(out, `,"state_key":`...), canonical.AppendString(nil, key)...)
		out = append(append(out, `,"type":`...), canonical.AppendString(nil, typ)...)
		kept = append(kept, append(out, '}'))
	}
	return joinJSON(append(kept, member.Stripped()))
}

// KnockSent remembers a knock that went through another server, with the stripped state of the answer.
func (e *Engine) KnockSent(ctx context.Context, knock *event.PDU, stripped []json.RawMessage) error {
	return e.movedOutside(ctx, knock, store.Knocked, strippedWith(stripped, knock))
}

// LeftRemotely remembers a leave that went through another server (invite rejected, knock taken back).
func (e *Engine) LeftRemotely(ctx context.Context, leave *event.PDU) error {
	return e.movedOutside(ctx, leave, store.Left, nil)
}

func (e *Engine) movedOutside(ctx context.Context, pdu *event.PDU, m store.Membership, stripped []byte) error {
	if pdu.StateKey == nil || !e.local(id.UserID(*pdu.StateKey)) {
		return mxerr.InvalidParam("The event is not about a user of this server")
	}
	return e.change(ctx, pdu.RoomID, func(b *batch) error {
		if b.head.here() {
			return nil // it comes with the room's other events
		}
		_, err := b.outside(pdu, id.UserID(*pdu.StateKey), m, stripped)
		return err
	})
}

// RejectLocally ends an invite or knock here although no server could be told: by a leave event of our own that nobody else
// ever sees.
func (e *Engine) RejectLocally(ctx context.Context, room id.RoomID, user id.UserID) error {
	return e.change(ctx, room, func(b *batch) error {
		if !b.known || b.head.here() {
			return ErrUnknownRoom
		}
		now, err := e.UserRoom(b.ctx, user, room)
		if err != nil {
			return err
		}
		if now.Membership != event.Invite && now.Membership != event.Knock {
			return mxerr.Forbidden("You are not in the room")
		}
		last, err := b.event(now.Event)
		if err != nil {
			return err
		}
		leave, err := b.ownLeave(last)
		if err != nil {
			return err
		}
		_, err = b.outside(leave, user, store.Left, nil)
		return err
	})
}

// ownLeave builds the leave that follows an invite or knock.
func (b *batch) ownLeave(last *Event) (*event.PDU, error) {
	t := event.Template{RoomID: b.head.room, Sender: id.UserID(*last.StateKey), Type: event.TypeMember, StateKey: last.StateKey,
		Content: []byte(`{"membership":"leave"}`), PrevEvents: []id.EventID{last.ID}, AuthEvents: withID(last.AuthEvents, last.ID),
		Depth: last.Depth + 1, OriginServerTS: b.e.now()}
	if !last.Version.HashedEventIDs() {
		var err error
		if t.ID, err = id.NewEventID(b.e.cfg.Rand, b.e.cfg.Server); err != nil {
			return nil, err
		}
		t.Hashes = map[id.EventID]string{last.ID: last.ReferenceHash()}
	}
	return event.Build(last.Version, t, b.e.cfg.Server, b.e.cfg.Key)
}

// withID adds an auth event, within the number that is allowed.
func withID(ids []id.EventID, evID id.EventID) []id.EventID {
	out := slices.Clone(ids)
	if len(out) >= event.MaxAuthEvents {
		out = out[:event.MaxAuthEvents-1]
	}
	return append(out, evID)
}
