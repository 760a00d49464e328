package csapi

import (
	"context"
	"encoding/json"
	"slices"

	"konsil/homeserver/account"
	"konsil/homeserver/room"
	"konsil/kit/web"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
)

func (a *API) roomStateRoutes() []row {
	return []row{
		{endpoint.GetOneRoomEvent, user(a.roomEvent), limitRead},
		{endpoint.GetRoomState, user(a.roomState), limitRead},
		{endpoint.GetRoomStateWithKey, user(a.roomStateEvent), limitRead},
		{endpoint.GetMembersByRoom, user(a.roomMembers), limitRead},
		{endpoint.GetJoinedMembersByRoom, user(a.joinedMembers), limitRead},
		{endpoint.GetJoinedRooms, user(a.joinedRooms), limitRead},
	}
}

type roomEventRequest struct {
	Room  id.RoomID  `path:"roomId"`
	Event id.EventID `path:"eventId"`
}

// roomEvent reads one event. CS v1.16 #get_matrixclientv3roomsroomideventeventid
func (a *API) roomEvent(ctx context.Context, caller account.Caller, req roomEventRequest) (web.Raw, error) {
	ev, err := a.Rooms.EventOf(ctx, caller.User, req.Room, req.Event)
	if err != nil {
		return nil, err
	}
	written, err := a.Rooms.ClientEvents(ctx, a.format(caller, true), []*room.Event{ev})
	if err != nil {
		return nil, err
	}
	return web.Raw(written[0]), nil
}

// format is how events are written for a caller outside of /sync.
func (a *API) format(caller account.Caller, bundle bool) room.Format {
	return room.Format{Viewer: room.Viewer{User: caller.User, Device: caller.Device}, Bundle: bundle}
}

type roomRequest struct {
	Room id.RoomID `path:"roomId"`
}

// roomState reads the state of a room as an array of events. CS v1.16 #get_matrixclientv3roomsroomidstate
func (a *API) roomState(ctx context.Context, caller account.Caller, req roomRequest) (web.Raw, error) {
	evs, err := a.Rooms.StateForUser(ctx, caller.User, req.Room)
	if err != nil {
		return nil, err
	}
	written, err := a.Rooms.ClientEvents(ctx, a.format(caller, false), evs)
	if err != nil {
		return nil, err
	}
	return appendArray(nil, written), nil
}

// appendArray writes ready JSON values as an array.
func appendArray(dst []byte, values []json.RawMessage) []byte {
	size := 2
	for _, v := range values {
		size += len(v) + 1
	}
	dst = append(slices.Grow(dst, size), '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, v...)
	}
	return append(dst, ']')
}

type roomStateEventRequest struct {
	Room     id.RoomID `path:"roomId"`
	Type     string    `path:"eventType"`
	StateKey string    `path:"stateKey"`
	Format   string    `query:"format"` // "content" (default) or "event"
}

// roomStateEvent reads one piece of state. CS v1.16 #get_matrixclientv3roomsroomidstateeventtypestatekey
func (a *API) roomStateEvent(ctx context.Context, caller account.Caller, req roomStateEventRequest) (web.Raw, error) {
	ev, err := a.Rooms.StateEventForUser(ctx, caller.User, req.Room, req.Type, req.StateKey)
	if err != nil {
		return nil, err
	}
	if req.Format != "event" {
		return web.Raw(ev.Content), nil
	}
	written, err := a.Rooms.ClientEvents(ctx, a.format(caller, false), []*room.Event{ev})
	if err != nil {
		return nil, err
	}
	return web.Raw(written[0]), nil
}

type membersRequest struct {
	Room id.RoomID `path:"roomId"`
	At   string    `query:"at"`
	Want string    `query:"membership"`
	Not  string    `query:"not_membership"`
}

// roomMembers reads the member events of a room. CS v1.16 #get_matrixclientv3roomsroomidmembers
func (a *API) roomMembers(ctx context.Context, caller account.Caller, req membersRequest) (web.Raw, error) {
	at, err := optionalToken(req.At, "at")
	if err != nil {
		return nil, err
	}
	evs, err := a.Rooms.MembersForUser(ctx, caller.User, req.Room, at, req.Want, req.Not)
	if err != nil {
		return nil, err
	}
	written, err := a.Rooms.ClientEvents(ctx, a.format(caller, false), evs)
	if err != nil {
		return nil, err
	}
	return append(appendArray([]byte(`{"chunk":`), written), '}'), nil
}

type joinedMembersResponse struct {
	Joined map[id.UserID]roomMember `json:"joined"`
}

type roomMember struct {
	DisplayName *string `json:"display_name"`
	AvatarURL   *string `json:"avatar_url"`
}

// joinedMembers reads who is in a room the caller is in. CS v1.16 #get_matrixclientv3roomsroomidjoined_members
func (a *API) joinedMembers(ctx context.Context, caller account.Caller, req roomRequest) (joinedMembersResponse, error) {
	membership, err := a.Rooms.Membership(ctx, req.Room, caller.User)
	if err != nil {
		return joinedMembersResponse{}, err
	}
	if membership != "join" {
		return joinedMembersResponse{}, errNotInRoom()
	}
	members, err := a.Rooms.JoinedMembers(ctx, req.Room)
	if err != nil {
		return joinedMembersResponse{}, err
	}
	resp := joinedMembersResponse{Joined: make(map[id.UserID]roomMember, len(members))}
	for user, profile := range members {
		resp.Joined[user] = roomMember{DisplayName: textOrNull(profile.DisplayName), AvatarURL: textOrNull(profile.AvatarURL)}
	}
	return resp, nil
}

func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

type joinedRoomsResponse struct {
	Rooms []id.RoomID `json:"joined_rooms"`
}

// joinedRooms lists the rooms the caller is in. CS v1.16 #get_matrixclientv3joined_rooms
func (a *API) joinedRooms(ctx context.Context, caller account.Caller, _ None) (joinedRoomsResponse, error) {
	rooms, err := a.Rooms.JoinedRooms(ctx, caller.User)
	if rooms == nil {
		rooms = []id.RoomID{}
	}
	return joinedRoomsResponse{rooms}, err
}
