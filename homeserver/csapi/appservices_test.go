package csapi_test

import (
	"strings"
	"testing"

	"konsil/homeserver/account"
	"konsil/homeserver/appservice"
	"konsil/homeserver/csapi"
	"konsil/homeserver/room"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// bridge is a service that owns @_irc_… and #_irc_… .
func bridge(t *testing.T, more string) *account.AppService {
	t.Helper()
	s, err := account.ParseAppService([]byte(`
id: irc
url: null
as_token: as-secret
hs_token: hs-secret
sender_localpart: _irc_bot
namespaces:
  users: [{exclusive: true, regex: "@_irc_.*"}, {exclusive: false, regex: "@guest_.*"}]
  aliases: [{exclusive: true, regex: "#_irc_.*"}]
` + more))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func bridgeRig(t *testing.T, changes ...change) *rig {
	t.Helper()
	s := bridge(t, "")
	r := newRig(t, append(changes, func(c *account.Config, _ *csapi.Config) { c.AppServices = []*account.AppService{s} })...)
	if err := r.accounts.EnsureAppServices(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

const asToken = "as-secret"

func TestAppServiceRegisters(t *testing.T) {
	r := bridgeRig(t)
	path := v3 + "/register"
	body := func(name string) map[string]any {
		return map[string]any{"type": "m.login.application_service", "username": name}
	}
	a := r.must("POST", path, asToken, body("_irc_anna"))
	if a.field("user_id") != "@_irc_anna:klinik.test" || a.field("access_token") == "" {
		t.Errorf("registered: %s", a.body)
	}
	quiet := body("guest_bob")
	quiet["inhibit_login"] = true
	if a := r.must("POST", path, asToken, quiet); a.field("access_token") != "" {
		t.Errorf("without login: %s", a.body)
	}
	r.refused(400, mxerr.CodeUserInUse, "POST", path, asToken, body("_irc_anna"))
	r.refused(400, mxerr.CodeExclusive, "POST", path, asToken, body("carol"))
	r.refused(400, mxerr.CodeMissingParam, "POST", path, asToken, body(""))
	r.refused(401, mxerr.CodeUnknownToken, "POST", path, "hs-secret", body("_irc_dave"))
	r.refused(401, mxerr.CodeUnknownToken, "POST", path, "", body("_irc_dave"))
	// What it owns is not for people; what it shares is.
	dummy := map[string]any{"type": "m.login.dummy"}
	r.refused(400, mxerr.CodeInvalidUsername, "POST", path, "", map[string]any{"username": "_irc_eve", "password": "password", "auth": dummy})
	r.register("guest_eve")
}

func TestAppServiceOwnsNames(t *testing.T) {
	s := bridge(t, "")
	other, err := account.ParseAppService([]byte(`{id: x, url: null, as_token: a, hs_token: b, sender_localpart: xbot,
		namespaces: {users: [{exclusive: true, regex: "@x.*"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *account.Config, _ *csapi.Config) { c.AppServices = []*account.AppService{s, other} })
	r.refused(400, mxerr.CodeExclusive, "GET", v3+"/register/available?username=xavier", "", nil)
	r.refused(400, mxerr.CodeExclusive, "POST", v3+"/register", "", map[string]any{
		"username": "xavier", "password": "password", "auth": map[string]any{"type": "m.login.dummy"}})
	r.refused(400, mxerr.CodeExclusive, "POST", v3+"/register", asToken, map[string]any{
		"type": "m.login.application_service", "username": "xavier"})
}

func TestAppServiceLogsIn(t *testing.T) {
	r := bridgeRig(t)
	r.must("POST", v3+"/register", asToken, map[string]any{"type": "m.login.application_service", "username": "_irc_anna", "inhibit_login": true})
	anna := r.register("anna")
	body := func(user string) map[string]any {
		return map[string]any{"type": "m.login.application_service", "identifier": map[string]any{"type": "m.id.user", "user": user}}
	}
	a := r.must("POST", v3+"/login", asToken, body("_irc_anna"))
	if who := r.must("GET", v3+"/account/whoami", a.field("access_token"), nil); who.field("user_id") != "@_irc_anna:klinik.test" {
		t.Errorf("logged in as %s", who.body)
	}
	r.refused(400, mxerr.CodeExclusive, "POST", v3+"/login", asToken, body(string(anna.user)))
	r.refused(401, mxerr.CodeUnknownToken, "POST", v3+"/login", anna.token, body("_irc_anna"))
	if a := r.must("GET", v3+"/login", "", nil); !strings.Contains(a.body, "m.login.application_service") {
		t.Errorf("flows: %s", a.body)
	}
}

func TestAppServiceActsForItsUsers(t *testing.T) {
	r := bridgeRig(t)
	anna := r.register("anna")
	r.must("POST", v3+"/register", asToken, map[string]any{"type": "m.login.application_service", "username": "_irc_bob", "inhibit_login": true})
	who := func(query string) string { return v3 + "/account/whoami" + query }
	for query, want := range map[string]string{"": "@_irc_bot:klinik.test", "?user_id=@_irc_bob:klinik.test": "@_irc_bob:klinik.test"} {
		if a := r.must("GET", who(query), asToken, nil); a.field("user_id") != want || a.field("device_id") != "" {
			t.Errorf("%q acts for %s", query, a.body)
		}
	}
	r.refused(403, mxerr.CodeForbidden, "GET", who("?user_id="+string(anna.user)), asToken, nil)
	r.refused(403, mxerr.CodeForbidden, "GET", who("?user_id=@_irc_ghost:klinik.test"), asToken, nil)
	r.refused(403, mxerr.CodeForbidden, "GET", who("?user_id=@_irc_bob:praxis.test"), asToken, nil)
	// People can not act for anybody.
	if a := r.must("GET", who("?user_id=@_irc_bob:klinik.test"), anna.token, nil); a.field("user_id") != string(anna.user) {
		t.Errorf("anna acts for %s", a.body)
	}

	as := "?user_id=@_irc_bob:klinik.test&device_id=BRIDGE"
	r.refused(400, mxerr.CodeUnknownDevice, "GET", who(as), asToken, nil)
	r.must("PUT", v3+"/devices/BRIDGE?user_id=@_irc_bob:klinik.test", asToken, map[string]any{"display_name": "Bridge"})
	if a := r.must("GET", who(as), asToken, nil); a.field("device_id") != "BRIDGE" {
		t.Errorf("with a device: %s", a.body)
	}
	r.must("DELETE", v3+"/devices/BRIDGE?user_id=@_irc_bob:klinik.test", asToken, `{}`) // no proof is asked of a service
	r.refused(404, mxerr.CodeNotFound, "PUT", v3+"/devices/NEW", anna.token, map[string]any{"display_name": "x"})
}

func TestAppServiceChoosesTime(t *testing.T) {
	r := bridgeRig(t)
	anna := r.register("anna")
	in := r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat"})
	r.must("POST", v3+"/rooms/"+string(in)+"/join", asToken, `{}`)
	send := func(token, txn, ts string) int64 {
		t.Helper()
		a := r.must("PUT", v3+"/rooms/"+string(in)+"/send/m.room.message/"+txn+"?ts="+ts, token, `{"body":"x","msgtype":"m.text"}`)
		ev, err := r.rooms.Event(t.Context(), id.EventID(a.field("event_id")))
		if err != nil {
			t.Fatal(err)
		}
		return ev.OriginServerTS
	}
	now := r.clock.Now().UnixMilli()
	if ts := send(asToken, "1", "1000000"); ts != 1000000 {
		t.Errorf("the service's time became %d", ts)
	}
	if ts := send(anna.token, "1", "1000000"); ts != now {
		t.Errorf("a person chose %d", ts)
	}
	bad := v3 + "/rooms/" + string(in) + "/send/m.room.message/2?ts="
	for _, ts := range []string{"-1", "9007199254740992", "soon"} {
		r.refused(400, mxerr.CodeInvalidParam, "PUT", bad+ts, asToken, `{"body":"x"}`)
	}
}

func TestAppServiceOwnsAliases(t *testing.T) {
	r := bridgeRig(t)
	anna := r.register("anna")
	in := r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat"})
	const alias = v3 + "/directory/room/%23_irc_go:klinik.test"
	r.refused(400, mxerr.CodeExclusive, "PUT", alias, anna.token, map[string]any{"room_id": in})
	r.refused(400, mxerr.CodeExclusive, "POST", v3+"/createRoom", anna.token, map[string]any{"room_alias_name": "_irc_go"})
	r.refused(400, mxerr.CodeExclusive, "PUT", v3+"/directory/room/%23go:klinik.test", asToken, map[string]any{"room_id": in})
	r.must("POST", v3+"/rooms/"+string(in)+"/join", asToken, `{}`)
	r.must("PUT", alias, asToken, map[string]any{"room_id": in})
	r.must("DELETE", alias, asToken, nil)
}

func TestAppServiceKnowsNoRateLimit(t *testing.T) {
	for _, c := range []struct {
		more   string
		user   string
		limits bool
	}{
		{"", "", false},
		{"rate_limited: false", "?user_id=@_irc_bob:klinik.test", false},
		{"rate_limited: true", "", false}, // its own user never is
		{"rate_limited: true", "?user_id=@_irc_bob:klinik.test", true},
	} {
		s := bridge(t, c.more)
		r := newRig(t, func(a *account.Config, api *csapi.Config) {
			a.AppServices, api.Unlimited = []*account.AppService{s}, false
		})
		if err := r.accounts.EnsureAppServices(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.must("POST", v3+"/register", asToken, map[string]any{"type": "m.login.application_service", "username": "_irc_bob", "inhibit_login": true})
		status := 200
		for i := 0; i <= 600 && status == 200; i++ {
			status = r.do("GET", v3+"/account/whoami"+c.user, asToken, nil).status
		}
		if (status == 429) != c.limits {
			t.Errorf("%q as %q: %d", c.more, c.user, status)
		}
	}
}

func TestAppServicePing(t *testing.T) {
	s := bridge(t, "")
	r := newRig(t, func(a *account.Config, api *csapi.Config) {
		a.AppServices = []*account.AppService{s}
		api.Services = appservice.New(appservice.Config{Server: server, Services: a.AppServices, Store: a.Store, Clock: a.Clock})
	})
	if err := r.accounts.EnsureAppServices(t.Context()); err != nil {
		t.Fatal(err)
	}
	anna := r.register("anna")
	const ping = "/_matrix/client/v1/appservice/irc/ping"
	r.refused(400, mxerr.CodeURLNotSet, "POST", ping, asToken, `{}`)
	r.refused(403, mxerr.CodeForbidden, "POST", ping, anna.token, `{}`)
	r.refused(403, mxerr.CodeForbidden, "POST", "/_matrix/client/v1/appservice/other/ping", asToken, `{}`)
}
