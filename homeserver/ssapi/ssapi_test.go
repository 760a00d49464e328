package ssapi_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"konsil/client/ssclient"
	"konsil/homeserver/account"
	"konsil/homeserver/e2ee"
	"konsil/homeserver/federation"
	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/ssapi"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/roomver"
	"konsil/matrix/sign"
)

var ctx = context.Background()

// domain is one server; two of them speak by the short way through memory.
type domain struct {
	name     id.ServerName
	key      sign.Key
	client   *ssclient.Client
	rooms    *room.Engine
	accounts *account.Keeper
	api      *ssapi.API
}

func pair(t *testing.T) (one, two *domain) {
	t.Helper()
	domains := map[id.ServerName]*domain{}
	network := ssclient.NewNetwork(ssclient.NetworkConfig{Local: func(name id.ServerName) http.Handler {
		if d := domains[name]; d != nil {
			return d.api
		}
		return nil
	}})
	for _, name := range []id.ServerName{"one.test", "two.test"} {
		key, err := sign.NewKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		db, err := store.Open(ctx, store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "domain.db"), Domain: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		d := &domain{name: name, key: key, client: ssclient.New(ssclient.Config{Server: name, Key: key, Network: network})}
		n := notify.New()
		d.rooms = room.New(room.Config{Store: db, Notify: n, Server: name, Key: key})
		d.accounts = account.New(account.Config{Server: name, Store: db, Notify: n, Registration: account.Open})
		devices := e2ee.New(e2ee.Config{Server: name, Store: db, Notify: n, Remote: d.client})
		fed := federation.New(federation.Config{Server: name, Key: key, Client: d.client, Store: db, Rooms: d.rooms, Notify: n, Devices: devices})
		d.api = ssapi.New(ssapi.Config{Server: name, Federation: fed, Rooms: d.rooms, Accounts: d.accounts, Devices: devices, Media: shelf{}})
		domains[name] = d
	}
	return domains["one.test"], domains["two.test"]
}

// shelf is a media repository of one file, whose content is awkward for multipart.
type shelf struct{}

const awkward = "line\r\n--\r\n--boundary--\r\n\x00end"

func (shelf) LocalFile(_ context.Context, mediaID string, _ time.Duration) (ssapi.File, error) {
	if mediaID != "file" {
		return ssapi.File{}, mxerr.NotFound("Media not found")
	}
	return ssapi.File{ContentType: "text/plain", Disposition: `inline; filename*=utf-8''%C3%BC.txt`, Size: int64(len(awkward)), Body: io.NopCloser(strings.NewReader(awkward))}, nil
}

func (s shelf) LocalThumbnail(ctx context.Context, mediaID string, wait time.Duration, width, height int, method string, animated bool) (ssapi.File, error) {
	text := fmt.Sprint(mediaID, width, height, method, animated, wait)
	return ssapi.File{ContentType: "image/png", Size: -1, Body: io.NopCloser(strings.NewReader(text))}, nil
}

func TestMediaIsServedAsMultipart(t *testing.T) {
	one, two := pair(t)
	get := func(req ssclient.MediaRequest) (string, *ssclient.Media, error) {
		req.Server = one.name
		m, err := two.client.Download(ctx, req)
		if err != nil {
			return "", nil, err
		}
		defer m.Body.Close()
		body, err := io.ReadAll(m.Body)
		return string(body), m, err
	}
	body, m, err := get(ssclient.MediaRequest{MediaID: "file"})
	if err != nil || body != awkward || m.ContentType != "text/plain" || m.Disposition != `inline; filename*=utf-8''%C3%BC.txt` {
		t.Errorf("%q %+v %v", body, m, err)
	}
	body, _, err = get(ssclient.MediaRequest{MediaID: "file", Timeout: 5 * time.Second, Thumbnail: &ssclient.Thumbnail{Width: 32, Height: 16, Method: "crop"}})
	if err != nil || body != fmt.Sprint("file", 32, 16, "crop", false, 5*time.Second) {
		t.Errorf("thumbnail %q, %v", body, err)
	}
	if _, _, err := get(ssclient.MediaRequest{MediaID: "none"}); !ssclient.Refused(err, mxerr.CodeNotFound) {
		t.Errorf("an unknown file: %v", err)
	}
}

// raw sends a signed request with a content type.
func (d *domain) raw(t *testing.T, to *domain, method, uri, contentType string, body []byte) *httptest.ResponseRecorder {
	t.Helper()
	header, err := sign.SignRequest(method, uri, d.name, to.name, body, d.key)
	if err != nil && body != nil {
		header, err = sign.SignRequest(method, uri, d.name, to.name, nil, d.key)
	}
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest(method, uri, bytes.NewReader(body))
	req.Header.Set("Authorization", header)
	req.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	to.api.ServeHTTP(w, req)
	return w
}

// B03: a form where JSON belongs is refused, in whatever case its type is written.
func TestB03FormsAreRefused(t *testing.T) {
	one, two := pair(t)
	for _, contentType := range []string{"multipart/form-data; boundary=x", "MULTIPART/Form-Data; boundary=x", "multipart/mixed; boundary=x"} {
		w := two.raw(t, one, "PUT", "/_matrix/federation/v1/send/1", contentType, []byte(`{"pdus":[]}`))
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "M_NOT_JSON") {
			t.Errorf("%s: %d %s", contentType, w.Code, w.Body)
		}
	}
	// Any other type, or none, is JSON to us: servers are not required to name it.
	if w := two.raw(t, one, "PUT", "/_matrix/federation/v1/send/1", "text/plain", []byte(`{"pdus":[]}`)); w.Code != http.StatusOK {
		t.Errorf("text/plain: %d %s", w.Code, w.Body)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	one, two := pair(t)
	for uri, size := range map[string]int{"PUT /_matrix/federation/v1/send/1": 13 << 20, "PUT /_matrix/federation/v2/send_join/!r:one.test/$e": 1 << 20,
		"POST /_matrix/federation/v1/user/keys/query": 2 << 20} {
		method, path, _ := strings.Cut(uri, " ")
		w := two.raw(t, one, method, path, "application/json", []byte(`{"a":"`+strings.Repeat("x", size)+`"}`))
		if w.Code != http.StatusRequestEntityTooLarge || !strings.Contains(w.Body.String(), "M_TOO_LARGE") {
			t.Errorf("%s: %d %.100s", uri, w.Code, w.Body)
		}
	}
}

// The shapes of old: [200, {…}].
func TestVersionOneHandshakes(t *testing.T) {
	one, two := pair(t)
	alice := id.UserID("@alice:one.test")
	created, err := one.rooms.Create(ctx, room.CreateRequest{Creator: alice, Preset: "public_chat"})
	if err != nil {
		t.Fatal(err)
	}
	member := func(membership string) *event.PDU {
		t.Helper()
		ask := two.client.MakeLeave
		if membership == "join" {
			ask = func(ctx context.Context, server id.ServerName, roomID id.RoomID, user id.UserID) (ssclient.Template, error) {
				return two.client.MakeJoin(ctx, server, roomID, user, roomver.Names())
			}
		}
		template, err := ask(ctx, one.name, created.Room, "@bob:two.test")
		if err != nil {
			t.Fatal(err)
		}
		v, _ := roomver.Get(template.Version)
		proposed, err := event.ParseTemplate(template.Event, v)
		if err != nil {
			t.Fatal(err)
		}
		proposed.OriginServerTS = time.Now().UnixMilli()
		ev, err := event.Build(v, proposed, two.name, two.key)
		if err != nil {
			t.Fatal(err)
		}
		return ev
	}
	path := func(verb string, ev *event.PDU) string {
		return "/_matrix/federation/v1/" + verb + "/" + string(created.Room) + "/" + string(ev.ID)
	}
	join := member("join")
	w := two.raw(t, one, "PUT", path("send_join", join), "application/json", join.JSON)
	var answer []json.RawMessage
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || len(answer) != 2 || string(answer[0]) != "200" || !bytes.Contains(answer[1], []byte(`"auth_chain":[`)) {
		t.Errorf("send_join: %d %.200s", w.Code, w.Body)
	}
	leave := member("leave")
	if w := two.raw(t, one, "PUT", path("send_leave", leave), "application/json", leave.JSON); strings.TrimSpace(w.Body.String()) != "[200,{}]" {
		t.Errorf("send_leave: %d %s", w.Code, w.Body)
	}
	if m, err := one.rooms.Membership(ctx, created.Room, "@bob:two.test"); err != nil || m != "leave" {
		t.Errorf("bob is %q, %v", m, err)
	}
}

// What send_join and its kin take is checked before the room is looked at. SS v1.16 #put_matrixfederationv2send_joinroomideventid
func TestHandshakesTakeTheRightEventOnly(t *testing.T) {
	one, two := pair(t)
	created, err := one.rooms.Create(ctx, room.CreateRequest{Creator: "@alice:one.test", Preset: "public_chat"})
	if err != nil {
		t.Fatal(err)
	}
	template, err := two.client.MakeJoin(ctx, one.name, created.Room, "@bob:two.test", roomver.Names())
	if err != nil {
		t.Fatal(err)
	}
	v, _ := roomver.Get(template.Version)
	bob, doris := "@bob:two.test", "@doris:two.test"
	for name, change := range map[string]func(p *event.Template){
		"a message":             func(p *event.Template) { p.Type, p.StateKey = "m.room.message", nil },
		"no state":              func(p *event.Template) { p.StateKey = nil },
		"another membership":    func(p *event.Template) { p.Content = []byte(`{"membership":"invite"}`) },
		"another's state key":   func(p *event.Template) { p.StateKey = &doris },
		"another server's user": func(p *event.Template) { p.Sender, p.StateKey = "@alice:one.test", new(string) },
		"another room":          func(p *event.Template) { p.RoomID = "!another:one.test" },
	} {
		t.Run(name, func(t *testing.T) {
			proposed, err := event.ParseTemplate(template.Event, v)
			if err != nil {
				t.Fatal(err)
			}
			proposed.StateKey = &bob
			change(&proposed)
			ev, err := event.Build(v, proposed, two.name, two.key)
			if err != nil {
				t.Fatal(err)
			}
			for _, verb := range []string{"send_join", "send_leave", "send_knock"} {
				version := "v2"
				if verb == "send_knock" {
					version = "v1"
				}
				w := two.raw(t, one, "PUT", "/_matrix/federation/"+version+"/"+verb+"/"+string(created.Room)+"/"+string(ev.ID), "application/json", ev.JSON)
				if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "M_INVALID_PARAM") {
					t.Errorf("%s: %d %s", verb, w.Code, w.Body)
				}
			}
		})
	}
	if servers, err := one.rooms.JoinedServers(ctx, created.Room); err != nil || !slices.Equal(servers, []id.ServerName{one.name}) {
		t.Errorf("servers %v, %v", servers, err)
	}
}

func TestOpenIDTokensNameTheirUser(t *testing.T) {
	one, two := pair(t)
	token, err := one.accounts.NewOpenIDToken(ctx, "@alice:one.test")
	if err != nil {
		t.Fatal(err)
	}
	if user, err := two.client.OpenIDUserInfo(ctx, one.name, token); err != nil || user != "@alice:one.test" {
		t.Errorf("%s, %v", user, err)
	}
	if _, err := two.client.OpenIDUserInfo(ctx, one.name, "wrong"); !ssclient.Refused(err, mxerr.CodeUnknownToken) {
		t.Errorf("a wrong token: %v", err)
	}
}

// Room versions are compared before anything is said about the room's rules. SS v1.16 #get_matrixfederationv1make_joinroomiduserid
func TestMakeJoinComparesVersions(t *testing.T) {
	one, two := pair(t)
	created, err := one.rooms.Create(ctx, room.CreateRequest{Creator: "@alice:one.test", Preset: "public_chat", Version: "11"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = two.client.MakeJoin(ctx, one.name, created.Room, "@bob:two.test", []string{"1", "10"})
	if e, ok := ssclient.Answered(err); !ok || e.Status != 400 || e.Code != mxerr.CodeIncompatibleRoomVersion || e.RoomVersion != "11" {
		t.Errorf("other versions: %+v", err)
	}
	if _, err = two.client.MakeJoin(ctx, one.name, created.Room, "@bob:two.test", nil); !ssclient.Refused(err, mxerr.CodeIncompatibleRoomVersion) {
		t.Errorf("no versions stand for 1: %v", err)
	}
	if _, err = two.client.MakeJoin(ctx, one.name, created.Room, "@bob:else.test", roomver.Names()); !ssclient.Refused(err, mxerr.CodeForbidden) {
		t.Errorf("another server's user: %v", err)
	}
	if _, err = two.client.MakeJoin(ctx, one.name, "!none:one.test", "@bob:two.test", roomver.Names()); !ssclient.Refused(err, mxerr.CodeNotFound) {
		t.Errorf("an unknown room: %v", err)
	}
}
