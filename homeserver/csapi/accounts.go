package csapi

import (
	"context"
	"encoding/json"
	"fmt"

	"konsil/homeserver/account"
	"konsil/homeserver/store"
	"konsil/kit/obs"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) accountRoutes() []row {
	return []row{
		{endpoint.ChangePassword, user(a.changePassword), limitProve},
		{endpoint.RequestTokenToResetPasswordEmail, public(noThirdParty), limitRegister},
		{endpoint.RequestTokenToResetPasswordMSISDN, public(noThirdParty), limitRegister},
		{endpoint.DeactivateAccount, user(a.deactivate), limitProve},
		{endpoint.GetAccount3PIDs, user(a.threepids), limitRead},
		{endpoint.Post3PIDs, user(noContacts), limitWrite},
		{endpoint.Add3PID, user(noContacts), limitWrite},
		{endpoint.Bind3PID, user(noContacts), limitWrite},
		{endpoint.Delete3pidFromAccount, user(noContacts), limitWrite},
		{endpoint.Unbind3pidFromAccount, user(noContacts), limitWrite},
		{endpoint.RequestTokenTo3PIDEmail, public(noThirdParty), limitRegister},
		{endpoint.RequestTokenTo3PIDMSISDN, public(noThirdParty), limitRegister},
		{endpoint.GetWhoIs, user(a.whoIs), limitRead},
		{endpoint.GetAdminLockUser, admin(a.locked), limitRead},
		{endpoint.SetAdminLockUser, admin(a.setLocked), limitWrite},
		{endpoint.GetAdminSuspendUser, admin(a.suspended), limitRead},
		{endpoint.SetAdminSuspendUser, admin(a.setSuspended), limitWrite},
	}
}

type changePasswordRequest struct {
	NewPassword   string          `json:"new_password"`
	LogoutDevices *bool           `json:"logout_devices"` // nil means true
	Body          json.RawMessage `body:"raw"`
}

// changePassword sets a new password. Without e-mail addresses nobody can reset a lost one, so a token is required.
// CS v1.16 #post_matrixclientv3accountpassword
func (a *API) changePassword(ctx context.Context, caller account.Caller, req changePasswordRequest) (None, error) {
	if err := a.prove(ctx, caller, endpoint.ChangePassword, req.Body); err != nil {
		return None{}, err
	}
	if req.NewPassword == "" {
		return None{}, mxerr.MissingParam("Missing parameter new_password")
	}
	if err := a.Accounts.ChangePassword(ctx, caller.User, req.NewPassword); err != nil {
		return None{}, err
	}
	if req.LogoutDevices != nil && !*req.LogoutDevices {
		return None{}, nil
	}
	return None{}, a.Accounts.DeleteOtherDevices(ctx, caller.User, caller.Device)
}

type deactivateRequest struct {
	Erase bool            `json:"erase"`
	Body  json.RawMessage `body:"raw"`
}

type deactivateResponse struct {
	Unbind string `json:"id_server_unbind_result"`
}

// deactivate ends the caller's account, then takes it out of its rooms. CS v1.16 #account-deactivation
func (a *API) deactivate(ctx context.Context, caller account.Caller, req deactivateRequest) (deactivateResponse, error) {
	if err := a.prove(ctx, caller, endpoint.DeactivateAccount, req.Body); err != nil {
		return deactivateResponse{}, err
	}
	if err := a.Accounts.Deactivate(ctx, caller.User, req.Erase); err != nil {
		return deactivateResponse{}, err
	}
	// The account is gone by now: a client that hangs up must not leave its ghost in half of the rooms.
	return deactivateResponse{"success"}, a.leaveAll(context.WithoutCancel(ctx), caller.User)
}

// leaveAll takes a user out of all rooms, and rejects their invites. What can not be left now, like a room whose servers are
// all away, stays.
func (a *API) leaveAll(ctx context.Context, user id.UserID) error {
	rooms, err := a.Rooms.UserRooms(ctx, user)
	if err != nil {
		return fmt.Errorf("rooms of a deactivated user: %w", err)
	}
	for _, r := range rooms {
		if r.Membership != "join" && r.Membership != "invite" && r.Membership != "knock" {
			continue
		}
		if _, err := a.leaveRoom(ctx, account.Caller{User: user}, leaveRequest{Room: r.Room}); err != nil {
			a.Log.Warn("leave a room for a deactivated user", obs.KeyError, err)
		}
	}
	return nil
}

type threepids struct {
	Threepids []None `json:"threepids"`
}

func (a *API) threepids(context.Context, account.Caller, None) (threepids, error) {
	return threepids{[]None{}}, nil
}

func noContacts(ctx context.Context, _ account.Caller, req None) (None, error) {
	return noThirdParty(ctx, req)
}

type userPath struct {
	User id.UserID `path:"userId"`
}

type connection struct {
	IP        string `json:"ip,omitempty"`
	LastSeen  int64  `json:"last_seen,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
}

type whoIsSession struct {
	Connections []connection `json:"connections"`
}

type whoIsDevice struct {
	Sessions []whoIsSession `json:"sessions"`
}

type whoIsResponse struct {
	User    id.UserID                   `json:"user_id"`
	Devices map[id.DeviceID]whoIsDevice `json:"devices"`
}

func (a *API) whoIs(ctx context.Context, caller account.Caller, req userPath) (whoIsResponse, error) {
	if req.User != caller.User && !caller.Admin {
		return whoIsResponse{}, mxerr.Forbidden("Only server administrators may do this")
	}
	if _, err := a.Accounts.Account(ctx, req.User); err != nil {
		return whoIsResponse{}, err
	}
	devices, err := a.Accounts.Devices(ctx, req.User)
	if err != nil {
		return whoIsResponse{}, err
	}
	resp := whoIsResponse{User: req.User, Devices: map[id.DeviceID]whoIsDevice{}}
	for _, d := range devices {
		c := connection{d.LastSeenIP, d.LastSeen, d.LastSeenAgent}
		resp.Devices[d.ID] = whoIsDevice{[]whoIsSession{{[]connection{c}}}}
	}
	return resp, nil
}

// target reads the account an administrator asks about. Administrators are out of each other's reach.
// CS v1.16 #account-moderation
func (a *API) target(ctx context.Context, user id.UserID) (store.Account, error) {
	if user.Server() != a.Server {
		return store.Account{}, mxerr.InvalidParam("User does not belong to the local server")
	}
	acc, err := a.Accounts.Account(ctx, user)
	if err == nil && acc.Admin {
		err = mxerr.Forbidden("The user is an administrator")
	}
	return acc, err
}

type lockedBody struct {
	Locked bool `json:"locked"`
}

type suspendedBody struct {
	Suspended bool `json:"suspended"`
}

func (a *API) locked(ctx context.Context, _ account.Caller, req userPath) (lockedBody, error) {
	acc, err := a.target(ctx, req.User)
	return lockedBody{acc.Locked}, err
}

type setLockedRequest struct {
	User   id.UserID `path:"userId"`
	Locked *bool     `json:"locked" bind:"required"`
}

func (a *API) setLocked(ctx context.Context, caller account.Caller, req setLockedRequest) (lockedBody, error) {
	if req.User == caller.User {
		return lockedBody{}, mxerr.Forbidden("You cannot lock yourself")
	}
	if _, err := a.target(ctx, req.User); err != nil {
		return lockedBody{}, err
	}
	err := a.Accounts.ChangeAccount(ctx, req.User, func(acc *store.Account) { acc.Locked = *req.Locked })
	return lockedBody{*req.Locked}, err
}

func (a *API) suspended(ctx context.Context, _ account.Caller, req userPath) (suspendedBody, error) {
	acc, err := a.target(ctx, req.User)
	return suspendedBody{acc.Suspended}, err
}

type setSuspendedRequest struct {
	User      id.UserID `path:"userId"`
	Suspended *bool     `json:"suspended" bind:"required"`
}

func (a *API) setSuspended(ctx context.Context, caller account.Caller, req setSuspendedRequest) (suspendedBody, error) {
	if req.User == caller.User {
		return suspendedBody{}, mxerr.Forbidden("You cannot suspend yourself")
	}
	if _, err := a.target(ctx, req.User); err != nil {
		return suspendedBody{}, err
	}
	err := a.Accounts.ChangeAccount(ctx, req.User, func(acc *store.Account) { acc.Suspended = *req.Suspended })
	return suspendedBody{*req.Suspended}, err
}
