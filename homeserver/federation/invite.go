package federation

import (
	"context"
	"encoding/json"

	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/roomver"
)

// ReceiveInvite takes another server's invite of a user of ours, checks it, and gives it back signed by us.
// SS v1.16 #put_matrixfederationv2inviteroomideventid
func (f *Federation) ReceiveInvite(ctx context.Context, origin id.ServerName, roomID id.RoomID, eventID id.EventID, version string,
	raw json.RawMessage, state []json.RawMessage) (*event.PDU, error) {
	v, ok := roomver.Get(version)
	if !ok {
		return nil, mxerr.IncompatibleRoomVersion(version)
	}
	allowed, err := f.cfg.Rooms.ServerAllowed(ctx, roomID, origin)
	if err != nil {
		return nil, err
	}
	if !allowed {
		return nil, mxerr.Forbidden("Server is denied by the room's access control list")
	}
	invite, err := event.Parse(raw, v)
	if err != nil {
		return nil, mxerr.BadJSON("Not an event of room version %s", v.ID)
	}
	if err := f.checkInvite(origin, roomID, eventID, invite); err != nil {
		return nil, err
	}
	if err := f.Keys.VerifyPDU(ctx, invite); err != nil {
		return nil, mxerr.InvalidParam("The invite is not properly signed")
	}
	if !invite.HashMatches() {
		return nil, mxerr.InvalidParam("The invite's hash does not fit")
	}
	if err := f.checkSummary(ctx, invite, state); err != nil {
		return nil, err
	}
	if err := f.cfg.Rooms.CheckInvite(ctx, id.UserID(*invite.StateKey), invite.Sender); err != nil {
		return nil, err
	}
	return f.cfg.Rooms.SignInvite(ctx, invite, strippedOf(state, v))
}

// checkInvite makes sure that we sign nothing but an invite of a user of ours (A22).
func (f *Federation) checkInvite(origin id.ServerName, roomID id.RoomID, eventID id.EventID, invite *event.PDU) error {
	switch {
	case invite.RoomID != roomID:
		return mxerr.InvalidParam("The event is of another room")
	case invite.ID != eventID:
		return mxerr.InvalidParam("The event has another ID")
	case invite.Type != event.TypeMember || invite.StateKey == nil || invite.Membership() != event.Invite:
		return mxerr.InvalidParam("Not an invite event")
	case invite.Sender.Server() != origin:
		return mxerr.InvalidParam("The sender is not one of your server")
	}
	user, err := id.ParseUserID(*invite.StateKey)
	if err != nil || user.Server() != f.cfg.Server {
		return mxerr.InvalidParam("The invited user is not one of this server")
	}
	return nil
}

// checkSummary checks the state that comes with an invite. From room version 12 on it must hold the create event, in full and
// of this room, and nothing forged; in older rooms servers still send less, and what does not fit is left out. MSC4311
func (f *Federation) checkSummary(ctx context.Context, invite *event.PDU, state []json.RawMessage) error {
	if !invite.Version.HashedRoomID {
		return nil
	}
	created := false
	for _, raw := range state[:min(len(state), maxStripped)] {
		if _, full := canonical.Get(raw, "signatures"); !full {
			return mxerr.InvalidParam("invite_room_state holds an event that is not in the format of the room's version")
		}
		ev, err := event.Parse(raw, invite.Version)
		if err != nil || !ev.IsState() || ev.RoomID != invite.RoomID {
			return mxerr.InvalidParam("invite_room_state holds an event that is not of the room")
		}
		if f.Keys.VerifyPDU(ctx, ev) != nil {
			return mxerr.InvalidParam("invite_room_state holds an event that is not properly signed")
		}
		created = created || ev.IsCreate()
	}
	if !created {
		return mxerr.InvalidParam("invite_room_state holds no create event")
	}
	return nil
}
