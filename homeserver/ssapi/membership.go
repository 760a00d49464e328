package ssapi

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"konsil/homeserver/room"
	"konsil/kit/web"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/roomver"
)

type makeRequest struct {
	Room     id.RoomID `path:"roomId"`
	User     id.UserID `path:"userId"`
	Versions []string  `query:"ver"`
}

// mayMake refuses templates for users of other servers, and to servers that the room excludes.
func (a *API) mayMake(ctx context.Context, origin id.ServerName, req makeRequest) error {
	if req.User.Server() != origin {
		return mxerr.Forbidden("The user is not one of your server")
	}
	return a.allowed(ctx, req.Room, origin)
}

// SS v1.16 #get_matrixfederationv1make_joinroomiduserid
func (a *API) makeJoin(ctx context.Context, origin id.ServerName, req makeRequest) (room.Template, error) {
	if err := a.mayMake(ctx, origin, req); err != nil {
		return room.Template{}, err
	}
	if len(req.Versions) == 0 {
		req.Versions = []string{"1"}
	}
	t, err := a.cfg.Rooms.MakeJoin(ctx, origin, req.Room, req.User, req.Versions)
	return t, unknownRoom(err)
}

// SS v1.16 #get_matrixfederationv1make_knockroomiduserid
func (a *API) makeKnock(ctx context.Context, origin id.ServerName, req makeRequest) (room.Template, error) {
	if err := a.mayMake(ctx, origin, req); err != nil {
		return room.Template{}, err
	}
	t, err := a.cfg.Rooms.MakeKnock(ctx, origin, req.Room, req.User, req.Versions)
	return t, unknownRoom(err)
}

// SS v1.16 #get_matrixfederationv1make_leaveroomiduserid
func (a *API) makeLeave(ctx context.Context, origin id.ServerName, req makeRequest) (room.Template, error) {
	if err := a.mayMake(ctx, origin, req); err != nil {
		return room.Template{}, err
	}
	t, err := a.cfg.Rooms.MakeLeave(ctx, origin, req.Room, req.User)
	return t, unknownRoom(err)
}

// unknownRoom is what a room that we are not in looks like to others.
func unknownRoom(err error) error {
	if errors.Is(err, room.ErrNotHere) {
		return room.ErrUnknownRoom
	}
	return err
}

type sendRequest struct {
	Room  id.RoomID       `path:"roomId"`
	Event id.EventID      `path:"eventId"`
	Omit  bool            `query:"omit_members"`
	Body  json.RawMessage `body:"raw"`
}

// membershipEvent reads what send_join, send_leave and send_knock were given, and checks all that can be checked without the
// room's state. SS v1.16 #put_matrixfederationv2send_joinroomideventid
func (a *API) membershipEvent(ctx context.Context, origin id.ServerName, req sendRequest, membership string) (*event.PDU, error) {
	if err := a.allowed(ctx, req.Room, origin); err != nil {
		return nil, err
	}
	info, err := a.cfg.Rooms.Room(ctx, req.Room)
	if err != nil {
		return nil, unknownRoom(err)
	}
	version, ok := roomver.Get(info.Version)
	if !ok || !info.Here {
		return nil, room.ErrUnknownRoom
	}
	pdu, err := event.Parse(req.Body, version)
	if err != nil {
		return nil, mxerr.BadJSON("Not an event of room version %s", version.ID)
	}
	switch {
	case pdu.RoomID != req.Room:
		return nil, mxerr.InvalidParam("The event is of another room")
	case pdu.ID != req.Event:
		return nil, mxerr.InvalidParam("The event has another ID")
	case pdu.Type != event.TypeMember || pdu.StateKey == nil || pdu.Membership() != membership:
		return nil, mxerr.InvalidParam("Not a %s event", membership)
	case pdu.Sender.Server() != origin:
		return nil, mxerr.InvalidParam("The sender is not one of your server")
	case *pdu.StateKey != string(pdu.Sender):
		return nil, mxerr.InvalidParam("The state key is not the sender")
	}
	if err := a.cfg.Federation.Keys.VerifyOffered(ctx, pdu); err != nil {
		return nil, mxerr.InvalidParam("The event is not properly signed")
	}
	if !pdu.HashMatches() {
		return nil, mxerr.InvalidParam("The event's hash does not fit")
	}
	// The room is told by us, so that is noted before the event is in.
	if err := a.cfg.Federation.Sender.Relay(ctx, pdu.ID); err != nil {
		return nil, err
	}
	return pdu, nil
}

// refused ends the care for an event that the room did not take.
func (a *API) refused(ctx context.Context, pdu *event.PDU, err error) error {
	if err != nil {
		a.cfg.Federation.Sender.Unrelay(ctx, pdu.ID)
	}
	return unknownRoom(err)
}

func (a *API) join(ctx context.Context, origin id.ServerName, req sendRequest) (*room.RemoteJoin, error) {
	pdu, err := a.membershipEvent(ctx, origin, req, event.Join)
	if err != nil {
		return nil, err
	}
	joined, err := a.cfg.Rooms.SendJoin(ctx, origin, req.Room, pdu)
	return joined, a.refused(ctx, pdu, err)
}

// joinAnswer writes the room for who has joined. Member events are sent even to who would do without: the answer is made of
// ready bytes, and one round of asking for them costs more.
func (a *API) joinAnswer(joined *room.RemoteJoin, before, after string) *web.Stream {
	var p pieces
	p.add(append(canonical.AppendString([]byte(before+`{"origin":`), a.cfg.Server), `,"event":`...))
	p.add(joined.Event.JSON)
	p.add(append(appendNames([]byte(`,"members_omitted":false,"servers_in_room":`), joined.Servers), `,"state":`...))
	p.events(joined.State)
	p.text(`,"auth_chain":`)
	p.events(joined.AuthChain)
	p.text(`}` + after)
	return p.stream()
}

// SS v1.16 #put_matrixfederationv2send_joinroomideventid
func (a *API) sendJoin(ctx context.Context, origin id.ServerName, req sendRequest) (*web.Stream, error) {
	joined, err := a.join(ctx, origin, req)
	if err != nil {
		return nil, err
	}
	return a.joinAnswer(joined, "", ""), nil
}

// sendJoinV1 is the same in the shape of old.
func (a *API) sendJoinV1(ctx context.Context, origin id.ServerName, req sendRequest) (*web.Stream, error) {
	joined, err := a.join(ctx, origin, req)
	if err != nil {
		return nil, err
	}
	return a.joinAnswer(joined, "[200,", "]"), nil
}

// SS v1.16 #put_matrixfederationv2send_leaveroomideventid
func (a *API) sendLeave(ctx context.Context, origin id.ServerName, req sendRequest) (none, error) {
	pdu, err := a.membershipEvent(ctx, origin, req, event.Leave)
	if err != nil {
		return none{}, err
	}
	return none{}, a.refused(ctx, pdu, a.cfg.Rooms.SendLeave(ctx, origin, req.Room, pdu))
}

func (a *API) sendLeaveV1(ctx context.Context, origin id.ServerName, req sendRequest) (web.Raw, error) {
	if _, err := a.sendLeave(ctx, origin, req); err != nil {
		return nil, err
	}
	return web.Raw(`[200,{}]`), nil
}

type knockAnswer struct {
	State []json.RawMessage `json:"knock_room_state"`
}

// SS v1.16 #put_matrixfederationv1send_knockroomideventid
func (a *API) sendKnock(ctx context.Context, origin id.ServerName, req sendRequest) (knockAnswer, error) {
	pdu, err := a.membershipEvent(ctx, origin, req, event.Knock)
	if err != nil {
		return knockAnswer{}, err
	}
	stripped, err := a.cfg.Rooms.SendKnock(ctx, origin, req.Room, pdu)
	if err := a.refused(ctx, pdu, err); err != nil {
		return knockAnswer{}, err
	}
	state, err := a.cfg.Federation.FullState(ctx, req.Room, stripped)
	return knockAnswer{state}, err
}

type inviteRequest struct {
	Room    id.RoomID         `path:"roomId"`
	EventID id.EventID        `path:"eventId"`
	Version string            `json:"room_version"`
	Event   json.RawMessage   `json:"event"`
	State   []json.RawMessage `json:"invite_room_state"`
}

type inviteAnswer struct {
	Event json.RawMessage `json:"event"`
}

// SS v1.16 #put_matrixfederationv2inviteroomideventid
func (a *API) invite(ctx context.Context, origin id.ServerName, req inviteRequest) (inviteAnswer, error) {
	if len(req.Event) == 0 {
		return inviteAnswer{}, mxerr.MissingParam("Missing parameter event")
	}
	signed, err := a.cfg.Federation.ReceiveInvite(ctx, origin, req.Room, req.EventID, req.Version, req.Event, req.State)
	if err != nil {
		return inviteAnswer{}, err
	}
	return inviteAnswer{signed.JSON}, nil
}

type inviteV1Request struct {
	Room  id.RoomID       `path:"roomId"`
	Event id.EventID      `path:"eventId"`
	Body  json.RawMessage `body:"raw"`
}

// inviteV1 carries the room's summary in unsigned, and speaks of rooms of versions 1 and 2 only.
// SS v1.16 #put_matrixfederationv1inviteroomideventid
func (a *API) inviteV1(ctx context.Context, origin id.ServerName, req inviteV1Request) (web.Raw, error) {
	var body struct {
		Unsigned struct {
			State []json.RawMessage `json:"invite_room_state"`
		} `json:"unsigned"`
	}
	if err := json.Unmarshal(req.Body, &body); err != nil {
		body.Unsigned.State = nil // of the wrong type: an invite without summary
	}
	signed, err := a.cfg.Federation.ReceiveInvite(ctx, origin, req.Room, req.Event, "1", req.Body, body.Unsigned.State)
	if err != nil {
		return nil, err
	}
	return slices.Concat(web.Raw(`[200,{"event":`), signed.JSON, []byte(`}]`)), nil
}
