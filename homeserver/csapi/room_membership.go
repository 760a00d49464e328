package csapi

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"konsil/homeserver/account"
	"konsil/homeserver/federation"
	"konsil/homeserver/room"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) membershipRoutes() []row {
	return []row{
		{endpoint.JoinRoomById, active(a.joinRoomByID), limitJoin},
		{endpoint.JoinRoom, active(a.joinRoom), limitJoin},
		{endpoint.KnockRoom, active(a.knockRoom), limitJoin},
		{endpoint.InviteUser, active(a.inviteUser), limitJoin},
		{endpoint.LeaveRoom, user(a.leaveRoom), limitJoin},
		{endpoint.ForgetRoom, user(a.forgetRoom), limitWrite},
		{endpoint.Kick, active(a.kick), limitJoin},
		{endpoint.Ban, active(a.ban), limitJoin},
		{endpoint.Unban, active(a.unban), limitJoin},
	}
}

type roomIDResponse struct {
	Room id.RoomID `json:"room_id"`
}

// joinBody is what both joins take. Fields it does not know go into the member event, as clients expect.
type joinBody struct {
	Reason     string          `json:"reason"`
	ThirdParty json.RawMessage `json:"third_party_signed"`
}

// memberContent keeps the fields of a /join body that are not the endpoint's own.
func memberContent(raw json.RawMessage) (joinBody, json.RawMessage, error) {
	var body joinBody
	fields := map[string]json.RawMessage{}
	if len(raw) == 0 {
		return body, nil, nil
	}
	if json.Unmarshal(raw, &fields) != nil || json.Unmarshal(raw, &body) != nil {
		return body, nil, mxerr.BadJSON("Content not a JSON object")
	}
	for _, own := range []string{"reason", "third_party_signed", "membership"} {
		delete(fields, own)
	}
	if len(fields) == 0 {
		return body, nil, nil
	}
	rest, err := json.Marshal(fields)
	return body, rest, err
}

type joinRoomByIDRequest struct {
	Room id.RoomID       `path:"roomId"`
	Body json.RawMessage `body:"raw"`
}

// joinRoomByID joins a room. CS v1.16 #post_matrixclientv3roomsroomidjoin
func (a *API) joinRoomByID(ctx context.Context, caller account.Caller, req joinRoomByIDRequest) (roomIDResponse, error) {
	return a.join(ctx, caller.User, req.Room, nil, req.Body)
}

type joinRoomRequest struct {
	RoomOrAlias string          `path:"roomIdOrAlias"`
	Via         []id.ServerName `query:"via"`
	ServerNames []id.ServerName `query:"server_name"` // the older name of via
	Body        json.RawMessage `body:"raw"`
}

// joinRoom joins a room by its ID or an alias. CS v1.16 #post_matrixclientv3joinroomidoralias
func (a *API) joinRoom(ctx context.Context, caller account.Caller, req joinRoomRequest) (roomIDResponse, error) {
	in, via, err := a.resolveRoom(ctx, req.RoomOrAlias, append(req.Via, req.ServerNames...))
	if err != nil {
		return roomIDResponse{}, err
	}
	return a.join(ctx, caller.User, in, via, req.Body)
}

func (a *API) join(ctx context.Context, user id.UserID, in id.RoomID, via []id.ServerName, raw json.RawMessage) (roomIDResponse, error) {
	body, content, err := memberContent(raw)
	if err != nil {
		return roomIDResponse{}, err
	}
	change := room.MembershipChange{Room: in, Sender: user, Target: user, Reason: body.Reason, Content: content, ThirdParty: body.ThirdParty}
	_, err = a.Rooms.Join(ctx, change)
	if errors.Is(err, room.ErrNotHere) && a.Federation != nil {
		err = a.Federation.Join(ctx, federation.JoinRequest{User: user, Room: in, Via: via, Content: withReason(content, body.Reason)})
	}
	return roomIDResponse{in}, err
}

// withReason adds a reason to the further fields of a member event.
func withReason(content json.RawMessage, reason string) json.RawMessage {
	if reason == "" {
		return content
	}
	fields := map[string]any{}
	if len(content) > 0 && json.Unmarshal(content, &fields) != nil {
		return content
	}
	fields["reason"] = reason
	written, err := json.Marshal(fields)
	if err != nil {
		return content
	}
	return written
}

// resolveRoom finds the room behind an ID or an alias, and servers to reach it through.
func (a *API) resolveRoom(ctx context.Context, roomOrAlias string, via []id.ServerName) (id.RoomID, []id.ServerName, error) {
	if !strings.HasPrefix(roomOrAlias, "#") {
		in, err := id.ParseRoomID(roomOrAlias)
		if err != nil {
			return "", nil, mxerr.InvalidParam("%s is neither a room ID nor an alias", roomOrAlias)
		}
		return in, via, nil
	}
	alias, err := id.ParseRoomAlias(roomOrAlias)
	if err != nil {
		return "", nil, mxerr.InvalidParam("Invalid room alias")
	}
	in, servers, err := a.resolveAlias(ctx, alias)
	return in, append(via, servers...), err
}

type knockRequest struct {
	RoomOrAlias string          `path:"roomIdOrAlias"`
	Via         []id.ServerName `query:"via"`
	ServerNames []id.ServerName `query:"server_name"`
	Reason      string          `json:"reason"`
}

// knockRoom asks to be let in. CS v1.16 #post_matrixclientv3knockroomidoralias
func (a *API) knockRoom(ctx context.Context, caller account.Caller, req knockRequest) (roomIDResponse, error) {
	in, via, err := a.resolveRoom(ctx, req.RoomOrAlias, append(req.Via, req.ServerNames...))
	if err != nil {
		return roomIDResponse{}, err
	}
	change := room.MembershipChange{Room: in, Sender: caller.User, Target: caller.User, Reason: req.Reason}
	_, err = a.Rooms.Knock(ctx, change)
	if errors.Is(err, room.ErrNotHere) && a.Federation != nil {
		err = a.Federation.Knock(ctx, federation.JoinRequest{User: caller.User, Room: in, Via: via, Content: withReason(nil, req.Reason)})
	}
	return roomIDResponse{in}, err
}

type membershipRequest struct {
	Room   id.RoomID `path:"roomId"`
	User   id.UserID `json:"user_id"`
	Reason string    `json:"reason"`
}

// change is what one user wants to do to another.
func (req membershipRequest) change(caller account.Caller) (room.MembershipChange, error) {
	if req.User == "" {
		return room.MembershipChange{}, mxerr.MissingParam("Missing parameter user_id")
	}
	return room.MembershipChange{Room: req.Room, Sender: caller.User, Target: req.User, Reason: req.Reason}, nil
}

// inviteUser invites somebody. CS v1.16 #post_matrixclientv3roomsroomidinvite
func (a *API) inviteUser(ctx context.Context, caller account.Caller, req membershipRequest) (None, error) {
	change, err := req.change(caller)
	if err != nil {
		return None{}, err
	}
	return None{}, a.invite(ctx, change)
}

// invite sends an invite; that of another server's user has to be signed by that server first. SS v1.16 #inviting-to-a-room
func (a *API) invite(ctx context.Context, change room.MembershipChange) error {
	send := a.Rooms.Invite
	if change.Target.Server() != a.Server && a.Federation != nil {
		send = a.Federation.Invite
	}
	_, err := send(ctx, change)
	return err
}

type leaveRequest struct {
	Room   id.RoomID `path:"roomId"`
	Reason string    `json:"reason"`
}

// leaveRoom leaves a room, rejects an invite or takes back a knock. CS v1.16 #post_matrixclientv3roomsroomidleave
func (a *API) leaveRoom(ctx context.Context, caller account.Caller, req leaveRequest) (None, error) {
	if a.Notices != nil {
		if err := a.Notices.CheckLeave(ctx, caller.User, req.Room); err != nil {
			return None{}, err
		}
	}
	change := room.MembershipChange{Room: req.Room, Sender: caller.User, Target: caller.User, Reason: req.Reason}
	_, err := a.Rooms.Leave(ctx, change)
	if errors.Is(err, room.ErrNotHere) && a.Federation != nil {
		err = a.Federation.Leave(ctx, change, nil)
	}
	return None{}, err
}

// forgetRoom takes a room one has left out of one's lists. CS v1.16 #post_matrixclientv3roomsroomidforget
func (a *API) forgetRoom(ctx context.Context, caller account.Caller, req roomRequest) (None, error) {
	return None{}, a.Rooms.Forget(ctx, req.Room, caller.User)
}

// kick removes somebody who may come back. CS v1.16 #post_matrixclientv3roomsroomidkick
func (a *API) kick(ctx context.Context, caller account.Caller, req membershipRequest) (None, error) {
	return changeMembership(ctx, caller, req, a.Rooms.Kick)
}

// ban removes somebody who may not. CS v1.16 #post_matrixclientv3roomsroomidban
func (a *API) ban(ctx context.Context, caller account.Caller, req membershipRequest) (None, error) {
	return changeMembership(ctx, caller, req, a.Rooms.Ban)
}

// unban lets somebody come back. CS v1.16 #post_matrixclientv3roomsroomidunban
func (a *API) unban(ctx context.Context, caller account.Caller, req membershipRequest) (None, error) {
	return changeMembership(ctx, caller, req, a.Rooms.Unban)
}

func changeMembership(ctx context.Context, caller account.Caller, req membershipRequest,
	do func(context.Context, room.MembershipChange) (id.EventID, error)) (None, error) {
	change, err := req.change(caller)
	if err != nil {
		return None{}, err
	}
	_, err = do(ctx, change)
	return None{}, err
}

// errNotInRoom refuses what only members may ask.
func errNotInRoom() error { return mxerr.Forbidden("You are not in this room") }
