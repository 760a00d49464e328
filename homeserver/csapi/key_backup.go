package csapi

import (
	"context"
	"encoding/json"
	"net/http"

	"konsil/homeserver/account"
	"konsil/homeserver/e2ee"
	"konsil/kit/web"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) keyBackupRoutes() []row {
	return []row{
		{endpoint.PostRoomKeysVersion, user(a.createBackup), limitWrite},
		{endpoint.GetRoomKeysVersionCurrent, user(a.currentBackup), limitRead},
		{endpoint.GetRoomKeysVersion, user(a.backup), limitRead},
		{endpoint.PutRoomKeysVersion, user(a.updateBackup), limitWrite},
		{endpoint.DeleteRoomKeysVersion, user(a.deleteBackup), limitWrite},
		{endpoint.PutRoomKeyBySessionId, user(a.putSession), limitKeys},
		{endpoint.GetRoomKeyBySessionId, user(a.backupSession), limitRead},
		{endpoint.DeleteRoomKeyBySessionId, user(a.dropSessions), limitWrite},
		{endpoint.PutRoomKeysByRoomId, user(a.putRoomSessions), limitKeys},
		{endpoint.GetRoomKeysByRoomId, user(a.backupSessions), limitSearch},
		{endpoint.DeleteRoomKeysByRoomId, user(a.dropSessions), limitWrite},
		{endpoint.PutRoomKeys, user(a.putAllSessions), limitKeys},
		{endpoint.GetRoomKeys, user(a.backupSessions), limitSearch},
		{endpoint.DeleteRoomKeys, user(a.dropSessions), limitWrite},
	}
}

type createBackupRequest struct {
	Algorithm string          `json:"algorithm"`
	AuthData  json.RawMessage `json:"auth_data"`
}

type createBackupResponse struct {
	Version string `json:"version"`
}

func (a *API) createBackup(ctx context.Context, caller account.Caller, req createBackupRequest) (createBackupResponse, error) {
	version, err := a.E2EE.CreateBackup(ctx, caller.User, req.Algorithm, req.AuthData)
	return createBackupResponse{version}, err
}

func (a *API) currentBackup(ctx context.Context, caller account.Caller, _ None) (e2ee.BackupVersion, error) {
	return a.E2EE.Backup(ctx, caller.User, "")
}

type backupPath struct {
	Version string `path:"version"`
}

func (a *API) backup(ctx context.Context, caller account.Caller, req backupPath) (e2ee.BackupVersion, error) {
	return a.E2EE.Backup(ctx, caller.User, req.Version)
}

type updateBackupRequest struct {
	Version   string          `path:"version"`
	Named     string          `json:"version"`
	Algorithm string          `json:"algorithm"`
	AuthData  json.RawMessage `json:"auth_data"`
}

func (a *API) updateBackup(ctx context.Context, caller account.Caller, req updateBackupRequest) (None, error) {
	return None{}, a.E2EE.UpdateBackup(ctx, caller.User, req.Version, req.Named, req.Algorithm, req.AuthData)
}

func (a *API) deleteBackup(ctx context.Context, caller account.Caller, req backupPath) (None, error) {
	return None{}, a.E2EE.DeleteBackup(ctx, caller.User, req.Version)
}

// sessionsPath names a session, or with "" for the session all of a room, or with "" for both all there are.
type sessionsPath struct {
	Room    id.RoomID `path:"roomId"`
	Session string    `path:"sessionId"`
	Version string    `query:"version" bind:"required"`
}

type putSessionRequest struct {
	Room    id.RoomID       `path:"roomId"`
	Session string          `path:"sessionId"`
	Version string          `query:"version" bind:"required"`
	Body    json.RawMessage `body:"raw"`
}

func (a *API) putSession(ctx context.Context, caller account.Caller, req putSessionRequest) (e2ee.BackupState, error) {
	var session e2ee.SessionJSON
	if err := json.Unmarshal(req.Body, &session); err != nil {
		return e2ee.BackupState{}, mxerr.BadJSON("The body is no session")
	}
	return a.E2EE.PutSessions(ctx, caller.User, req.Version, e2ee.RoomSessions{req.Room: {req.Session: session}})
}

type putRoomSessionsRequest struct {
	Room     id.RoomID                   `path:"roomId"`
	Version  string                      `query:"version" bind:"required"`
	Sessions map[string]e2ee.SessionJSON `json:"sessions"`
}

func (a *API) putRoomSessions(ctx context.Context, caller account.Caller, req putRoomSessionsRequest) (e2ee.BackupState, error) {
	return a.E2EE.PutSessions(ctx, caller.User, req.Version, e2ee.RoomSessions{req.Room: req.Sessions})
}

type roomSessions struct {
	Sessions map[string]e2ee.SessionJSON `json:"sessions"`
}

type putAllSessionsRequest struct {
	Version string                     `query:"version" bind:"required"`
	Rooms   map[id.RoomID]roomSessions `json:"rooms"`
}

func (a *API) putAllSessions(ctx context.Context, caller account.Caller, req putAllSessionsRequest) (e2ee.BackupState, error) {
	all := make(e2ee.RoomSessions, len(req.Rooms))
	for room, sessions := range req.Rooms {
		all[room] = sessions.Sessions
	}
	return a.E2EE.PutSessions(ctx, caller.User, req.Version, all)
}

func (a *API) backupSession(ctx context.Context, caller account.Caller, req sessionsPath) (web.Raw, error) {
	return a.E2EE.Session(ctx, caller.User, req.Version, req.Room, req.Session)
}

// backupSessions streams: a backup of years is larger than what one answer may hold in memory.
func (a *API) backupSessions(ctx context.Context, caller account.Caller, req sessionsPath) (web.Stream, error) {
	body, err := a.E2EE.Sessions(ctx, caller.User, req.Version, req.Room)
	return web.Stream{Header: http.Header{"Content-Type": {"application/json"}}, Size: -1, Body: body}, err
}

func (a *API) dropSessions(ctx context.Context, caller account.Caller, req sessionsPath) (e2ee.BackupState, error) {
	return a.E2EE.DropSessions(ctx, caller.User, req.Version, req.Room, req.Session)
}
