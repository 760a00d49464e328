package csapi_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"konsil/homeserver/account"
	"konsil/homeserver/csapi"
	"konsil/matrix/endpoint"
	"konsil/matrix/mxerr"
)

const v3 = "/_matrix/client/v3"

func TestAccessTokens(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	whoami := v3 + "/account/whoami"
	want := `{"user_id":"@anna:klinik.test","device_id":"` + string(anna.device) + `","is_guest":false}`
	if a := r.must("GET", whoami, anna.token, nil); a.body != want {
		t.Errorf("whoami is %s, want %s", a.body, want)
	}
	r.must("GET", whoami+"?access_token="+anna.token, "", nil)
	req := httptest.NewRequest("GET", whoami, nil)
	req.Header.Set("Authorization", "bearer "+anna.token)
	if a := r.send(req); a.status != 200 {
		t.Errorf("scheme in small letters: %d %s", a.status, a.body)
	}
	r.refused(401, mxerr.CodeMissingToken, "GET", whoami, "", nil)
	for _, bad := range []string{"", "x", anna.token + "x", strings.Repeat("x", 10000)} {
		req := httptest.NewRequest("GET", whoami, nil)
		req.Header.Set("Authorization", "Bearer "+bad)
		if a := r.send(req); a.status != 401 || strings.Contains(a.body, "soft_logout") {
			t.Errorf("token %.10q: %d %s", bad, a.status, a.body)
		}
	}
	r.must("POST", v3+"/logout", anna.token, nil)
	r.refused(401, mxerr.CodeUnknownToken, "GET", whoami, anna.token, nil)
}

func TestLockedAndSuspended(t *testing.T) {
	r := newRig(t)
	chief, anna := r.register("chief"), r.register("anna")
	lock, suspend := "/_matrix/client/v1/admin/lock/"+string(anna.user), "/_matrix/client/v1/admin/suspend/"+string(anna.user)
	r.refused(403, mxerr.CodeForbidden, "PUT", lock, chief.token, `{"locked":true}`)
	admin := r.registerAdmin("root")
	r.must("PUT", lock, admin.token, `{"locked":true}`)
	if a := r.must("GET", lock, admin.token, nil); a.body != `{"locked":true}` {
		t.Errorf("lock is %s", a.body)
	}
	a := r.refused(401, mxerr.CodeUserLocked, "GET", v3+"/account/whoami", anna.token, nil)
	if a.field("soft_logout") != "true" {
		t.Errorf("a lock is a soft logout: %s", a.body)
	}
	r.must("PUT", lock, admin.token, `{"locked":false}`)
	r.must("GET", v3+"/account/whoami", anna.token, nil)

	r.must("PUT", suspend, admin.token, `{"suspended":true}`)
	r.must("GET", v3+"/account/whoami", anna.token, nil)
	r.refused(403, mxerr.CodeUserSuspended, "PUT", v3+"/profile/"+string(anna.user)+"/displayname", anna.token, `{"displayname":"x"}`)
	r.must("PUT", suspend, admin.token, `{"suspended":false}`)
	r.must("PUT", v3+"/profile/"+string(anna.user)+"/displayname", anna.token, `{"displayname":"x"}`)

	r.refused(403, mxerr.CodeForbidden, "PUT", "/_matrix/client/v1/admin/lock/"+string(admin.user), admin.token, `{"locked":true}`)
	r.refused(404, mxerr.CodeNotFound, "GET", "/_matrix/client/v1/admin/lock/@nobody:klinik.test", admin.token, nil)
	r.refused(400, mxerr.CodeInvalidParam, "GET", "/_matrix/client/v1/admin/lock/@anna:other.test", admin.token, nil)
	r.refused(400, mxerr.CodeMissingParam, "PUT", lock, admin.token, `{}`)

	r.must("PUT", lock, admin.token, `{"locked":true}`)
	r.must("POST", v3+"/logout", anna.token, nil) // the one thing left
}

// A form is refused before anything of it is read. CVE-2024-52805
func TestB03FormsAreNoJSON(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	for _, kind := range []string{"multipart/form-data; boundary=x", "MULTIPART/Form-Data; boundary=x", "multipart/form-data", "Multipart/Mixed;boundary=\"x\""} {
		body := &unread{}
		req := httptest.NewRequest("PUT", v3+"/user/"+string(anna.user)+"/account_data/x", body)
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Authorization", "Bearer "+anna.token)
		if a := r.send(req); a.status != 400 || a.field("errcode") != mxerr.CodeNotJSON {
			t.Errorf("%s: %d %s", kind, a.status, a.body)
		}
		if body.read {
			t.Errorf("%s: the body was read", kind)
		}
	}
}

type unread struct{ read bool }

func (u *unread) Read(p []byte) (int, error) {
	u.read = true
	return len(p), nil
}

func TestBodies(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	path := v3 + "/user/" + string(anna.user) + "/account_data/x"
	for body, code := range map[string]string{
		`{`: mxerr.CodeNotJSON, `{"a":}`: mxerr.CodeNotJSON, "{\"a\":\"\x81\"}": mxerr.CodeNotJSON,
		`[]`: mxerr.CodeBadJSON, `"x"`: mxerr.CodeBadJSON, `1`: mxerr.CodeBadJSON,
		strings.Repeat(`{"a":`, 5000) + `1` + strings.Repeat("}", 5000): mxerr.CodeBadJSON,
	} {
		a := r.do("PUT", path, anna.token, body)
		if a.status != 400 || a.field("errcode") != code {
			t.Errorf("%.20q: %d %s, want %s", body, a.status, a.body, code)
		}
	}
	r.refused(413, mxerr.CodeTooLarge, "PUT", path, anna.token, `{"a":"`+strings.Repeat("x", 512<<10)+`"}`)
	r.refused(400, mxerr.CodeBadJSON, "POST", v3+"/login", "", `{"type":1}`)
	r.refused(400, mxerr.CodeMissingParam, "POST", v3+"/login", "", `{}`)
	r.refused(400, mxerr.CodeInvalidParam, "GET", v3+"/profile/nobody", "", nil)
}

// Whatever a path is dressed up as, it is the endpoint or nothing. GHSA-vh4c
func TestB17PathTricks(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	for _, path := range []string{
		"/", "/_matrix", "/_matrix/unknown", "/_matrix/client", "/_matrix/client/unknown", "/_matrix/client/v1/unknown", "/_matrix/client/v3/room/unknown",
		"//_matrix/client/v3/account/whoami", "/_matrix//client/v3/account/whoami", "/_matrix/client/v3/account/whoami/",
		"/_matrix/client/v3/account/./whoami", "/_matrix/client/v3/x/../account/whoami", "/x/_matrix/client/v3/account/whoami",
		"/_matrix/client/v3/account/whoami/x", "/_matrix/client/v3/account%2Fwhoami", "/_matrix/client/v3/account/WHOAMI",
		"/_matrix/client/v2/account/whoami", "/_matrix/client/v3/account/whoami%00", "/_matrix/client/v3/account/whoami;x",
		"/_matrix/client/v3/user/" + string(anna.user) + "/account_data/../../whoami", "/_matrix/client/v3/user//account_data/x",
	} {
		r.refused(404, mxerr.CodeUnrecognized, "GET", path, anna.token, nil)
	}
	for path, method := range map[string]string{
		"/_matrix/client/v3/login": "PUT", "/_matrix/client/v3/account/whoami": "POST", "/_matrix/client/versions": "DELETE",
	} {
		a := r.refused(405, mxerr.CodeUnrecognized, method, path, anna.token, nil)
		if a.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", method, path)
		}
	}
	// A slash inside a parameter stays inside.
	r.must("PUT", v3+"/user/"+string(anna.user)+"/account_data/a%2Fb", anna.token, `{"x":1}`)
	if a := r.must("GET", v3+"/user/"+string(anna.user)+"/account_data/a%2Fb", anna.token, nil); a.body != `{"x":1}` {
		t.Errorf("account data is %s", a.body)
	}
}

func TestCrossOrigin(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{v3 + "/login", v3 + "/account/whoami", "/_matrix/client/unknown"} {
		for _, method := range []string{"OPTIONS", "GET"} {
			a := r.do(method, path, "", nil)
			if a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Allow-Headers") == "" {
				t.Errorf("%s %s: %v", method, path, a.header)
			}
			if method == "OPTIONS" && (a.status != 204 || a.body != "") {
				t.Errorf("preflight of %s: %d %s", path, a.status, a.body)
			}
		}
	}
}

func TestLimitsSayWhen(t *testing.T) {
	r := newRig(t, func(_ *account.Config, c *csapi.Config) { c.Unlimited = false })
	for range 1000 {
		a := r.do("GET", v3+"/register/available?username=x", "", nil)
		if a.status == 200 {
			continue
		}
		if a.status != 429 || a.field("errcode") != mxerr.CodeLimitExceeded || a.header.Get("Retry-After") != "1" {
			t.Fatalf("%d %s %v", a.status, a.body, a.header)
		}
		return
	}
	t.Error("nobody stopped it")
}

// What a client claims in X-Forwarded-For is believed of a trusted proxy only.
func TestB18ForwardedFor(t *testing.T) {
	limited := func(trusted ...netip.Prefix) int {
		r := newRig(t, func(_ *account.Config, c *csapi.Config) { c.Unlimited, c.TrustedProxies = false, trusted })
		for n := range 1000 {
			req := httptest.NewRequest("GET", v3+"/register/available?username=x", nil)
			req.RemoteAddr = "192.0.2.1:1234"
			req.Header.Set("X-Forwarded-For", "198.51.100.7, 203.0.113."+string(rune('0'+n%10)))
			if a := r.send(req); a.status == http.StatusTooManyRequests {
				return n
			}
		}
		return 1000
	}
	alone := limited()
	if got := limited(netip.MustParsePrefix("10.0.0.0/8")); got != alone {
		t.Errorf("stopped after %d behind a foreign proxy, after %d without", got, alone)
	}
	if got := limited(netip.MustParsePrefix("192.0.2.0/24")); got != 10*alone {
		t.Errorf("stopped after %d for ten clients behind our proxy, after %d for one", got, alone)
	}
}

// Each row's path is spelled as the list of endpoints says, and no two rows answer the same.
func TestRoutesAreKnownEndpoints(t *testing.T) {
	known := map[string]bool{}
	for _, e := range endpoint.ClientServer() {
		for _, path := range e.Paths {
			known[e.Method+" "+strings.TrimSpace(path)] = true
		}
	}
	api := csapi.New(csapi.Config{Accounts: account.New(account.Config{})})
	if got := len(api.Routes()); got < 100 {
		t.Fatalf("%d routes", got)
	}
	for _, route := range api.Routes() {
		if !known[route.Method+" "+route.Path] && !strings.Contains(route.Path, "/unstable/") && !strings.HasPrefix(route.Path, "/_synapse/") &&
			!strings.HasPrefix(route.Path, "/.well-known/") {
			t.Errorf("%s %s is no endpoint of the specification", route.Method, route.Path)
		}
	}
}

func BenchmarkWhoami(b *testing.B) {
	r := newRig(b)
	anna := r.register("anna")
	req := httptest.NewRequest("GET", v3+"/account/whoami", nil)
	req.Header.Set("Authorization", "Bearer "+anna.token)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}
