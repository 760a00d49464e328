package csapi

import (
	"context"
	"strings"

	"konsil/homeserver/account"
	"konsil/homeserver/room"
	"konsil/kit/obs"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) roomCreationRoutes() []row {
	return []row{
		{endpoint.CreateRoom, active(a.createRoom), limitCreate},
		{endpoint.UpgradeRoom, active(a.upgradeRoom), limitCreate},
	}
}

type createRoomResponse struct {
	Room  id.RoomID    `json:"room_id"`
	Alias id.RoomAlias `json:"room_alias,omitempty"` // what Synapse answers too, and clients show
}

// createRoom makes a room. Users of other servers are invited one by one after it stands; one who cannot be reached does
// not undo it. CS v1.16 #post_matrixclientv3createroom
func (a *API) createRoom(ctx context.Context, caller account.Caller, req room.CreateRequest) (createRoomResponse, error) {
	req.Creator = caller.User
	if req.AliasName != "" {
		alias := id.RoomAlias("#" + req.AliasName + ":" + string(a.Server))
		if err := a.Accounts.CheckAlias(alias, caller.AppService); err != nil {
			return createRoomResponse{}, err
		}
	}
	made, err := a.Rooms.Create(ctx, req)
	if err != nil {
		return createRoomResponse{}, err
	}
	for _, invite := range made.Remote {
		if err := a.invite(ctx, invite); err != nil {
			a.Log.Info("invite of a new room failed", obs.KeyError, refusalCode(err))
		}
	}
	return createRoomResponse{Room: made.Room, Alias: made.Alias}, nil
}

// refusalCode is what may be logged of a refusal: its code, not its words, which may name people.
func refusalCode(err error) string {
	if e, ok := mxerr.As(err); ok {
		return e.Code
	}
	return "unreachable"
}

type upgradeRoomRequest struct {
	Room     id.RoomID   `path:"roomId"`
	Version  string      `json:"new_version"`
	Creators []id.UserID `json:"additional_creators"`
}

type upgradeRoomResponse struct {
	Replacement id.RoomID `json:"replacement_room"`
}

// upgradeRoom replaces a room by one of another version. CS v1.16 #post_matrixclientv3roomsroomidupgrade
func (a *API) upgradeRoom(ctx context.Context, caller account.Caller, req upgradeRoomRequest) (upgradeRoomResponse, error) {
	if strings.TrimSpace(req.Version) == "" {
		return upgradeRoomResponse{}, mxerr.MissingParam("Missing parameter new_version")
	}
	made, err := a.Rooms.Upgrade(ctx, caller.User, req.Room, req.Version, req.Creators)
	return upgradeRoomResponse{Replacement: made}, err
}
