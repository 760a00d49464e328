package csapi

import (
	"context"
	"encoding/json"

	"konsil/homeserver/account"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) registrationRoutes() []row {
	return []row{
		{endpoint.Register, byService(a.register), limitRegister},
		{endpoint.CheckUsernameAvailability, public(a.usernameAvailable), limitRegister},
		{endpoint.RegistrationTokenValidity, public(a.registrationTokenValidity), limitRegister},
		{endpoint.RequestTokenToRegisterEmail, public(noThirdParty), limitRegister},
		{endpoint.RequestTokenToRegisterMSISDN, public(noThirdParty), limitRegister},
		{endpoint.SharedSecretNonce, public(a.sharedSecretNonce), limitRegister},
		{endpoint.SharedSecretRegister, public(a.sharedSecretRegister), limitRegister},
	}
}

type registerRequest struct {
	Kind         string          `query:"kind"`
	Type         string          `json:"type"`
	Username     string          `json:"username"`
	Password     string          `json:"password"`
	InhibitLogin bool            `json:"inhibit_login"`
	Body         json.RawMessage `body:"raw"`
	sessionRequest
}

// register makes an account. CS v1.16 #post_matrixclientv3register
func (a *API) register(ctx context.Context, service *account.AppService, req registerRequest) (sessionResponse, error) {
	if req.Type == loginByService {
		return a.registerByService(ctx, service, req)
	}
	switch req.Kind {
	case "", "user":
	case "guest":
		return sessionResponse{}, mxerr.GuestAccessForbidden()
	default:
		return sessionResponse{}, mxerr.InvalidParam("Invalid value for kind")
	}
	flows, err := a.registrationFlows()
	if err != nil {
		return sessionResponse{}, err
	}
	if req.Username != "" { // a name that can not be had is told before anybody proves anything
		if err := a.Accounts.CheckUsername(ctx, req.Username); err != nil {
			return sessionResponse{}, err
		}
	}
	// Many clients ask for the flows with an empty body first, so a session is bound to the endpoint only.
	proof, err := a.Accounts.Prove(ctx, account.Operation{
		Endpoint: endpoint.Register.Name, Body: req.Body, AnyBody: true, Flows: flows,
	})
	if err != nil {
		return sessionResponse{}, err
	}
	if req.Password == "" {
		return sessionResponse{}, mxerr.MissingParam("Missing parameter password")
	}
	return a.registered(ctx, req.InhibitLogin, req.sessionRequest, func() (id.UserID, error) {
		return a.Accounts.Register(ctx, account.NewAccount{
			Localpart: req.Username, Password: req.Password, Token: proof.RegistrationToken,
		})
	})
}

// registered makes an account and logs it in unless that is not wanted.
func (a *API) registered(ctx context.Context, inhibitLogin bool, ask sessionRequest, register func() (id.UserID, error)) (sessionResponse, error) {
	user, err := register()
	if err != nil {
		return sessionResponse{}, err
	}
	if inhibitLogin {
		return sessionResponse{User: user, HomeServer: a.Server}, nil
	}
	s, err := a.Accounts.Login(ctx, user, ask.ask())
	if err != nil {
		return sessionResponse{}, err
	}
	return a.sessionOf(s), nil
}

// registrationFlows says what somebody has to show who wants an account.
func (a *API) registrationFlows() ([][]string, error) {
	switch a.Accounts.Registration {
	case account.Open:
		return [][]string{{account.StageDummy}}, nil
	case account.WithToken:
		return [][]string{{account.StageRegistrationToken}}, nil
	}
	return nil, mxerr.Forbidden("Registration has been disabled")
}

type usernameQuery struct {
	Username string `query:"username" bind:"required"`
}

type available struct {
	Available bool `json:"available"`
}

func (a *API) usernameAvailable(ctx context.Context, req usernameQuery) (available, error) {
	if _, err := a.registrationFlows(); err != nil {
		return available{}, err // who can not register has no need to learn which names are taken (B10)
	}
	if err := a.Accounts.CheckUsername(ctx, req.Username); err != nil {
		return available{}, err
	}
	return available{true}, nil
}

type tokenQuery struct {
	Token string `query:"token" bind:"required"`
}

type validity struct {
	Valid bool `json:"valid"`
}

func (a *API) registrationTokenValidity(ctx context.Context, req tokenQuery) (validity, error) {
	if a.Accounts.Registration != account.WithToken {
		return validity{}, mxerr.Forbidden("Registration tokens are not in use")
	}
	valid, err := a.Accounts.RegistrationTokenValid(ctx, req.Token)
	return validity{valid}, err
}

// noThirdParty refuses to work with e-mail addresses and telephone numbers: Konsil keeps none.
func noThirdParty(context.Context, None) (None, error) {
	return None{}, mxerr.New(400, mxerr.CodeThreepidMediumNotSupported, "Third-party identifiers are not supported")
}

type nonceResponse struct {
	Nonce string `json:"nonce"`
}

// sharedSecretNonce begins a registration by shared secret, which is no part of the specification: Synapse's API for
// programs that make accounts.
func (a *API) sharedSecretNonce(context.Context, None) (nonceResponse, error) {
	nonce, err := a.Accounts.SharedSecretNonce()
	return nonceResponse{nonce}, err
}

type sharedSecretRequest struct {
	Nonce        string `json:"nonce" bind:"required"`
	Username     string `json:"username" bind:"required"`
	Password     string `json:"password" bind:"required"`
	DisplayName  string `json:"displayname"`
	Admin        bool   `json:"admin"`
	UserType     string `json:"user_type"`
	MAC          string `json:"mac" bind:"required"`
	InhibitLogin bool   `json:"inhibit_login"`
}

func (a *API) sharedSecretRegister(ctx context.Context, req sharedSecretRequest) (sessionResponse, error) {
	return a.registered(ctx, req.InhibitLogin, sessionRequest{}, func() (id.UserID, error) {
		n := account.NewAccount{Localpart: req.Username, Password: req.Password, Admin: req.Admin, DisplayName: req.DisplayName}
		return a.Accounts.RegisterBySecret(ctx, n, account.SharedSecretProof{Nonce: req.Nonce, MAC: req.MAC, UserType: req.UserType})
	})
}
