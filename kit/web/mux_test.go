package web_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"konsil/kit/web"
)

// names answers with the route it is, and the parameters.
func names(route string, params ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, route)
		for _, p := range params {
			_, _ = fmt.Fprintf(w, " %s=%q", p, r.PathValue(p))
		}
		if r.Pattern == "" {
			_, _ = io.WriteString(w, " without pattern")
		}
	})
}

func status(code int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

func testMux() http.Handler {
	return web.NewMux([]web.Route{
		{Method: "GET", Path: "/v3/rooms/{room}/state/{type}/{key}", Handler: names("get-state", "room", "type", "key")},
		{Method: "GET", Path: "/v3/rooms/{room}/state/{type}/{$}", Handler: names("get-state", "room", "type", "key")},
		{Method: "GET", Path: "/v3/rooms/{room}/state/{type}", Handler: names("get-state", "room", "type", "key")},
		{Method: "PUT", Path: "/v3/rooms/{room}/state/{type}/{key}", Handler: names("put-state", "room", "type", "key")},
		{Method: "GET", Path: "/v3/rooms/{room}/state", Handler: names("all-state", "room")},
		{Method: "GET", Path: "/v3/rooms/{room}/aliases", Handler: names("aliases", "room")},
		{Method: "POST", Path: "/v3/rooms/upgrade", Handler: names("fixed")},
		{Method: "POST", Path: "/v3/rooms/{room}/join", Handler: names("join", "room")},
		{Method: "GET", Path: "/v3/pushrules/", Handler: names("pushrules")},
		{Method: "GET", Path: "/files/{path...}", Handler: names("file", "path")},
		{Method: "GET", Path: "/", Handler: names("root")},
	}, status(404), status(405))
}

func ask(h http.Handler, method, target string) (int, string, http.Header) {
	r := httptest.NewRequest(method, "/", nil)
	if i := strings.IndexByte(target, '?'); i >= 0 {
		r.URL.RawQuery, target = target[i+1:], target[:i]
	}
	path, raw := target, ""
	if u, err := url.Parse("http://x" + target); err == nil {
		path, raw = u.Path, u.RawPath
	}
	r.URL.Path, r.URL.RawPath = path, raw
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String(), w.Header()
}

func TestMux(t *testing.T) {
	h := testMux()
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/v3/rooms/!r:x/state/m.room.name/", `get-state room="!r:x" type="m.room.name" key=""`},
		{"GET", "/v3/rooms/!r:x/state/m.room.name", `get-state room="!r:x" type="m.room.name" key=""`},
		{"GET", "/v3/rooms/%21r%3Ax/state/m.room.name/a%2Fb", `get-state room="!r:x" type="m.room.name" key="a/b"`},
		{"GET", "/v3/rooms/a%2Fstate/state", `all-state room="a/state"`},
		{"GET", "/v3/rooms/r/state/t/%2E%2E", `get-state room="r" type="t" key=".."`}, // a state key may be anything
		{"GET", "/v3/rooms/r/state/t/100%25", `get-state room="r" type="t" key="100%"`},
		{"PUT", "/v3/rooms/r/state/t/k", `put-state room="r" type="t" key="k"`},
		{"GET", "/v3/rooms/upgrade/state", `all-state room="upgrade"`}, // the fixed segment leads nowhere, the parameter does
		{"POST", "/v3/rooms/upgrade", "fixed"},
		{"HEAD", "/v3/rooms/r/aliases", `aliases room="r"`},
		{"GET", "/v3/pushrules/", "pushrules"},
		{"GET", "/files/a/b%20c.js", `file path="a/b c.js"`},
		{"GET", "/files/", `file path=""`},
		{"GET", "/", "root"},
		{"GET", "/v3/rooms/r/aliases?x=//..", `aliases room="r"`},
	} {
		if code, body, _ := ask(h, c.method, c.path); code != 200 || body != c.want {
			t.Errorf("%s %s: got %d %s, want %s", c.method, c.path, code, body, c.want)
		}
	}
}

// What is no path of ours is unknown, and never another path's handler or a redirect to it.
func TestB17PathTricks(t *testing.T) {
	h := testMux()
	for _, path := range []string{
		"//v3/rooms/r/state", "/v3//rooms/r/state", "/v3/rooms//state", "/v3/rooms/r//state", "/v3/rooms/r/state//", "/v3/rooms/r/aliases/",
		"/v3/rooms/r/aliases/.", "/v3/rooms/r/aliases/..", "/v3/./rooms/r/state", "/v3/rooms/../rooms/r/state", "/v3/rooms/r/../state",
		"/../v3/rooms/r/state", "/x/v3/rooms/r/state", "/v3/rooms/r/statex", "/v3/rooms/r/state/t/k/more", "/v3/rooms/r/aliases%2F",
		"/v3%2Frooms/r/state", "/v3/rooms%2Fr/state", "/V3/rooms/r/state", "/v3/rooms/r/aliases;x", "/v3/rooms/r/aliases%00", "/v3/pushrules",
		"/files/../secret", "/files/a/../../secret", "/files/%2e%2e/secret", "/files/a%2F..%2Fb", "/files//x", "/files/a%5Cb", "/files", "", "*",
		"/v3/rooms/r/%73tate", "/v3/rooms/./state",
	} {
		if code, body, header := ask(h, "GET", path); code != 404 || header.Get("Location") != "" {
			t.Errorf("GET %s: got %d %s %v", path, code, body, header)
		}
	}
	for _, c := range []struct{ method, path, allow string }{
		{"DELETE", "/v3/rooms/r/state/t/k", "GET, HEAD, PUT"},
		{"GET", "/v3/rooms/r/join", "POST"},
		{"get", "/v3/rooms/r/aliases", "GET, HEAD"},
		{"HEAD", "/v3/rooms/r/join", "POST"},
		{"BREW", "/v3/rooms/upgrade", "POST"},
	} {
		if code, _, header := ask(h, c.method, c.path); code != 405 || header.Get("Allow") != c.allow {
			t.Errorf("%s %s: got %d, allow %s", c.method, c.path, code, header.Get("Allow"))
		}
	}
	if code, _, _ := ask(h, "CONNECT", "/v3/rooms/r/aliases"); code != 404 {
		t.Errorf("CONNECT: %d", code)
	}
}

// The same over a real connection, where net/http has a say too.
func TestB17OverTheWire(t *testing.T) {
	srv := httptest.NewServer(testMux())
	defer srv.Close()
	client := &http.Client{CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		t.Errorf("redirected to %s", r.URL)
		return http.ErrUseLastResponse
	}}
	for path, want := range map[string]int{"/v3//rooms/r/aliases": 404, "/v3/rooms/%21r%2Fx%3Ay/aliases": 200, "/v3/rooms/r/../r/aliases": 404} {
		resp, err := client.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
}

func TestNewMuxRefusesBadRoutes(t *testing.T) {
	for _, routes := range [][]web.Route{
		{{Method: "GET", Path: "x"}},
		{{Method: "GET", Path: "/{"}},
		{{Method: "GET", Path: "/{}"}},
		{{Method: "GET", Path: "/a{b}"}},
		{{Method: "GET", Path: "/{b}c"}},
		{{Method: "GET", Path: "/{b}/{b}"}},
		{{Method: "GET", Path: "/{b...}/c"}},
		{{Method: "GET", Path: "/a"}, {Method: "GET", Path: "/a"}},
		{{Method: "GET", Path: "/{a}"}, {Method: "GET", Path: "/{b}"}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v is taken", routes)
				}
			}()
			web.NewMux(routes, status(404), status(405))
		}()
	}
}

// FuzzMux looks for paths that panic, are redirected, or reach a handler with fewer slashes than its route has.
func FuzzMux(f *testing.F) {
	for _, s := range []string{"/v3/rooms/r/state/t/", "/v3//rooms", "/files/../x", "/%2e%2e/", "/v3/rooms/%zz/state", "/files/a/b"} {
		f.Add(s)
	}
	h := testMux()
	f.Fuzz(func(t *testing.T, path string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path, r.URL.RawPath = path, path
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 404 && w.Code != 405 {
			t.Errorf("%q: %d", path, w.Code)
		}
		if w.Code == 200 && r.Pattern != "/files/{path...}" {
			want := strings.Count(strings.TrimSuffix(r.Pattern, "{$}"), "/")
			if got := strings.Count(r.URL.EscapedPath(), "/"); got != want {
				t.Errorf("%q reached %s", path, r.Pattern)
			}
		}
	})
}

func BenchmarkMux(b *testing.B) {
	h := web.NewMux([]web.Route{
		{Method: "PUT", Path: "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}", Handler: status(200)},
		{Method: "GET", Path: "/_matrix/client/v3/sync", Handler: status(200)},
	}, status(404), status(405))
	r := httptest.NewRequest("PUT", "/_matrix/client/v3/rooms/%21abc%3Aexample.org/send/m.room.message/17", nil)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
