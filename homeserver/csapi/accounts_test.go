package csapi_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"konsil/homeserver/account"
	"konsil/homeserver/csapi"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// registerAdmin makes an administrator by the shared secret.
func (r *rig) registerAdmin(name string) person {
	r.t.Helper()
	const path = "/_synapse/admin/v1/register"
	nonce := r.must("GET", path, "", nil).field("nonce")
	mac := hmac.New(sha1.New, []byte("secret"))
	mac.Write([]byte(strings.Join([]string{nonce, name, "password", "admin"}, "\x00")))
	a := r.must("POST", path, "", map[string]any{
		"nonce": nonce, "username": name, "password": "password", "admin": true, "mac": hex.EncodeToString(mac.Sum(nil))})
	return person{id.UserID(a.field("user_id")), id.DeviceID(a.field("device_id")), a.field("access_token")}
}

func TestRegister(t *testing.T) {
	r := newRig(t)
	path := v3 + "/register"
	a := r.do("POST", path, "", `{}`)
	if a.status != 401 || a.field("flows") != "[map[stages:[m.login.dummy]]]" || a.field("session") == "" {
		t.Errorf("flows: %d %s", a.status, a.body)
	}
	a = r.must("POST", path, "", map[string]any{"username": "User-UPPER", "password": "übers3kr1t", "device_id": "xyzzy",
		"initial_device_display_name": "Telefon", "auth": map[string]any{"type": "m.login.dummy", "session": a.field("session")}})
	if a.field("user_id") != "@user-upper:klinik.test" || a.field("device_id") != "xyzzy" || a.field("access_token") == "" || a.field("home_server") != "klinik.test" {
		t.Errorf("registered: %s", a.body)
	}
	dummy := map[string]any{"type": "m.login.dummy"}
	for _, c := range []struct {
		body   map[string]any
		status int
		code   string
	}{
		{map[string]any{"username": "user-upper", "password": "password", "auth": dummy}, 400, mxerr.CodeUserInUse},
		{map[string]any{"username": "no spaces", "password": "password", "auth": dummy}, 400, mxerr.CodeInvalidUsername},
		{map[string]any{"username": "new", "password": "short", "auth": dummy}, 400, mxerr.CodeWeakPassword},
		{map[string]any{"username": "new", "auth": dummy}, 400, mxerr.CodeMissingParam},
		{map[string]any{"username": "new", "password": "password", "auth": map[string]any{"type": "m.login.sso"}}, 401, mxerr.CodeForbidden},
	} {
		r.refused(c.status, c.code, "POST", path, "", c.body)
	}
	r.refused(403, mxerr.CodeGuestAccessForbidden, "POST", path+"?kind=guest", "", `{}`)
	a = r.must("POST", path, "", map[string]any{"username": "quiet", "password": "password", "inhibit_login": true, "auth": dummy})
	if a.field("access_token") != "" || a.field("device_id") != "" || a.field("user_id") == "" {
		t.Errorf("without login: %s", a.body)
	}
	if a := r.must("GET", path+"/available?username=free", "", nil); a.body != `{"available":true}` {
		t.Errorf("available: %s", a.body)
	}
	r.refused(400, mxerr.CodeUserInUse, "GET", path+"/available?username=quiet", "", nil)
	r.refused(400, mxerr.CodeInvalidUsername, "GET", path+"/available?username=a,b", "", nil)
	r.refused(400, mxerr.CodeMissingParam, "GET", path+"/available", "", nil)
}

func TestRegistrationMayBeClosed(t *testing.T) {
	r := newRig(t, func(c *account.Config, _ *csapi.Config) { c.Registration = account.Closed })
	r.refused(403, mxerr.CodeForbidden, "POST", v3+"/register", "", `{"username":"x","password":"password","auth":{"type":"m.login.dummy"}}`)
	r.refused(403, mxerr.CodeForbidden, "GET", v3+"/register/available?username=x", "", nil)
	r.registerAdmin("root")
}

func TestRegisterWithToken(t *testing.T) {
	r := newRig(t, func(c *account.Config, _ *csapi.Config) { c.Registration = account.WithToken })
	token, err := r.accounts.CreateRegistrationToken(t.Context(), store.RegistrationToken{UsesAllowed: 1})
	if err != nil {
		t.Fatal(err)
	}
	valid := "/_matrix/client/v1/register/m.login.registration_token/validity?token="
	if a := r.must("GET", valid+token, "", nil); a.body != `{"valid":true}` {
		t.Errorf("validity: %s", a.body)
	}
	body := map[string]any{"username": "anna", "password": "password", "auth": map[string]any{"type": "m.login.registration_token", "token": token}}
	r.must("POST", v3+"/register", "", body)
	body["username"] = "bert"
	r.refused(401, mxerr.CodeUnauthorized, "POST", v3+"/register", "", body)
	if a := r.must("GET", valid+token, "", nil); a.body != `{"valid":false}` {
		t.Errorf("validity: %s", a.body)
	}
	body["auth"] = map[string]any{"type": "m.login.dummy"}
	r.refused(401, mxerr.CodeForbidden, "POST", v3+"/register", "", body)
}

func TestLogin(t *testing.T) {
	r := newRig(t, func(_ *account.Config, c *csapi.Config) { c.Discovery.BaseURL = "https://matrix.klinik.test" })
	anna := r.register("anna")
	if a := r.must("GET", v3+"/login", "", `{}`); a.body != `{"flows":[{"type":"m.login.password"},{"type":"m.login.token","get_login_token":true}]}` ||
		a.header.Get("Content-Type") != "application/json" {
		t.Errorf("flows: %s %v", a.body, a.header)
	}
	for _, name := range []id.UserID{anna.user, "anna", "ANNA", "@ANNA:klinik.test"} {
		if got := r.login(name, map[string]any{"device_id": "TV"}); got.user != anna.user || got.device != "TV" {
			t.Errorf("login as %s: %+v", name, got)
		}
	}
	a := r.must("POST", v3+"/login", "", map[string]any{"type": "m.login.password", "user": "anna", "password": "password"})
	if !strings.Contains(a.body, `"well_known":{"m.homeserver":{"base_url":"https://matrix.klinik.test"}}`) {
		t.Errorf("login: %s", a.body)
	}
	for _, body := range []string{
		`{"type":"m.login.password","identifier":{"type":"m.id.user","user":"anna"},"password":"wrong"}`,
		`{"type":"m.login.password","identifier":{"type":"m.id.user","user":"nobody"},"password":"password"}`,
		`{"type":"m.login.password","identifier":{"type":"m.id.user","user":"@anna:other.test"},"password":"password"}`,
		`{"type":"m.login.password","identifier":{"type":"m.id.thirdparty","medium":"email","address":"a@b"},"password":"password"}`,
		`{"type":"m.login.password","identifier":{"type":"m.id.user","user":"anna"}}`,
		`{"type":"m.login.token","token":"x"}`,
	} {
		r.refused(403, mxerr.CodeForbidden, "POST", v3+"/login", "", body)
	}
	r.refused(400, mxerr.CodeUnknown, "POST", v3+"/login", "", `{"type":"m.login.magic"}`)
	r.refused(400, mxerr.CodeMissingParam, "POST", v3+"/login", "", `{"type":"m.login.password","password":"x"}`)
}

func TestLoginTokensNeedProof(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	path := "/_matrix/client/v1/login/get_token"
	if a := r.do("POST", path, anna.token, `{}`); a.status != 401 {
		t.Errorf("without proof: %d %s", a.status, a.body)
	}
	token := r.must("POST", path, anna.token, map[string]any{"auth": auth(anna.user, "password")}).field("login_token")
	a := r.must("POST", v3+"/login", "", map[string]any{"type": "m.login.token", "token": token})
	if a.field("user_id") != string(anna.user) || a.field("device_id") == string(anna.device) {
		t.Errorf("login: %s", a.body)
	}
	r.refused(403, mxerr.CodeForbidden, "POST", v3+"/login", "", map[string]any{"type": "m.login.token", "token": token})
}

func TestRefreshOverHTTP(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	a := r.must("POST", v3+"/login", "", map[string]any{"type": "m.login.password", "user": "anna", "password": "password", "refresh_token": true})
	if a.field("refresh_token") == "" || !strings.Contains(a.body, `"expires_in_ms":3600000`) {
		t.Fatalf("login: %s", a.body)
	}
	next := r.must("POST", v3+"/refresh", "", map[string]any{"refresh_token": a.field("refresh_token")})
	r.must("GET", v3+"/account/whoami", next.field("access_token"), nil)
	r.refused(401, mxerr.CodeUnknownToken, "GET", v3+"/account/whoami", a.field("access_token"), nil)
	r.refused(401, mxerr.CodeUnknownToken, "POST", v3+"/refresh", "", map[string]any{"refresh_token": "x"})
	r.refused(400, mxerr.CodeMissingParam, "POST", v3+"/refresh", "", `{}`)
	_ = anna
}

func TestDevices(t *testing.T) {
	r := newRig(t)
	anna, bert := r.register("anna"), r.register("bert")
	phone := r.login(anna.user, map[string]any{"device_id": "PHONE", "initial_device_display_name": "Telefon"})
	devices := v3 + "/devices"
	var list struct {
		Devices []struct {
			ID   id.DeviceID `json:"device_id"`
			Name string      `json:"display_name"`
		} `json:"devices"`
	}
	if err := json.Unmarshal([]byte(r.must("GET", devices, anna.token, nil).body), &list); err != nil || len(list.Devices) != 2 {
		t.Errorf("devices are %+v, %v", list, err)
	}
	r.must("PUT", devices+"/PHONE", anna.token, `{"display_name":"Handy"}`)
	r.must("PUT", devices+"/PHONE", anna.token, `{}`)
	if a := r.must("GET", devices+"/PHONE", anna.token, nil); a.field("display_name") != "Handy" || a.field("device_id") != "PHONE" {
		t.Errorf("device is %s", a.body)
	}
	for _, method := range []string{"GET", "PUT"} {
		r.refused(404, mxerr.CodeNotFound, method, devices+"/NONE", anna.token, `{"display_name":"x"}`)
		r.refused(404, mxerr.CodeNotFound, method, devices+"/PHONE", bert.token, `{"display_name":"x"}`)
	}
	r.refused(400, mxerr.CodeTooLarge, "PUT", devices+"/PHONE", anna.token, map[string]any{"display_name": strings.Repeat("x", 256)})

	a := r.do("DELETE", devices+"/PHONE", anna.token, nil)
	if a.status != 401 || a.field("session") == "" || a.field("flows") == "" || !strings.Contains(a.body, `"params":{}`) {
		t.Errorf("delete without proof: %d %s", a.status, a.body)
	}
	a = r.do("DELETE", devices+"/PHONE", anna.token, map[string]any{"auth": auth(anna.user, "wrong")})
	if a.status != 401 || a.field("errcode") != mxerr.CodeForbidden || a.field("error") == "" || a.field("session") == "" {
		t.Errorf("delete with a wrong password: %d %s", a.status, a.body)
	}
	r.refused(403, mxerr.CodeForbidden, "DELETE", devices+"/PHONE", anna.token, map[string]any{"auth": auth(bert.user, "password")})
	r.must("GET", devices+"/PHONE", anna.token, nil)
	r.must("DELETE", devices+"/PHONE", anna.token, map[string]any{"auth": auth(anna.user, "password")})
	r.refused(404, mxerr.CodeNotFound, "GET", devices+"/PHONE", anna.token, nil)
	r.refused(401, mxerr.CodeUnknownToken, "GET", devices, phone.token, nil)

	r.login(anna.user, map[string]any{"device_id": "ONE"})
	r.login(anna.user, map[string]any{"device_id": "TWO"})
	r.must("POST", v3+"/delete_devices", anna.token, map[string]any{"devices": []string{"ONE", "TWO", "NONE"}, "auth": auth(anna.user, "password")})
	if a := r.must("GET", devices, anna.token, nil); strings.Count(a.body, "device_id") != 1 {
		t.Errorf("devices are %s", a.body)
	}
}

// B12: a proof for one device deletes no other.
func TestB12ProofNamesTheDevice(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	r.login(anna.user, map[string]any{"device_id": "ONE"})
	r.login(anna.user, map[string]any{"device_id": "TWO"})
	session := r.do("DELETE", v3+"/devices/ONE", anna.token, `{}`).field("session")
	proof := auth(anna.user, "password")
	proof["session"] = session
	r.refused(403, mxerr.CodeForbidden, "DELETE", v3+"/devices/TWO", anna.token, map[string]any{"auth": proof})
	r.must("DELETE", v3+"/devices/ONE", anna.token, map[string]any{"auth": proof})
}

func TestLogout(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	other := r.login(anna.user, nil)
	r.must("POST", v3+"/logout", other.token, nil)
	r.must("GET", v3+"/account/whoami", anna.token, nil)
	other = r.login(anna.user, nil)
	r.must("POST", v3+"/logout/all", other.token, nil)
	for _, p := range []person{anna, other} {
		r.refused(401, mxerr.CodeUnknownToken, "GET", v3+"/account/whoami", p.token, nil)
	}
	r.refused(401, mxerr.CodeMissingToken, "POST", v3+"/logout", "", nil)
	r.refused(401, mxerr.CodeUnknownToken, "POST", v3+"/logout", "invalid", nil)
}

func TestChangePassword(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	other := r.login(anna.user, nil)
	path := v3 + "/account/password"
	if a := r.do("POST", path, anna.token, `{"new_password":"another"}`); a.status != 401 {
		t.Errorf("without proof: %d %s", a.status, a.body)
	}
	r.must("POST", path, anna.token, map[string]any{"new_password": "another", "logout_devices": false, "auth": auth(anna.user, "password")})
	r.must("GET", v3+"/account/whoami", other.token, nil)
	r.must("POST", path, anna.token, map[string]any{"new_password": "password", "auth": auth(anna.user, "another")})
	r.must("GET", v3+"/account/whoami", anna.token, nil)
	r.refused(401, mxerr.CodeUnknownToken, "GET", v3+"/account/whoami", other.token, nil)
	r.refused(400, mxerr.CodeWeakPassword, "POST", path, anna.token, map[string]any{"new_password": "short", "auth": auth(anna.user, "password")})
}

func TestDeactivate(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	ward := r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat"})
	path := v3 + "/account/deactivate"
	a := r.do("POST", path, anna.token, `{}`)
	if a.status != 401 || !strings.Contains(a.body, "m.login.password") {
		t.Errorf("without proof: %d %s", a.status, a.body)
	}
	r.refused(401, mxerr.CodeForbidden, "POST", path, anna.token, map[string]any{"auth": auth(anna.user, "wrong")})
	r.must("POST", path, anna.token, map[string]any{"auth": auth(anna.user, "password")})
	r.refused(401, mxerr.CodeUnknownToken, "GET", v3+"/account/whoami", anna.token, nil)
	r.refused(403, mxerr.CodeForbidden, "POST", v3+"/login", "", map[string]any{"type": "m.login.password", "user": "anna", "password": "password"})
	if m, err := r.rooms.Membership(t.Context(), ward, anna.user); err != nil || m != "leave" {
		t.Errorf("membership is %q, %v", m, err)
	}
}

func TestWhoIs(t *testing.T) {
	r := newRig(t)
	anna, bert, root := r.register("anna"), r.register("bert"), r.registerAdmin("root")
	path := v3 + "/admin/whois/" + string(anna.user)
	for _, p := range []person{anna, root} {
		if a := r.must("GET", path, p.token, nil); a.field("user_id") != string(anna.user) || !strings.Contains(a.body, string(anna.device)) {
			t.Errorf("whois: %s", a.body)
		}
	}
	r.refused(403, mxerr.CodeForbidden, "GET", path, bert.token, nil)
	r.refused(404, mxerr.CodeNotFound, "GET", v3+"/admin/whois/@nobody:klinik.test", root.token, nil)
}

func TestDiscovery(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	a := r.must("GET", "/_matrix/client/versions", "", nil)
	var versions struct {
		Versions []string
		Features map[string]bool `json:"unstable_features"`
	}
	if err := json.Unmarshal([]byte(a.body), &versions); err != nil || len(versions.Versions) == 0 {
		t.Fatalf("versions: %s", a.body)
	}
	if !versions.Features["org.matrix.msc3391"] || versions.Features["org.matrix.no_such_thing"] {
		t.Errorf("features: %v", versions.Features)
	}
	r.refused(401, mxerr.CodeMissingToken, "GET", v3+"/capabilities", "", nil)
	a = r.must("GET", v3+"/capabilities", anna.token, nil)
	for _, want := range []string{`"m.room_versions":{"available":{"1":"stable"`, `"default":"11"`, `"m.change_password":{"enabled":true}`, `"m.3pid_changes":{"enabled":false}`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("capabilities lack %s: %s", want, a.body)
		}
	}
	if a := r.must("GET", "/.well-known/matrix/client", "", nil); a.body != `{"m.homeserver":{"base_url":"http://example.com"}}` {
		t.Errorf("well-known: %s", a.body)
	}
	r.refused(404, mxerr.CodeNotFound, "GET", "/.well-known/matrix/server", "", nil)
	r.refused(404, mxerr.CodeNotFound, "GET", "/.well-known/matrix/support", "", nil)

	told := newRig(t, func(_ *account.Config, c *csapi.Config) {
		c.Discovery = csapi.Discovery{BaseURL: "https://m.klinik.test", ServerHost: "m.klinik.test:443",
			Contacts: []csapi.Contact{{Email: "it@klinik.test", Role: "m.role.admin"}}, ClientExtras: []byte(`{"org.x":{"a":1}}`)}
	})
	for path, want := range map[string]string{
		"/.well-known/matrix/client":  `{"m.homeserver":{"base_url":"https://m.klinik.test"},"org.x":{"a":1}}`,
		"/.well-known/matrix/server":  `{"m.server":"m.klinik.test:443"}`,
		"/.well-known/matrix/support": `{"contacts":[{"email_address":"it@klinik.test","role":"m.role.admin"}]}`,
	} {
		if a := told.must("GET", path, "", nil); a.body != want {
			t.Errorf("%s: %s, want %s", path, a.body, want)
		}
	}
}

func TestServices(t *testing.T) {
	r := newRig(t)
	anna, bert := r.register("anna"), r.register("bert")
	if a := r.must("GET", v3+"/voip/turnServer", anna.token, nil); a.body != `{}` {
		t.Errorf("no relay: %s", a.body)
	}
	calls := newRig(t, func(_ *account.Config, c *csapi.Config) {
		c.TURN = csapi.TURN{URIs: []string{"turn:turn.klinik.test?transport=udp"}, Secret: "north"}
	})
	mac := hmac.New(sha1.New, []byte("north"))
	mac.Write([]byte("1700086400:@anna:klinik.test"))
	want := `{"username":"1700086400:@anna:klinik.test","password":"` + base64.StdEncoding.EncodeToString(mac.Sum(nil)) +
		`","uris":["turn:turn.klinik.test?transport=udp"],"ttl":86400}`
	if a := calls.must("GET", v3+"/voip/turnServer", calls.register("anna").token, nil); a.body != want {
		t.Errorf("relay: %s, want %s", a.body, want)
	}
	path := v3 + "/user/" + string(anna.user) + "/openid/request_token"
	a := r.must("POST", path, anna.token, `{}`)
	if a.field("token_type") != "Bearer" || a.field("matrix_server_name") != "klinik.test" || a.field("expires_in") != "3600" {
		t.Errorf("OpenID: %s", a.body)
	}
	if user, err := r.accounts.OpenIDUser(t.Context(), a.field("access_token")); err != nil || user != anna.user {
		t.Errorf("OpenID token of %q, %v", user, err)
	}
	r.refused(403, mxerr.CodeForbidden, "POST", path, bert.token, `{}`)
	for path, want := range map[string]string{
		"/thirdparty/protocols": `{}`, "/thirdparty/location": `[]`, "/thirdparty/user": `[]`, "/thirdparty/user/irc": `[]`, "/account/3pid": `{"threepids":[]}`,
	} {
		if a := r.must("GET", v3+path, anna.token, nil); a.body != want {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	r.refused(404, mxerr.CodeNotFound, "GET", v3+"/thirdparty/protocol/irc", anna.token, nil)
	r.refused(400, mxerr.CodeThreepidMediumNotSupported, "POST", v3+"/register/email/requestToken", "", `{}`)
}
