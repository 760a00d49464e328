package csapi

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the relays' protocol fixes it; HMAC-SHA1 is not broken
	"encoding/base64"
	"strconv"
	"time"

	"konsil/homeserver/account"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// TURN is the relay for calls, and the secret it shares with us.
type TURN struct {
	URIs     []string
	Secret   string
	Lifetime time.Duration // of credentials; 0 means a day
}

// serviceRoutes are the endpoints by which clients get on to other services.
func (a *API) serviceRoutes() []row {
	return []row{
		{endpoint.RequestOpenIdToken, user(a.openIDToken), limitWrite},
		{endpoint.GetTurnServer, user(a.turnServer), limitRead},
		{endpoint.GetProtocols, user(noProtocols), limitRead},
		{endpoint.GetProtocolMetadata, user(noProtocol), limitRead},
		{endpoint.QueryLocationByProtocol, user(nothing), limitRead},
		{endpoint.QueryUserByProtocol, user(nothing), limitRead},
		{endpoint.QueryLocationByAlias, user(nothing), limitRead},
		{endpoint.QueryUserByID, user(nothing), limitRead},
	}
}

type openIDResponse struct {
	AccessToken string        `json:"access_token"`
	TokenType   string        `json:"token_type"`
	Server      id.ServerName `json:"matrix_server_name"`
	ExpiresIn   int64         `json:"expires_in"` // seconds
}

func (a *API) openIDToken(ctx context.Context, caller account.Caller, req userPath) (openIDResponse, error) {
	if err := own(caller, req.User); err != nil {
		return openIDResponse{}, err
	}
	token, err := a.Accounts.NewOpenIDToken(ctx, caller.User)
	return openIDResponse{token, "Bearer", a.Server, int64(account.OpenIDLifetime.Seconds())}, err
}

type turnResponse struct {
	Username string   `json:"username"`
	Password string   `json:"password"`
	URIs     []string `json:"uris"`
	TTL      int64    `json:"ttl"` // seconds
}

// turnServer makes credentials that the relay can check with the shared secret alone: the name holds the end of their
// time, the password is its MAC. An empty object says that there is no relay. CS v1.16 #get_matrixclientv3voipturnserver
func (a *API) turnServer(_ context.Context, caller account.Caller, _ None) (any, error) {
	if len(a.TURN.URIs) == 0 || a.TURN.Secret == "" {
		return None{}, nil
	}
	lifetime := a.TURN.Lifetime
	if lifetime == 0 {
		lifetime = 24 * time.Hour
	}
	name := strconv.FormatInt(a.Clock.Now().Add(lifetime).Unix(), 10) + ":" + string(caller.User)
	mac := hmac.New(sha1.New, []byte(a.TURN.Secret))
	mac.Write([]byte(name))
	return turnResponse{
		Username: name, Password: base64.StdEncoding.EncodeToString(mac.Sum(nil)),
		URIs: a.TURN.URIs, TTL: int64(lifetime.Seconds()),
	}, nil
}

// No bridges to third-party networks are known. CS v1.16 #third-party-networks
func noProtocols(context.Context, account.Caller, None) (map[string]None, error) {
	return map[string]None{}, nil
}

func noProtocol(context.Context, account.Caller, None) (None, error) {
	return None{}, mxerr.NotFound("Unknown protocol")
}

func nothing(context.Context, account.Caller, None) ([]None, error) { return []None{}, nil }
