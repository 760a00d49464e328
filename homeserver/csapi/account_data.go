package csapi

import (
	"context"
	"encoding/json"

	"konsil/homeserver/account"
	"konsil/kit/web"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) accountDataRoutes() []row {
	return []row{
		{endpoint.SetAccountData, user(a.setAccountData), limitWrite},
		{endpoint.GetAccountData, user(a.accountData), limitRead},
		{endpoint.DeleteAccountData, user(a.deleteAccountData), limitWrite},
		{endpoint.SetAccountDataPerRoom, user(a.setAccountData), limitWrite},
		{endpoint.GetAccountDataPerRoom, user(a.accountData), limitRead},
		{endpoint.DeleteAccountDataPerRoom, user(a.deleteAccountData), limitWrite},
		{endpoint.GetRoomTags, user(a.tags), limitRead},
		{endpoint.SetRoomTag, user(a.setTag), limitWrite},
		{endpoint.DeleteRoomTag, user(a.deleteTag), limitWrite},
		{endpoint.DefineFilter, user(a.defineFilter), limitWrite},
		{endpoint.GetFilter, user(a.filter), limitRead},
	}
}

// own refuses what users may do for themselves only.
func own(caller account.Caller, user id.UserID) error {
	if caller.User != user {
		return mxerr.Forbidden("You can only do this for yourself")
	}
	return nil
}

// accountDataPath is global without a room.
type accountDataPath struct {
	User id.UserID       `path:"userId"`
	Room id.RoomID       `path:"roomId"`
	Type string          `path:"type"`
	Body json.RawMessage `body:"raw"`
}

func (a *API) setAccountData(ctx context.Context, caller account.Caller, req accountDataPath) (None, error) {
	if err := own(caller, req.User); err != nil {
		return None{}, err
	}
	return None{}, a.Accounts.SetAccountData(ctx, caller.User, req.Room, req.Type, req.Body)
}

func (a *API) accountData(ctx context.Context, caller account.Caller, req accountDataPath) (web.Raw, error) {
	if err := own(caller, req.User); err != nil {
		return nil, err
	}
	if req.Room == "" && req.Type == "m.push_rules" {
		return a.pushRules(ctx, caller, None{}) // kept elsewhere, read here as well. CS v1.16 #push-rules-events
	}
	content, err := a.Accounts.AccountData(ctx, caller.User, req.Room, req.Type)
	return web.Raw(content), err
}

func (a *API) deleteAccountData(ctx context.Context, caller account.Caller, req accountDataPath) (None, error) {
	if err := own(caller, req.User); err != nil {
		return None{}, err
	}
	return None{}, a.Accounts.DeleteAccountData(ctx, caller.User, req.Room, req.Type)
}

type tagPath struct {
	User id.UserID       `path:"userId"`
	Room id.RoomID       `path:"roomId"`
	Tag  string          `path:"tag"`
	Body json.RawMessage `body:"raw"`
}

type tagsResponse struct {
	Tags map[string]json.RawMessage `json:"tags"`
}

func (a *API) tags(ctx context.Context, caller account.Caller, req tagPath) (tagsResponse, error) {
	if err := own(caller, req.User); err != nil {
		return tagsResponse{}, err
	}
	tags, err := a.Accounts.Tags(ctx, caller.User, req.Room)
	return tagsResponse{tags}, err
}

func (a *API) setTag(ctx context.Context, caller account.Caller, req tagPath) (None, error) {
	if err := own(caller, req.User); err != nil {
		return None{}, err
	}
	if len(req.Body) == 0 {
		req.Body = json.RawMessage("{}") // a tag without order; clients send it so
	}
	return None{}, a.Accounts.SetTag(ctx, caller.User, req.Room, req.Tag, req.Body)
}

func (a *API) deleteTag(ctx context.Context, caller account.Caller, req tagPath) (None, error) {
	if err := own(caller, req.User); err != nil {
		return None{}, err
	}
	return None{}, a.Accounts.DeleteTag(ctx, caller.User, req.Room, req.Tag)
}

type filterPath struct {
	User   id.UserID       `path:"userId"`
	Filter string          `path:"filterId"`
	Body   json.RawMessage `body:"raw"`
}

type filterResponse struct {
	Filter string `json:"filter_id"`
}

func (a *API) defineFilter(ctx context.Context, caller account.Caller, req filterPath) (filterResponse, error) {
	if err := own(caller, req.User); err != nil {
		return filterResponse{}, err
	}
	filterID, err := a.Accounts.DefineFilter(ctx, caller.User, req.Body)
	return filterResponse{filterID}, err
}

func (a *API) filter(ctx context.Context, caller account.Caller, req filterPath) (web.Raw, error) {
	if err := own(caller, req.User); err != nil {
		return nil, err
	}
	definition, err := a.Accounts.FilterJSON(ctx, caller.User, req.Filter)
	return web.Raw(definition), err
}
