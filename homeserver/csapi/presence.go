package csapi

import (
	"context"

	"konsil/homeserver/account"
	"konsil/kit/web"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) presenceRoutes() []row {
	return []row{
		{endpoint.SetPresence, user(a.setPresence), limitWrite},
		{endpoint.GetPresence, user(a.presence), limitRead},
	}
}

type setPresenceRequest struct {
	User     id.UserID `path:"userId"`
	Presence string    `json:"presence" bind:"required"`
	Status   *string   `json:"status_msg"`
}

func (a *API) setPresence(ctx context.Context, caller account.Caller, req setPresenceRequest) (None, error) {
	if req.User != caller.User {
		return None{}, mxerr.Forbidden("Presence is a user's own to set")
	}
	return None{}, a.Ephemeral.SetPresence(ctx, req.User, req.Presence, req.Status)
}

type presencePath struct {
	User id.UserID `path:"userId"`
}

func (a *API) presence(ctx context.Context, caller account.Caller, req presencePath) (web.Raw, error) {
	return a.Ephemeral.GetPresence(ctx, caller.User, req.User)
}
