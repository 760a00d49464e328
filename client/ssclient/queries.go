package ssclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"konsil/matrix/id"
)

// Version asks for the name and version of the implementation.
func (c *Client) Version(ctx context.Context, server id.ServerName) (name, version string, err error) {
	var answer struct {
		Server struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"server"`
	}
	err = c.call(ctx, server, call{kind: quick, method: http.MethodGet, open: true, path: federationV1 + "/version"}, &answer)
	return answer.Server.Name, answer.Server.Version, err
}

// ServerKeys asks a server for its own keys document; nothing in it is verified yet. SS v1.16 #get_matrixkeyv2server
func (c *Client) ServerKeys(ctx context.Context, server id.ServerName) (json.RawMessage, error) {
	var document json.RawMessage
	err := c.call(ctx, server, call{kind: quick, method: http.MethodGet, open: true, path: "/_matrix/key/v2/server"}, &document)
	return document, err
}

// KeyCriteria is what a notary is asked for: server → key → least time it should be valid until, in ms. A server without
// keys asks for all it has.
type KeyCriteria map[id.ServerName]map[id.KeyID]int64

// NotaryKeys asks a notary for other servers' keys documents; nothing in them is verified yet. SS v1.16 #post_matrixkeyv2query
func (c *Client) NotaryKeys(ctx context.Context, notary id.ServerName, want KeyCriteria) ([]json.RawMessage, error) {
	type criteria struct {
		MinValidUntil int64 `json:"minimum_valid_until_ts"`
	}
	wanted := make(map[id.ServerName]map[id.KeyID]criteria, len(want))
	for server, keys := range want {
		wanted[server] = make(map[id.KeyID]criteria, len(keys))
		for key, until := range keys {
			wanted[server][key] = criteria{until}
		}
	}
	var answer struct {
		Keys []json.RawMessage `json:"server_keys"`
	}
	err := c.call(ctx, notary, call{kind: query, method: http.MethodPost, open: true, body: map[string]any{"server_keys": wanted}, path: "/_matrix/key/v2/query"}, &answer)
	return answer.Keys, err
}

// Profile asks for a user's profile, or one field of it if field is not empty. The values are the remote's: whoever shows
// them checks their types (A32). SS v1.16 #get_matrixfederationv1queryprofile
func (c *Client) Profile(ctx context.Context, user id.UserID, field string) (map[string]json.RawMessage, error) {
	values := url.Values{"user_id": {string(user)}}
	if field != "" {
		values.Set("field", field)
	}
	var answer map[string]json.RawMessage
	err := c.call(ctx, user.Server(), call{kind: quick, method: http.MethodGet, path: withQuery(federationV1+"/query/profile", values)}, &answer)
	return answer, err
}

// Directory asks for the room behind an alias. SS v1.16 #get_matrixfederationv1querydirectory
func (c *Client) Directory(ctx context.Context, alias id.RoomAlias) (id.RoomID, []id.ServerName, error) {
	var answer struct {
		Room    id.RoomID `json:"room_id"`
		Servers []string  `json:"servers"`
	}
	err := c.call(ctx, alias.Server(), call{kind: quick, method: http.MethodGet, path: withQuery(federationV1+"/query/directory", url.Values{"room_alias": {string(alias)}})}, &answer)
	if err == nil && answer.Room == "" {
		err = malformed(alias.Server(), "no room_id")
	}
	var servers []id.ServerName
	for _, name := range answer.Servers {
		if server, err := id.ParseServerName(name); err == nil {
			servers = append(servers, server)
		}
	}
	return answer.Room, servers, err
}

// OpenIDUserInfo asks whom an OpenID token belongs to. The answer is refused when it names another server's user.
func (c *Client) OpenIDUserInfo(ctx context.Context, server id.ServerName, token string) (id.UserID, error) {
	var answer struct {
		Sub id.UserID `json:"sub"`
	}
	err := c.call(ctx, server, call{kind: quick, method: http.MethodGet, open: true, path: withQuery(federationV1+"/openid/userinfo", url.Values{"access_token": {token}})}, &answer)
	if err == nil && answer.Sub.Server() != server {
		err = malformed(server, "userinfo of another server's user")
	}
	return answer.Sub, err
}

// PublicRooms asks for a server's room directory; request is the body of the endpoint, the answer its JSON.
func (c *Client) PublicRooms(ctx context.Context, server id.ServerName, request json.RawMessage) (json.RawMessage, error) {
	var answer json.RawMessage
	err := c.call(ctx, server, call{kind: query, method: http.MethodPost, body: []byte(request), path: federationV1 + "/publicRooms"}, &answer)
	return answer, err
}

// Hierarchy is a server's view of a space and its children. SS v1.16 #get_matrixfederationv1hierarchyroomid
type Hierarchy struct {
	Room         json.RawMessage   `json:"room"`
	Children     []json.RawMessage `json:"children"`
	Inaccessible []id.RoomID       `json:"inaccessible_children"`
}

// Hierarchy asks for a space.
func (c *Client) Hierarchy(ctx context.Context, server id.ServerName, room id.RoomID, suggestedOnly bool) (Hierarchy, error) {
	values := url.Values{"suggested_only": {"false"}}
	if suggestedOnly {
		values.Set("suggested_only", "true")
	}
	var answer Hierarchy
	err := c.call(ctx, server, call{kind: query, method: http.MethodGet, path: withQuery(path(federationV1, "hierarchy", string(room)), values)}, &answer)
	if err == nil && len(answer.Room) == 0 {
		err = malformed(server, "no room")
	}
	return answer, err
}

// UserDevices asks for a user's devices and keys; the answer is for package e2ee to judge.
// SS v1.16 #get_matrixfederationv1userdevicesuserid
func (c *Client) UserDevices(ctx context.Context, user id.UserID) (json.RawMessage, error) {
	var answer json.RawMessage
	err := c.call(ctx, user.Server(), call{kind: query, method: http.MethodGet, path: path(federationV1+"/user/devices", string(user))}, &answer)
	return answer, err
}

// QueryKeys asks a server for device keys of its users: user → devices, none for all.
// SS v1.16 #post_matrixfederationv1userkeysquery
func (c *Client) QueryKeys(ctx context.Context, server id.ServerName, users map[id.UserID][]id.DeviceID) (json.RawMessage, error) {
	for user, devices := range users {
		if devices == nil {
			users[user] = []id.DeviceID{}
		}
	}
	var answer json.RawMessage
	err := c.call(ctx, server, call{kind: query, method: http.MethodPost, body: map[string]any{"device_keys": users}, path: federationV1 + "/user/keys/query"}, &answer)
	return answer, err
}

// ClaimKeys claims one-time keys: user → device → algorithm. SS v1.16 #post_matrixfederationv1userkeysclaim
func (c *Client) ClaimKeys(ctx context.Context, server id.ServerName, wanted map[id.UserID]map[id.DeviceID]string) (json.RawMessage, error) {
	var answer json.RawMessage
	err := c.call(ctx, server, call{kind: query, method: http.MethodPost, body: map[string]any{"one_time_keys": wanted}, path: federationV1 + "/user/keys/claim"}, &answer)
	return answer, err
}
