package csapi

import (
	"context"
	"encoding/json"
	"net/http"

	"konsil/client/ssclient"
	"konsil/homeserver/account"
	"konsil/homeserver/room"
	"konsil/kit/web"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) profileRoutes() []row {
	return []row{
		{endpoint.GetUserProfile, public(a.profile), limitRead},
		{endpoint.GetProfileField, public(a.profileField), limitRead},
		{endpoint.SetProfileField, active(a.setProfileField), limitWrite},
		{endpoint.DeleteProfileField, active(a.deleteProfileField), limitWrite},
		{endpoint.SearchUserDirectory, user(a.searchUsers), limitSearch},
	}
}

func (a *API) profile(ctx context.Context, req userPath) (web.Raw, error) {
	return a.lookUpProfile(ctx, req.User, "")
}

type profileFieldPath struct {
	User  id.UserID `path:"userId"`
	Field string    `path:"keyName"`
}

func (a *API) profileField(ctx context.Context, req profileFieldPath) (web.Raw, error) {
	if err := account.CheckProfileField(req.Field); err != nil {
		return nil, err
	}
	return a.lookUpProfile(ctx, req.User, req.Field)
}

// lookUpProfile reads a profile or one field of it, here or at the user's server. CS v1.16 #server-behaviour
func (a *API) lookUpProfile(ctx context.Context, user id.UserID, field string) (web.Raw, error) {
	if user.Server() == a.Server {
		p, err := a.Accounts.Profile(ctx, user)
		if err != nil {
			return nil, err
		}
		document, err := account.ProfileJSON(p, field)
		return web.Raw(document), err
	}
	if a.Remote == nil {
		return nil, mxerr.NotFound("Profile not found")
	}
	fields, err := a.Remote.Profile(ctx, user, field)
	if err != nil {
		return nil, ssclient.Relay(err, mxerr.CodeNotFound, mxerr.CodeForbidden)
	}
	fields = account.CleanProfile(fields)
	if field != "" {
		value, ok := fields[field]
		if !ok {
			return nil, mxerr.NotFound("Profile field not found")
		}
		fields = map[string]json.RawMessage{field: value}
	}
	document, err := json.Marshal(fields)
	return web.Raw(document), err
}

type setProfileRequest struct {
	User      id.UserID       `path:"userId"`
	Field     string          `path:"keyName"`
	Propagate string          `query:"propagate_to"`                    // MSC4466
	Unstable  string          `query:"com.beeper.msc4466.propagate_to"` // MSC4466
	Body      json.RawMessage `body:"raw"`
}

// setProfileField changes one field of the caller's profile. CS v1.16 #put_matrixclientv3profileuseridkeyname
func (a *API) setProfileField(ctx context.Context, caller account.Caller, req setProfileRequest) (None, error) {
	var body map[string]json.RawMessage
	if err := json.Unmarshal(req.Body, &body); err != nil || body == nil {
		return None{}, mxerr.BadJSON("Content not a JSON object")
	}
	if err := account.CheckProfileField(req.Field); err != nil {
		return None{}, err
	}
	value, ok := body[req.Field]
	if !ok {
		return None{}, mxerr.MissingParam("Missing parameter %s", req.Field)
	}
	return None{}, a.changeProfile(ctx, caller, req, value)
}

func (a *API) deleteProfileField(ctx context.Context, caller account.Caller, req setProfileRequest) (None, error) {
	return None{}, a.changeProfile(ctx, caller, req, nil)
}

// changeProfile stores a field and tells the user's rooms of a new name or picture.
// CS v1.16 #events-on-change-of-profile-information
func (a *API) changeProfile(ctx context.Context, caller account.Caller, req setProfileRequest, value json.RawMessage) error {
	if req.User != caller.User {
		return mxerr.Forbidden("You can only change your own profile")
	}
	p, changed, err := a.Accounts.SetProfileField(ctx, caller.User, req.Field, value)
	if err != nil || !changed {
		return err
	}
	if req.Field != account.FieldDisplayName && req.Field != account.FieldAvatarURL {
		return nil
	}
	if req.Propagate == "none" || req.Unstable == "none" {
		return nil
	}
	// The profile is changed by now; a client that hangs up must not leave half of the rooms with the old name.
	return a.Rooms.ProfileChanged(context.WithoutCancel(ctx), caller.User, room.Profile{DisplayName: p.DisplayName, AvatarURL: p.AvatarURL})
}

type searchUsersRequest struct {
	Term  string `json:"search_term" bind:"required"`
	Limit *int   `json:"limit"`
}

type userResult struct {
	User        id.UserID `json:"user_id"`
	DisplayName string    `json:"display_name,omitempty"`
	AvatarURL   string    `json:"avatar_url,omitempty"`
}

type searchUsersResponse struct {
	Results []userResult `json:"results"`
	Limited bool         `json:"limited"`
}

const (
	defaultFoundUsers = 10
	maxFoundUsers     = 50
)

func (a *API) searchUsers(ctx context.Context, caller account.Caller, req searchUsersRequest) (searchUsersResponse, error) {
	limit := defaultFoundUsers
	if req.Limit != nil {
		if *req.Limit < 0 {
			return searchUsersResponse{}, mxerr.New(http.StatusBadRequest, mxerr.CodeInvalidParam, "limit must not be negative")
		}
		limit = min(*req.Limit, maxFoundUsers)
	}
	found, more, err := a.Accounts.SearchUsers(ctx, caller.User, req.Term, limit)
	resp := searchUsersResponse{Results: []userResult{}, Limited: more}
	for _, u := range found {
		resp.Results = append(resp.Results, userResult{u.User, u.DisplayName, u.AvatarURL})
	}
	return resp, err
}
