package csapi

import (
	"context"
	"encoding/json"

	"konsil/homeserver/account"
	"konsil/homeserver/push"
	"konsil/homeserver/room"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) pusherRoutes() []row {
	return []row{
		{endpoint.GetNotifications, user(a.notifications), limitSearch},
		{endpoint.GetPushers, user(a.pushers), limitRead},
		{endpoint.PostPusher, user(a.setPusher), limitWrite},
	}
}

type pushersResponse struct {
	Pushers []push.Pusher `json:"pushers"`
}

func (a *API) pushers(ctx context.Context, caller account.Caller, _ None) (pushersResponse, error) {
	all, err := a.Push.Pushers(ctx, caller.User)
	return pushersResponse{all}, err
}

type setPusherRequest struct {
	Kind              *string         `json:"kind"` // null deletes
	AppID             string          `json:"app_id" bind:"required"`
	PushKey           string          `json:"pushkey" bind:"required"`
	AppDisplayName    *string         `json:"app_display_name"`
	DeviceDisplayName *string         `json:"device_display_name"`
	ProfileTag        string          `json:"profile_tag"`
	Lang              *string         `json:"lang"`
	Data              json.RawMessage `json:"data"`
	Append            bool            `json:"append"`
}

// setPusher adds, changes or deletes a pusher. CS v1.16 #post_matrixclientv3pushersset
func (a *API) setPusher(ctx context.Context, caller account.Caller, req setPusherRequest) (None, error) {
	if req.Kind == nil {
		return None{}, a.Push.DeletePusher(ctx, caller.User, req.AppID, req.PushKey)
	}
	if req.AppDisplayName == nil || req.DeviceDisplayName == nil || req.Lang == nil || req.Data == nil {
		return None{}, mxerr.MissingParam("app_display_name, device_display_name, lang and data are required")
	}
	return None{}, a.Push.SetPusher(ctx, caller.User, caller.Device, push.Pusher{
		PushKey: req.PushKey, Kind: *req.Kind, AppID: req.AppID, AppDisplayName: *req.AppDisplayName,
		DeviceDisplayName: *req.DeviceDisplayName, ProfileTag: req.ProfileTag, Lang: *req.Lang, Data: req.Data,
	}, req.Append)
}

type notificationsRequest struct {
	From  string `query:"from"`
	Limit int    `query:"limit"`
	Only  string `query:"only"`
}

type notificationsResponse struct {
	Notifications []notificationInfo `json:"notifications"`
	Next          string             `json:"next_token,omitempty"`
}

type notificationInfo struct {
	Actions []json.RawMessage `json:"actions"`
	Event   json.RawMessage   `json:"event"`
	Read    bool              `json:"read"`
	Room    id.RoomID         `json:"room_id"`
	TS      int64             `json:"ts"`
}

// notifications lists what the user was notified of, newest first. CS v1.16 #get_matrixclientv3notifications
func (a *API) notifications(ctx context.Context, caller account.Caller, req notificationsRequest) (notificationsResponse, error) {
	resp := notificationsResponse{Notifications: []notificationInfo{}}
	page, err := a.Push.Notifications(ctx, caller.User, req.From, req.Limit, req.Only == "highlight")
	if err != nil || len(page.Notified) == 0 {
		resp.Next = page.Next
		return resp, err
	}
	events := make([]*room.Event, len(page.Notified))
	for i, n := range page.Notified {
		events[i] = n.Event
	}
	texts, err := a.Rooms.ClientEvents(ctx, room.Format{Viewer: room.Viewer{User: caller.User, Device: caller.Device}}, events)
	if err != nil {
		return resp, err
	}
	for i, n := range page.Notified {
		resp.Notifications = append(resp.Notifications, notificationInfo{
			Actions: n.Actions, Event: texts[i], Read: n.Read, Room: n.Event.RoomID, TS: n.Event.OriginServerTS})
	}
	resp.Next = page.Next
	return resp, nil
}
