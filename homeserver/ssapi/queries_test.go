package ssapi_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"konsil/client/ssclient"
	"konsil/homeserver/account"
	"konsil/homeserver/room"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/roomver"
	"konsil/matrix/sign"
)

// query asks with a signature and answers the status and the body.
func (d *domain) query(t *testing.T, to *domain, method, uri, body string) string {
	t.Helper()
	var content []byte
	if body != "" {
		content = []byte(body)
	}
	w := d.raw(t, to, method, uri, "application/json", content)
	return fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(w.Body.String()))
}

// SS v1.16 #get_matrixfederationv1queryprofile
func TestProfilesOfThisServerOnly(t *testing.T) {
	one, two := pair(t)
	if _, err := one.accounts.Register(ctx, account.NewAccount{Localpart: "alice", Password: "a long password", DisplayName: "Alice"}); err != nil {
		t.Fatal(err)
	}
	const path = "/_matrix/federation/v1/query/profile"
	for query, want := range map[string]string{
		"?user_id=@alice:one.test":                   `200 {"displayname":"Alice"}`,
		"?user_id=@alice:one.test&field=displayname": `200 {"displayname":"Alice"}`,
		"?user_id=@alice:one.test&field=avatar_url":  `404`,
		"?user_id=@nobody:one.test":                  `404`,
		"?user_id=@alice:two.test":                   `404`,
		"?user_id=alice":                             `400`,
		"":                                           `400`,
	} {
		if got := two.query(t, one, "GET", path+query, ""); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

func TestDirectoriesForOtherServers(t *testing.T) {
	one, two := pair(t)
	alice := id.UserID("@alice:one.test")
	if got := two.query(t, one, "GET", "/_matrix/federation/v1/publicRooms", ""); !strings.Contains(got, `"chunk":[]`) {
		t.Errorf("an empty directory: %s", got)
	}
	created, err := one.rooms.Create(ctx, room.CreateRequest{Creator: alice, Preset: "public_chat", Name: "Ward", AliasName: "ward", Visibility: "public"})
	if err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]string{
		"GET /_matrix/federation/v1/publicRooms?limit=1":                           `200 `,
		"GET /_matrix/federation/v1/query/directory?room_alias=%23ward:one.test":   `200 {"room_id":"` + string(created.Room) + `","servers":["one.test"]}`,
		"GET /_matrix/federation/v1/query/directory?room_alias=%23none:one.test":   `404`,
		"GET /_matrix/federation/v1/query/directory?room_alias=%23ward:other.test": `404`,
		"GET /_matrix/federation/v1/query/directory":                               `400`,
	} {
		method, path, _ := strings.Cut(uri, " ")
		got := two.query(t, one, method, path, "")
		if !strings.HasPrefix(got, want) || want == "200 " && !strings.Contains(got, string(created.Room)) {
			t.Errorf("%s: %s, want %s", uri, got, want)
		}
	}
	if got := two.query(t, one, "POST", "/_matrix/federation/v1/publicRooms", `{"filter":{"generic_search_term":"nothing"}}`); !strings.Contains(got, `"chunk":[]`) {
		t.Errorf("a search without results: %s", got)
	}
}

// SS v1.16 #publishing-keys, #querying-keys-through-another-server
func TestKeysArePublishedAndRelayed(t *testing.T) {
	one, two := pair(t)
	public := two.key.Private.Public().(ed25519.PublicKey)
	check := func(how string, document json.RawMessage) {
		t.Helper()
		keys, err := sign.ParseServerKeys(document)
		if err != nil || keys.Server != two.name {
			t.Errorf("%s: %v of %s", how, err, keys.Server)
			return
		}
		if err := sign.VerifyJSON(document, string(two.name), two.key.ID, public); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
	own := httptest.NewRecorder()
	two.api.ServeHTTP(own, httptest.NewRequest("GET", "/_matrix/key/v2/server", nil))
	check("its own", own.Body.Bytes())
	relayed := func(method, uri, body string) []json.RawMessage {
		t.Helper()
		w := httptest.NewRecorder()
		req := httptest.NewRequest(method, uri, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		one.api.ServeHTTP(w, req)
		var answer struct {
			Keys []json.RawMessage `json:"server_keys"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 {
			t.Fatalf("%s: %d %s", uri, w.Code, w.Body)
		}
		return answer.Keys
	}
	for how, documents := range map[string][]json.RawMessage{
		"one server":   relayed("GET", "/_matrix/key/v2/query/two.test", ""),
		"several":      relayed("POST", "/_matrix/key/v2/query", `{"server_keys":{"two.test":{},"not a name":{}}}`),
		"with a key":   relayed("POST", "/_matrix/key/v2/query", `{"server_keys":{"two.test":{"ed25519:x":{"minimum_valid_until_ts":1}}}}`),
		"by its older": relayed("GET", "/_matrix/key/v2/query/two.test/ed25519:x", ""),
	} {
		if len(documents) != 1 {
			t.Errorf("%s: %d documents", how, len(documents))
			continue
		}
		check(how, documents[0])
		if !strings.Contains(string(documents[0]), `"one.test"`) {
			t.Errorf("%s: the notary has not signed", how)
		}
	}
	var many []string
	for i := range 101 {
		many = append(many, fmt.Sprintf(`"s%d.test":{}`, i))
	}
	w := httptest.NewRecorder()
	one.api.ServeHTTP(w, httptest.NewRequest("POST", "/_matrix/key/v2/query", strings.NewReader(`{"server_keys":{`+strings.Join(many, ",")+`}}`)))
	if w.Code != 413 {
		t.Errorf("101 servers at once: %d %s", w.Code, w.Body)
	}
}

// SS v1.16 #end-to-end-encryption: strangers hear of this server's users only.
func TestDeviceKeysForOtherServers(t *testing.T) {
	one, two := pair(t)
	for uri, body := range map[string]string{
		"/_matrix/federation/v1/user/keys/query": `{"device_keys":{"@alice:one.test":[],"@bob:two.test":[]}}`,
		"/_matrix/federation/v1/user/keys/claim": `{"one_time_keys":{"@alice:one.test":{"D":"signed_curve25519"},"@bob:two.test":{"D":"signed_curve25519"}}}`,
	} {
		if got := two.query(t, one, "POST", uri, body); !strings.HasPrefix(got, "200 {") || strings.Contains(got, "bob") {
			t.Errorf("%s: %s", uri, got)
		}
		for _, bad := range []string{`{"device_keys":[],"one_time_keys":[]}`, `{"device_keys":{"alice":[]},"one_time_keys":{"alice":{}}}`, `[]`} {
			if got := two.query(t, one, "POST", uri, bad); !strings.HasPrefix(got, "400") {
				t.Errorf("%s %s: %s", uri, bad, got)
			}
		}
	}
	if _, err := two.client.UserDevices(ctx, "@alice:one.test"); err != nil && !ssclient.Refused(err, mxerr.CodeNotFound) {
		t.Errorf("devices: %v", err)
	}
}

// SS v1.16 #put_matrixfederationv1inviteroomideventid: the shape of old, [200, {"event": …}].
func TestVersionOneInvites(t *testing.T) {
	one, two := pair(t)
	alice, bob := id.UserID("@alice:one.test"), id.UserID("@bob:two.test")
	if _, err := two.accounts.Register(ctx, account.NewAccount{Localpart: "bob", Password: "a long password"}); err != nil {
		t.Fatal(err)
	}
	created, err := one.rooms.Create(ctx, room.CreateRequest{Creator: alice, Preset: "private_chat", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	invite, _, err := one.rooms.PrepareInvite(ctx, room.MembershipChange{Room: created.Room, Sender: alice, Target: bob})
	if err != nil {
		t.Fatal(err)
	}
	got := one.query(t, two, "PUT", "/_matrix/federation/v1/invite/"+string(created.Room)+"/"+string(invite.ID), string(invite.JSON))
	var answer []json.RawMessage
	var signed struct{ Event json.RawMessage }
	status, body, _ := strings.Cut(got, " ")
	if status != "200" || json.Unmarshal([]byte(body), &answer) != nil || len(answer) != 2 || json.Unmarshal(answer[1], &signed) != nil {
		t.Fatalf("%s", got)
	}
	v, _ := roomver.Get("1")
	back, err := event.Parse(signed.Event, v)
	if err != nil || back.Verify(two.name, two.key.ID, two.key.Private.Public().(ed25519.PublicKey)) != nil {
		t.Errorf("%v: the invite came back without the other server's signature: %s", err, signed.Event)
	}
	// The same for a room of a version that this endpoint is too old for.
	modern, err := one.rooms.Create(ctx, room.CreateRequest{Creator: alice, Preset: "private_chat", Version: "11"})
	if err != nil {
		t.Fatal(err)
	}
	invite, _, err = one.rooms.PrepareInvite(ctx, room.MembershipChange{Room: modern.Room, Sender: alice, Target: bob})
	if err != nil {
		t.Fatal(err)
	}
	if got := one.query(t, two, "PUT", "/_matrix/federation/v1/invite/"+string(modern.Room)+"/"+string(invite.ID), string(invite.JSON)); !strings.HasPrefix(got, "400") {
		t.Errorf("a room of version 11: %s", got)
	}
}
