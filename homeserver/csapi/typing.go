package csapi

import (
	"context"
	"time"

	"konsil/homeserver/account"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) typingRoutes() []row {
	return []row{
		{endpoint.SetTyping, user(a.setTyping), limitWrite},
	}
}

type typingRequest struct {
	Room    id.RoomID `path:"roomId"`
	User    id.UserID `path:"userId"`
	Typing  *bool     `json:"typing"`
	Timeout int64     `json:"timeout"` // ms
}

func (a *API) setTyping(ctx context.Context, caller account.Caller, req typingRequest) (None, error) {
	if req.User != caller.User {
		return None{}, mxerr.Forbidden("Nobody types for somebody else")
	}
	if req.Typing == nil {
		return None{}, mxerr.MissingParam("Missing parameter typing")
	}
	tell, err := a.Ephemeral.SetTyping(ctx, req.Room, req.User, *req.Typing, time.Duration(req.Timeout)*time.Millisecond)
	if err == nil && tell && a.Federation != nil {
		err = a.Federation.Sender.Typing(ctx, req.Room, req.User, *req.Typing)
	}
	return None{}, err
}
