package csapi

import (
	"context"
	"net/http"

	"konsil/homeserver/account"
	"konsil/matrix/canonical"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// loginByService is how application services register and log in users of their namespace.
// AS v1.16 #server-admin-style-permissions
const loginByService = "m.login.application_service"

func (a *API) appServiceRoutes() []row {
	if a.Services == nil {
		return nil
	}
	return []row{{endpoint.PingAppservice, user(a.pingAppService), limitProve}}
}

type pingRequest struct {
	Service string `path:"appserviceId"`
	TxnID   string `json:"transaction_id"`
}

type pingResponse struct {
	Duration int64 `json:"duration_ms"`
}

// pingAppService lets a service find out whether we reach it. AS v1.16 #post_matrixclientv1appserviceappserviceidping
func (a *API) pingAppService(ctx context.Context, caller account.Caller, req pingRequest) (pingResponse, error) {
	if caller.AppService == nil || caller.AppService.ID != req.Service {
		return pingResponse{}, mxerr.Forbidden("The access token is not that of this application service")
	}
	took, err := a.Services.Ping(ctx, caller.AppService, req.TxnID)
	return pingResponse{took.Milliseconds()}, err
}

// byService serves an endpoint that anybody may call and application services with their as_token; service is nil for
// everybody else.
func byService[Req, Resp any](fn func(ctx context.Context, service *account.AppService, req Req) (Resp, error)) handler {
	return func(a *API, rw row, w http.ResponseWriter, r *http.Request) {
		service := a.Accounts.AppServiceOf(bearer(r))
		resp, err := func() (resp Resp, err error) {
			if service == nil || service.Limited {
				if err = a.allow(rw.limit, a.peer(r).String()); err != nil {
					return resp, err
				}
			}
			req, err := bind[Req](rw, r)
			if err != nil {
				return resp, err
			}
			return fn(r.Context(), service, req)
		}()
		a.respond(w, r, resp, err)
	}
}

// needService refuses who claims to be a service without showing it.
func (a *API) needService(service *account.AppService) error {
	if service == nil {
		return mxerr.UnknownToken(false)
	}
	return nil
}

// authenticate says who makes a request: the owner of the access token, or the user whom a service acts for.
// AS v1.16 #identity-assertion
func (a *API) authenticate(r *http.Request, token string) (account.Caller, error) {
	service := a.Accounts.AppServiceOf(token)
	if service == nil {
		return a.Accounts.Authenticate(r.Context(), token)
	}
	if a.Services != nil {
		a.Services.Contact(service)
	}
	query := r.URL.Query()
	device := query.Get("device_id")
	if device == "" {
		device = query.Get("org.matrix.msc3202.device_id") // MSC4326, before it had a name of its own
	}
	return a.Accounts.ActAs(r.Context(), service, id.UserID(query.Get("user_id")), id.DeviceID(device))
}

// limited says whether the rate limits hold for what a service does: never for its own user. AS v1.16 #registration
func limited(caller account.Caller) bool {
	return caller.AppService.Limited && caller.User != caller.AppService.Sender(caller.User.Server())
}

// registerByService makes a user whom no password opens.
func (a *API) registerByService(ctx context.Context, service *account.AppService, req registerRequest) (sessionResponse, error) {
	if err := a.needService(service); err != nil {
		return sessionResponse{}, err
	}
	if req.Username == "" {
		return sessionResponse{}, mxerr.MissingParam("Missing parameter username")
	}
	return a.registered(ctx, req.InhibitLogin, req.sessionRequest, func() (id.UserID, error) {
		return a.Accounts.Register(ctx, account.NewAccount{Localpart: req.Username, Service: service})
	})
}

// massaged is the time a sent event shall carry, 0 for now. Only services may choose one. AS v1.16 #timestamp-massaging
func massaged(caller account.Caller, ts int64) (int64, error) {
	if caller.AppService == nil {
		return 0, nil
	}
	if ts < 0 || ts > canonical.MaxInt {
		return 0, mxerr.InvalidParam("Invalid value for ts")
	}
	return ts, nil
}
