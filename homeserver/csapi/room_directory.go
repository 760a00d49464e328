package csapi

import (
	"context"
	"encoding/json"

	"konsil/homeserver/account"
	"konsil/homeserver/room"
	"konsil/kit/web"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) roomDirectoryRoutes() []row {
	return []row{
		{endpoint.SetRoomAlias, active(a.setRoomAlias), limitWrite},
		{endpoint.GetRoomIdByAlias, public(a.roomIDByAlias), limitRead},
		{endpoint.DeleteRoomAlias, user(a.deleteRoomAlias), limitWrite},
		{endpoint.GetLocalAliases, user(a.localAliases), limitRead},
		{endpoint.GetRoomVisibilityOnDirectory, public(a.roomVisibility), limitRead},
		{endpoint.SetRoomVisibilityOnDirectory, active(a.setRoomVisibility), limitWrite},
		{endpoint.GetPublicRooms, optional(a.publicRooms), limitSearch},
		{endpoint.QueryPublicRooms, user(a.queryPublicRooms), limitSearch},
	}
}

type aliasRequest struct {
	Alias id.RoomAlias `path:"roomAlias"`
}

type setRoomAliasRequest struct {
	Alias id.RoomAlias `path:"roomAlias"`
	Room  id.RoomID    `json:"room_id"`
}

// setRoomAlias gives a room a name. CS v1.16 #put_matrixclientv3directoryroomroomalias
func (a *API) setRoomAlias(ctx context.Context, caller account.Caller, req setRoomAliasRequest) (None, error) {
	if req.Alias.Server() != a.Server {
		return None{}, mxerr.InvalidParam("The alias is of another server")
	}
	if req.Room == "" {
		return None{}, mxerr.MissingParam("Missing parameter room_id")
	}
	if err := a.Accounts.CheckAlias(req.Alias, caller.AppService); err != nil {
		return None{}, err
	}
	return None{}, a.Rooms.CreateAlias(ctx, caller.User, req.Alias, req.Room)
}

type roomIDByAliasResponse struct {
	Room    id.RoomID       `json:"room_id"`
	Servers []id.ServerName `json:"servers"`
}

// roomIDByAlias resolves an alias, also one of another server. CS v1.16 #get_matrixclientv3directoryroomroomalias
func (a *API) roomIDByAlias(ctx context.Context, req aliasRequest) (roomIDByAliasResponse, error) {
	in, servers, err := a.resolveAlias(ctx, req.Alias)
	return roomIDByAliasResponse{Room: in, Servers: servers}, err
}

func (a *API) resolveAlias(ctx context.Context, alias id.RoomAlias) (id.RoomID, []id.ServerName, error) {
	if alias.Server() == a.Server || a.Federation == nil {
		return a.Rooms.ResolveAlias(ctx, alias)
	}
	return a.Federation.ResolveAlias(ctx, alias)
}

// deleteRoomAlias takes a name away. CS v1.16 #delete_matrixclientv3directoryroomroomalias
func (a *API) deleteRoomAlias(ctx context.Context, caller account.Caller, req aliasRequest) (None, error) {
	// A service manages all aliases of its namespace, whoever made them. AS v1.16 #server-admin-style-permissions
	owns := caller.AppService != nil && caller.AppService.CoversAlias(req.Alias)
	return None{}, a.Rooms.DeleteAlias(ctx, caller.User, req.Alias, caller.Admin || owns)
}

type localAliasesResponse struct {
	Aliases []id.RoomAlias `json:"aliases"`
}

// localAliases lists a room's names on this server. CS v1.16 #get_matrixclientv3roomsroomidaliases
func (a *API) localAliases(ctx context.Context, caller account.Caller, req roomRequest) (localAliasesResponse, error) {
	aliases, err := a.Rooms.AliasesOf(ctx, caller.User, req.Room)
	if aliases == nil {
		aliases = []id.RoomAlias{}
	}
	return localAliasesResponse{aliases}, err
}

// checkAliases refuses a canonical alias event that names what does not lead to the room.
// CS v1.16 #mroomcanonical_alias
func (a *API) checkAliases(ctx context.Context, in id.RoomID, content json.RawMessage) error {
	var next, now aliasContent
	if err := json.Unmarshal(content, &next); err != nil {
		return mxerr.InvalidParam("Invalid m.room.canonical_alias")
	}
	held, err := a.Rooms.StateEvent(ctx, in, "m.room.canonical_alias", "")
	if err != nil {
		return err
	}
	if held != nil {
		_ = json.Unmarshal(held.Content, &now) // what is nonsense there names no alias
	}
	known := map[string]bool{}
	for _, alias := range now.all() {
		known[alias] = true
	}
	for _, text := range next.all() {
		if known[text] {
			continue // it may be broken by now; taking another away must still be possible
		}
		alias, err := id.ParseRoomAlias(text)
		if err != nil {
			return mxerr.InvalidParam("Invalid room alias")
		}
		if leads, _, err := a.resolveAlias(ctx, alias); err != nil || leads != in {
			return mxerr.New(400, mxerr.CodeBadAlias, "The alias does not lead to this room")
		}
	}
	return nil
}

type aliasContent struct {
	Alias      string   `json:"alias"`
	AltAliases []string `json:"alt_aliases"`
}

func (c aliasContent) all() []string {
	if c.Alias == "" {
		return c.AltAliases
	}
	return append([]string{c.Alias}, c.AltAliases...)
}

type visibilityResponse struct {
	Visibility string `json:"visibility"`
}

// roomVisibility says whether a room is in the directory. CS v1.16 #get_matrixclientv3directorylistroomroomid
func (a *API) roomVisibility(ctx context.Context, req roomRequest) (visibilityResponse, error) {
	published, err := a.Rooms.Published(ctx, req.Room)
	if published {
		return visibilityResponse{"public"}, err
	}
	return visibilityResponse{"private"}, err
}

type setVisibilityRequest struct {
	Room       id.RoomID `path:"roomId"`
	Visibility string    `json:"visibility"`
}

// setRoomVisibility lists a room in the directory or takes it out. CS v1.16 #put_matrixclientv3directorylistroomroomid
func (a *API) setRoomVisibility(ctx context.Context, caller account.Caller, req setVisibilityRequest) (None, error) {
	switch req.Visibility {
	case "", "public", "private":
	default:
		return None{}, mxerr.InvalidParam("Invalid value for visibility")
	}
	return None{}, a.Rooms.SetPublished(ctx, caller.User, req.Room, req.Visibility != "private", caller.Admin)
}

type publicRoomsQuery struct {
	Limit  *int          `query:"limit"`
	Since  string        `query:"since"`
	Server id.ServerName `query:"server"`
}

// publicRooms reads a page of the room directory, also another server's. CS v1.16 #get_matrixclientv3publicrooms
func (a *API) publicRooms(ctx context.Context, _ account.Caller, req publicRoomsQuery) (any, error) {
	return a.listPublicRooms(ctx, req.Server, room.PublicRoomsRequest{Limit: directoryLimit(req.Limit), Since: req.Since})
}

type queryPublicRoomsRequest struct {
	Server id.ServerName `query:"server"`
	Limit  *int          `json:"limit"`
	Since  string        `json:"since"`
	Filter struct {
		Search    string    `json:"generic_search_term"`
		RoomTypes []*string `json:"room_types"`
	} `json:"filter"`
}

// queryPublicRooms searches the room directory. CS v1.16 #post_matrixclientv3publicrooms
func (a *API) queryPublicRooms(ctx context.Context, _ account.Caller, req queryPublicRoomsRequest) (any, error) {
	return a.listPublicRooms(ctx, req.Server, room.PublicRoomsRequest{
		Limit: directoryLimit(req.Limit), Since: req.Since, Search: req.Filter.Search, RoomTypes: req.Filter.RoomTypes,
	})
}

// directoryLimit bounds a page of the directory; who names no limit gets a generous one.
func directoryLimit(asked *int) int {
	const most = 500
	if asked == nil || *asked <= 0 || *asked > most {
		return most
	}
	return *asked
}

func (a *API) listPublicRooms(ctx context.Context, of id.ServerName, req room.PublicRoomsRequest) (any, error) {
	if of != "" && of != a.Server && a.Federation != nil {
		return a.remotePublicRooms(ctx, of, req)
	}
	return a.Rooms.PublicRooms(ctx, req)
}

// directoryQuery is what another server is asked. SS v1.16 #post_matrixfederationv1publicrooms
type directoryQuery struct {
	Limit  int              `json:"limit"`
	Since  string           `json:"since,omitempty"`
	Filter *directoryFilter `json:"filter,omitempty"`
}

type directoryFilter struct {
	Search    string    `json:"generic_search_term,omitempty"`
	RoomTypes []*string `json:"room_types,omitempty"`
}

func (a *API) remotePublicRooms(ctx context.Context, of id.ServerName, req room.PublicRoomsRequest) (web.Raw, error) {
	query := directoryQuery{Limit: req.Limit, Since: req.Since}
	if req.Search != "" || req.RoomTypes != nil {
		query.Filter = &directoryFilter{Search: req.Search, RoomTypes: req.RoomTypes}
	}
	body, err := json.Marshal(query)
	if err != nil {
		return nil, err
	}
	rooms, err := a.Federation.PublicRooms(ctx, of, body)
	return web.Raw(rooms), err
}
