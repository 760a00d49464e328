package csapi

import (
	"context"
	"encoding/json"
	"time"

	"konsil/homeserver/account"
	"konsil/homeserver/e2ee"
	"konsil/homeserver/room"
	"konsil/kit/web"
	"konsil/matrix/endpoint"
	"konsil/matrix/mxerr"
)

func (a *API) keyRoutes() []row {
	return []row{
		{endpoint.UploadKeys, user(a.uploadKeys), limitKeys},
		{endpoint.QueryKeys, user(a.queryKeys), limitKeys},
		{endpoint.ClaimKeys, user(a.claimKeys), limitKeys},
		{endpoint.GetKeysChanges, user(a.keysChanges), limitSearch},
	}
}

type uploadKeysRequest struct {
	DeviceKeys   json.RawMessage `json:"device_keys"`
	OneTimeKeys  json.RawMessage `json:"one_time_keys"`
	FallbackKeys json.RawMessage `json:"fallback_keys"`
}

type uploadKeysResponse struct {
	Counts map[string]int64 `json:"one_time_key_counts"`
}

func (a *API) uploadKeys(ctx context.Context, caller account.Caller, req uploadKeysRequest) (uploadKeysResponse, error) {
	counts, err := a.E2EE.Upload(ctx, caller.User, caller.Device, e2ee.Upload(req))
	return uploadKeysResponse{counts}, err
}

type queryKeysRequest struct {
	Keys    e2ee.Wanted `json:"device_keys"`
	Timeout int64       `json:"timeout"` // ms
}

func (a *API) queryKeys(ctx context.Context, caller account.Caller, req queryKeysRequest) (web.Raw, error) {
	if req.Keys == nil {
		return nil, mxerr.MissingParam("Missing parameter device_keys")
	}
	return a.E2EE.Query(ctx, caller.User, req.Keys, time.Duration(req.Timeout)*time.Millisecond)
}

type claimKeysRequest struct {
	Keys    e2ee.ClaimWanted `json:"one_time_keys"`
	Timeout int64            `json:"timeout"` // ms
}

func (a *API) claimKeys(ctx context.Context, _ account.Caller, req claimKeysRequest) (web.Raw, error) {
	if req.Keys == nil {
		return nil, mxerr.MissingParam("Missing parameter one_time_keys")
	}
	return a.E2EE.Claim(ctx, req.Keys, time.Duration(req.Timeout)*time.Millisecond)
}

type keysChangesRequest struct {
	From string `query:"from" bind:"required"`
	To   string `query:"to" bind:"required"`
}

// keysChanges tells what /sync has told between two tokens. CS v1.16 #get_matrixclientv3keyschanges
func (a *API) keysChanges(ctx context.Context, caller account.Caller, req keysChangesRequest) (e2ee.Changes, error) {
	from, err := room.ParseToken(req.From)
	if err != nil || !from.Sync {
		return e2ee.Changes{}, mxerr.InvalidParam("Invalid value for from")
	}
	to, err := room.ParseToken(req.To)
	if err != nil || !to.Sync {
		return e2ee.Changes{}, mxerr.InvalidParam("Invalid value for to")
	}
	return a.E2EE.Changes(ctx, caller.User, from.Pos, to.Pos)
}
