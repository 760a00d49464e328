package ssapi

import (
	"context"
	"encoding/json"
	"strconv"

	"konsil/homeserver/account"
	"konsil/homeserver/e2ee"
	"konsil/homeserver/room"
	"konsil/kit/web"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

type publicRoomsRequest struct {
	Limit int    `query:"limit" json:"limit"`
	Since string `query:"since" json:"since"`
}

// maxPublicRooms is how many rooms one page holds.
const maxPublicRooms = 500

func pageSize(limit int) int {
	if limit <= 0 || limit > maxPublicRooms {
		return maxPublicRooms
	}
	return limit
}

// SS v1.16 #get_matrixfederationv1publicrooms
func (a *API) publicRooms(ctx context.Context, _ id.ServerName, req publicRoomsRequest) (room.PublicRoomsPage, error) {
	return a.cfg.Rooms.PublicRooms(ctx, room.PublicRoomsRequest{Limit: pageSize(req.Limit), Since: req.Since})
}

type searchRoomsRequest struct {
	Limit  int    `json:"limit"`
	Since  string `json:"since"`
	Filter struct {
		Term  string    `json:"generic_search_term"`
		Types []*string `json:"room_types"`
	} `json:"filter"`
}

// SS v1.16 #post_matrixfederationv1publicrooms
func (a *API) searchPublicRooms(ctx context.Context, _ id.ServerName, req searchRoomsRequest) (room.PublicRoomsPage, error) {
	return a.cfg.Rooms.PublicRooms(ctx, room.PublicRoomsRequest{
		Limit: pageSize(req.Limit), Since: req.Since, Search: req.Filter.Term, RoomTypes: req.Filter.Types})
}

type directoryRequest struct {
	Alias id.RoomAlias `query:"room_alias" bind:"required"`
}

type directoryAnswer struct {
	Room    id.RoomID       `json:"room_id"`
	Servers []id.ServerName `json:"servers"`
}

// SS v1.16 #get_matrixfederationv1querydirectory
func (a *API) directory(ctx context.Context, _ id.ServerName, req directoryRequest) (directoryAnswer, error) {
	if req.Alias.Server() != a.cfg.Server {
		return directoryAnswer{}, mxerr.NotFound("Room alias not found")
	}
	roomID, servers, err := a.cfg.Rooms.ResolveAlias(ctx, req.Alias)
	if servers == nil {
		servers = []id.ServerName{}
	}
	return directoryAnswer{roomID, servers}, err
}

type profileRequest struct {
	User  id.UserID `query:"user_id" bind:"required"`
	Field string    `query:"field"`
}

// SS v1.16 #get_matrixfederationv1queryprofile
func (a *API) profile(ctx context.Context, _ id.ServerName, req profileRequest) (web.Raw, error) {
	if req.User.Server() != a.cfg.Server {
		return nil, mxerr.NotFound("User is not one of this server")
	}
	p, err := a.cfg.Accounts.Profile(ctx, req.User)
	if err != nil {
		return nil, err
	}
	answer, err := account.ProfileJSON(p, req.Field)
	return web.Raw(answer), err
}

type openIDRequest struct {
	Token string `query:"access_token" bind:"required"`
}

type openIDAnswer struct {
	Sub id.UserID `json:"sub"`
}

// SS v1.16 #get_matrixfederationv1openiduserinfo
func (a *API) userInfo(ctx context.Context, req openIDRequest) (openIDAnswer, error) {
	user, err := a.cfg.Accounts.OpenIDUser(ctx, req.Token)
	return openIDAnswer{user}, err
}

type devicesRequest struct {
	User id.UserID `path:"userId"`
}

// SS v1.16 #get_matrixfederationv1userdevicesuserid
func (a *API) userDevices(ctx context.Context, _ id.ServerName, req devicesRequest) (web.Raw, error) {
	answer, err := a.cfg.Devices.DevicesFor(ctx, req.User)
	return answer, err
}

type claimRequest struct {
	Wanted e2ee.ClaimWanted `json:"one_time_keys"`
}

// SS v1.16 #post_matrixfederationv1userkeysclaim
func (a *API) claimKeys(ctx context.Context, _ id.ServerName, req claimRequest) (web.Raw, error) {
	answer, err := a.cfg.Devices.ClaimFor(ctx, req.Wanted)
	return answer, err
}

type queryRequest struct {
	Wanted e2ee.Wanted `json:"device_keys"`
}

// SS v1.16 #post_matrixfederationv1userkeysquery
func (a *API) queryKeys(ctx context.Context, _ id.ServerName, req queryRequest) (web.Raw, error) {
	answer, err := a.cfg.Devices.QueryFor(ctx, req.Wanted)
	return answer, err
}

type hierarchyRequest struct {
	Room          id.RoomID `path:"roomId"`
	SuggestedOnly bool      `query:"suggested_only"`
}

type hierarchyAnswer struct {
	Room         json.RawMessage   `json:"room"`
	Children     []json.RawMessage `json:"children"`
	Inaccessible []id.RoomID       `json:"inaccessible_children"`
}

// maxChildren is how many children of a space are described; clients ask again for one that is missing.
const maxChildren = 100

// hierarchy describes a space and its direct children as far as a user of the origin could see them.
// SS v1.16 #get_matrixfederationv1hierarchyroomid
func (a *API) hierarchy(ctx context.Context, origin id.ServerName, req hierarchyRequest) (hierarchyAnswer, error) {
	answer := hierarchyAnswer{Children: []json.RawMessage{}, Inaccessible: []id.RoomID{}}
	top, err := a.cfg.Rooms.SummaryForServer(ctx, origin, req.Room)
	if err != nil {
		return answer, err
	}
	var children []*room.Event
	for _, child := range top.Children {
		if suggested, _ := canonical.GetBool(child.Content, "suggested"); suggested || !req.SuggestedOnly {
			children = append(children, child)
		}
	}
	top.Children = children
	if answer.Room, err = describe(top); err != nil {
		return answer, err
	}
	for _, child := range children[:min(len(children), maxChildren)] {
		roomID, err := id.ParseRoomID(*child.StateKey)
		if err != nil {
			continue
		}
		here, err := a.cfg.Rooms.Room(ctx, roomID)
		if err != nil || !here.Here {
			continue // others are asked for it
		}
		detail, err := a.cfg.Rooms.SummaryForServer(ctx, origin, roomID)
		if _, refused := mxerr.As(err); refused {
			answer.Inaccessible = append(answer.Inaccessible, roomID)
			continue
		}
		if err != nil {
			return answer, err
		}
		described, err := describe(detail)
		if err != nil {
			return answer, err
		}
		answer.Children = append(answer.Children, described)
	}
	return answer, nil
}

// describe writes a room as hierarchy answers do.
func describe(d room.SummaryDetail) (json.RawMessage, error) {
	children := make([]json.RawMessage, 0, len(d.Children))
	for _, child := range d.Children {
		// Clients sort children by the time, so it goes along. CS v1.16 #ordering-of-children-within-a-space
		stripped := child.Stripped()
		stripped = append(stripped[:len(stripped)-1], `,"origin_server_ts":`...)
		children = append(children, append(strconv.AppendInt(stripped, child.OriginServerTS, 10), '}'))
	}
	return json.Marshal(struct {
		room.Summary
		Version    string            `json:"room_version,omitempty"`
		Encryption string            `json:"encryption,omitempty"`
		Allowed    []id.RoomID       `json:"allowed_room_ids,omitempty"`
		Children   []json.RawMessage `json:"children_state"`
	}{d.Summary, d.Version, d.Encryption, d.AllowedRooms, children})
}
