package csapi

import (
	"context"
	"encoding/json"
	"net/http"

	"konsil/homeserver/account"
	"konsil/matrix/endpoint"
	"konsil/matrix/mxerr"
	"konsil/matrix/roomver"
)

// Discovery is what the well-known documents say. CS v1.16 #well-known-uris
type Discovery struct {
	BaseURL      string          // of the client API; "" takes the host that was asked
	ServerHost   string          // host and port of the federation API; "" means that there is no delegation
	SupportPage  string          // "" means none
	Contacts     []Contact       // of the operator
	ClientExtras json.RawMessage // further fields of the client document, a JSON object; nil means none
}

// Contact is a way to reach the operator. CS v1.16 #getwell-knownmatrixsupport
type Contact struct {
	MatrixID string `json:"matrix_id,omitempty"`
	Email    string `json:"email_address,omitempty"`
	Role     string `json:"role"` // m.role.admin or m.role.security
}

func (a *API) discoveryRoutes() []row {
	return []row{
		{endpoint.GetWellknown, publicHTTP(a.wellKnownClient), limitRead},
		{endpoint.FederationGetWellKnown, public(a.wellKnownServer), limitRead},
		{endpoint.GetWellknownSupport, public(a.wellKnownSupport), limitRead},
		{endpoint.GetVersions, public(a.versions), limitRead},
		{endpoint.GetCapabilities, user(a.capabilities), limitRead},
	}
}

type homeserverInfo struct {
	BaseURL string `json:"base_url"`
}

// wellKnown is the client document, also part of the answer to a login.
func (a *API) wellKnown(baseURL string) map[string]any {
	document := map[string]any{}
	if a.Discovery.ClientExtras != nil {
		// What the operator wrote was checked with the rest of the configuration.
		_ = json.Unmarshal(a.Discovery.ClientExtras, &document)
	}
	document["m.homeserver"] = homeserverInfo{baseURL}
	return document
}

func (a *API) wellKnownClient(_ context.Context, r *http.Request) (any, error) {
	base := a.Discovery.BaseURL
	if base == "" {
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		base = scheme + "://" + r.Host
	}
	return a.wellKnown(base), nil
}

type wellKnownServer struct {
	Server string `json:"m.server"`
}

// wellKnownServer tells other servers where our federation API is. SS v1.16 #resolving-server-names
func (a *API) wellKnownServer(context.Context, None) (wellKnownServer, error) {
	if a.Discovery.ServerHost == "" {
		return wellKnownServer{}, mxerr.NotFound("No delegation")
	}
	return wellKnownServer{a.Discovery.ServerHost}, nil
}

type support struct {
	Contacts []Contact `json:"contacts,omitempty"`
	Page     string    `json:"support_page,omitempty"`
}

func (a *API) wellKnownSupport(context.Context, None) (support, error) {
	if len(a.Discovery.Contacts) == 0 && a.Discovery.SupportPage == "" {
		return support{}, mxerr.NotFound("No contact is known")
	}
	return support{a.Discovery.Contacts, a.Discovery.SupportPage}, nil
}

// specVersions are those whose endpoints we serve.
var specVersions = []string{
	"r0.0.1", "r0.1.0", "r0.2.0", "r0.3.0", "r0.4.0", "r0.5.0", "r0.6.0", "r0.6.1",
	"v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12", "v1.13", "v1.14", "v1.15", "v1.16",
}

// unstableFeatures are the features clients look for by name, each with the endpoint that must be served for it to be true.
var unstableFeatures = []struct {
	name string
	by   endpoint.Endpoint
}{
	{"org.matrix.e2e_cross_signing", endpoint.UploadCrossSigningKeys},
	{"org.matrix.msc2285.stable", endpoint.PostReceipt}, // private read receipts
	{"org.matrix.msc2432", endpoint.GetLocalAliases},    // room aliases
	{"org.matrix.msc3391", endpoint.DeleteAccountData},
	{"org.matrix.msc3440.stable", endpoint.GetThreadRoots},
	{"org.matrix.msc3771", endpoint.PostReceipt}, // threaded receipts
	{"org.matrix.msc3773", endpoint.Sync},        // notifications per thread
	{"org.matrix.msc3827.stable", endpoint.QueryPublicRooms},
	{"org.matrix.msc3916.stable", endpoint.GetContentAuthed},
	{"org.matrix.msc3967", endpoint.UploadCrossSigningKeys},
	{"org.matrix.msc3981", endpoint.GetRelatingEvents}, // recursive relations
	{"org.matrix.msc4140", endpoint.GetDelayedEvents},  // delayed events
	{"org.matrix.msc4151.stable", endpoint.ReportRoom},
	{"org.matrix.msc4155", endpoint.InviteUser}, // invite filtering
	{"org.matrix.msc4222", endpoint.Sync},       // state_after
	{"org.matrix.simplified_msc3575", endpoint.SlidingSync},
	{"uk.tcpip.msc4133.stable", endpoint.SetProfileField},
}

type versionsResponse struct {
	Versions []string        `json:"versions"`
	Unstable map[string]bool `json:"unstable_features"`
}

func (a *API) versions(context.Context, None) (versionsResponse, error) {
	return versionsResponse{specVersions, a.features}, nil
}

// unstable lists the unstable features by whether their endpoint is served.
func (a *API) unstable() map[string]bool {
	features := map[string]bool{}
	for _, f := range unstableFeatures {
		features[f.name] = a.Serves(f.by)
	}
	return features
}

type enabled struct {
	Enabled bool `json:"enabled"`
}

type capabilitiesResponse struct {
	Capabilities map[string]any `json:"capabilities"`
}

// capabilities says what this user may do. CS v1.16 #capabilities-negotiation
func (a *API) capabilities(_ context.Context, caller account.Caller, _ None) (capabilitiesResponse, error) {
	available := map[string]string{}
	for _, v := range append(roomver.All(), roomver.Experiments()...) {
		available[v.ID] = "unstable"
		if v.Stable {
			available[v.ID] = "stable"
		}
	}
	all := map[string]any{
		"m.room_versions":            map[string]any{"default": a.DefaultVersion, "available": available},
		"m.change_password":          enabled{true},
		"m.set_displayname":          enabled{true},
		"m.set_avatar_url":           enabled{true},
		"m.3pid_changes":             enabled{false},
		"m.get_login_token":          enabled{true},
		"m.profile_fields":           enabled{true},
		"m.forget_forced_upon_leave": enabled{false},
	}
	if caller.Admin {
		all["m.account_moderation"] = map[string]bool{"lock": true, "suspend": true}
	}
	return capabilitiesResponse{all}, nil
}
