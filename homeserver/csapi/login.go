package csapi

import (
	"context"
	"encoding/json"

	"konsil/homeserver/account"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) loginRoutes() []row {
	return []row{
		{endpoint.GetLoginFlows, public(a.loginFlows), limitRead},
		{endpoint.Login, byService(a.login), limitLogin},
		{endpoint.GenerateLoginToken, user(a.generateLoginToken), limitProve},
		{endpoint.Refresh, public(a.refresh), limitLogin},
		{endpoint.Logout, evenLocked(a.logout), limitWrite},
		{endpoint.Logout_all, evenLocked(a.logoutAll), limitWrite},
		{endpoint.GetTokenOwner, user(a.whoami), limitRead},
	}
}

type loginFlow struct {
	Type          string `json:"type"`
	GetLoginToken bool   `json:"get_login_token,omitempty"`
}

type loginFlows struct {
	Flows []loginFlow `json:"flows"`
}

func (a *API) loginFlows(context.Context, None) (loginFlows, error) {
	flows := []loginFlow{{Type: "m.login.password"}, {Type: "m.login.token", GetLoginToken: true}}
	if len(a.Accounts.AppServices) > 0 {
		flows = append(flows, loginFlow{Type: loginByService})
	}
	return loginFlows{flows}, nil
}

type loginRequest struct {
	Type       string             `json:"type" bind:"required"`
	Identifier account.Identifier `json:"identifier"`
	User       string             `json:"user"`   // deprecated identifier
	Medium     string             `json:"medium"` // deprecated identifier
	Password   string             `json:"password"`
	Token      string             `json:"token"`
	sessionRequest
}

// sessionRequest is what login and registration take alike.
type sessionRequest struct {
	Device     id.DeviceID `json:"device_id"`
	DeviceName string      `json:"initial_device_display_name"`
	Refresh    bool        `json:"refresh_token"`
}

func (r sessionRequest) ask() account.NewSession {
	return account.NewSession{Device: r.Device, DeviceName: r.DeviceName, Refresh: r.Refresh}
}

// sessionResponse is the answer of login, registration and refresh.
type sessionResponse struct {
	User         id.UserID      `json:"user_id,omitempty"`
	HomeServer   id.ServerName  `json:"home_server,omitempty"` // deprecated, but there are clients that read it
	Device       id.DeviceID    `json:"device_id,omitempty"`
	AccessToken  string         `json:"access_token,omitempty"`
	RefreshToken string         `json:"refresh_token,omitempty"`
	ExpiresIn    int64          `json:"expires_in_ms,omitempty"`
	WellKnown    map[string]any `json:"well_known,omitempty"`
}

func (a *API) sessionOf(s account.Session) sessionResponse {
	r := sessionResponse{
		User: s.User, HomeServer: a.Server, Device: s.Device,
		AccessToken: s.AccessToken, RefreshToken: s.RefreshToken, ExpiresIn: s.Expires.Milliseconds(),
	}
	if a.Discovery.BaseURL != "" {
		r.WellKnown = a.wellKnown(a.Discovery.BaseURL)
	}
	return r
}

// login gives somebody who proves who they are a session. CS v1.16 #post_matrixclientv3login
func (a *API) login(ctx context.Context, service *account.AppService, req loginRequest) (sessionResponse, error) {
	var user id.UserID
	var err error
	switch req.Type {
	case "m.login.password":
		user, err = a.byPassword(ctx, req)
	case "m.login.token":
		user, err = a.Accounts.RedeemLoginToken(req.Token)
	case loginByService:
		if err = a.needService(service); err == nil {
			user, err = a.Accounts.LoginUser(service, req.name())
		}
	default:
		err = mxerr.Unknown("Unknown login type")
	}
	if err != nil {
		return sessionResponse{}, err
	}
	s, err := a.Accounts.Login(ctx, user, req.ask())
	if err != nil {
		return sessionResponse{}, err
	}
	return a.sessionOf(s), nil
}

// byPassword says who somebody is by name and password. A name nobody can have costs as much as a wrong password (B10).
func (a *API) byPassword(ctx context.Context, req loginRequest) (id.UserID, error) {
	name := req.Identifier.User
	switch req.Identifier.Type {
	case "m.id.user":
	case "":
		name = req.User
		if name == "" && req.Medium == "" {
			return "", mxerr.MissingParam("Missing parameter identifier")
		}
	case "m.id.thirdparty", "m.id.phone":
		name = "" // nobody has any here. CS v1.16 #password-based
	default:
		return "", mxerr.Unknown("Unknown identifier type")
	}
	user, _ := a.Accounts.UserOf(name)
	return user, a.Accounts.CheckPassword(ctx, user, req.Password)
}

type proofRequest struct {
	Body json.RawMessage `body:"raw"`
}

// name is what the request names the user by.
func (r loginRequest) name() string {
	if r.Identifier.User != "" {
		return r.Identifier.User
	}
	return r.User
}

// prove asks for the caller's password before an operation is done. Application services have none, and full control of their
// users (AS v1.17 #device-management, #cross-signing). It gives nil when the request carries the proof, and
// otherwise the answer that asks for it. CS v1.16 #user-interactive-authentication-api
func (a *API) prove(ctx context.Context, caller account.Caller, e endpoint.Endpoint, body json.RawMessage) error {
	if caller.AppService != nil {
		return nil
	}
	_, err := a.Accounts.Prove(ctx, account.Operation{
		Endpoint: e.Name, User: caller.User, Body: body, Flows: [][]string{{account.StagePassword}},
	})
	return err
}

type loginTokenResponse struct {
	Token     string `json:"login_token"`
	ExpiresIn int64  `json:"expires_in_ms"`
}

func (a *API) generateLoginToken(ctx context.Context, caller account.Caller, req proofRequest) (loginTokenResponse, error) {
	if err := a.prove(ctx, caller, endpoint.GenerateLoginToken, req.Body); err != nil {
		return loginTokenResponse{}, err
	}
	token, lifetime, err := a.Accounts.NewLoginToken(caller.User)
	return loginTokenResponse{token, lifetime.Milliseconds()}, err
}

type refreshRequest struct {
	Token string `json:"refresh_token" bind:"required"`
}

func (a *API) refresh(ctx context.Context, req refreshRequest) (sessionResponse, error) {
	s, err := a.Accounts.Refresh(ctx, req.Token)
	if err != nil {
		return sessionResponse{}, err
	}
	return sessionResponse{AccessToken: s.AccessToken, RefreshToken: s.RefreshToken, ExpiresIn: s.Expires.Milliseconds()}, nil
}

func (a *API) logout(ctx context.Context, caller account.Caller, _ None) (None, error) {
	return None{}, a.Accounts.DeleteDevices(ctx, caller.User, []id.DeviceID{caller.Device})
}

func (a *API) logoutAll(ctx context.Context, caller account.Caller, _ None) (None, error) {
	return None{}, a.Accounts.DeleteOtherDevices(ctx, caller.User, "")
}

type whoamiResponse struct {
	User   id.UserID   `json:"user_id"`
	Device id.DeviceID `json:"device_id,omitempty"`
	Guest  bool        `json:"is_guest"`
}

func (a *API) whoami(_ context.Context, caller account.Caller, _ None) (whoamiResponse, error) {
	return whoamiResponse{User: caller.User, Device: caller.Device}, nil
}
