package csapi_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"konsil/homeserver/account"
	"konsil/homeserver/csapi"
	"konsil/homeserver/delayed"
	"konsil/homeserver/e2ee"
	"konsil/homeserver/ephemeral"
	"konsil/homeserver/media"
	"konsil/homeserver/notice"
	"konsil/homeserver/notify"
	"konsil/homeserver/push"
	"konsil/homeserver/report"
	"konsil/homeserver/room"
	"konsil/homeserver/search"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/db/dbtest"
	"konsil/matrix/id"
	"konsil/matrix/sign"
)

const server = id.ServerName("klinik.test")

// rig is a domain's client API on a fresh store, with a clock that stands still.
type rig struct {
	http.Handler
	t        testing.TB
	store    *store.DB
	clock    *clock.Fake
	accounts *account.Keeper
	rooms    *room.Engine
}

// change is applied to the configurations before anything is made of them.
type change func(*account.Config, *csapi.Config)

func newRig(t testing.TB, changes ...change) *rig {
	t.Helper()
	return openRig(t, dbtest.SQLite(t), changes...)
}

// openRig is newRig on a database.
func openRig(t testing.TB, url string, changes ...change) *rig {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: url, Domain: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	key, err := sign.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	fake, wake := clock.NewFake(time.Unix(1_700_000_000, 0)), notify.New()
	keys := e2ee.New(e2ee.Config{Server: server, Store: db, Notify: wake, Clock: fake})
	accountConfig := account.Config{
		Server: server, Store: db, Notify: wake, Clock: fake, Hasher: account.NewHasher(account.CheapCost),
		Registration: account.Open, SharedSecret: "secret", MinPassword: 6, UnlimitedLogins: true,
		DevicesChanged: keys.DevicesChanged,
	}
	apiConfig := csapi.Config{Server: server, Clock: fake, E2EE: keys, Unlimited: true}
	for _, c := range changes {
		c(&accountConfig, &apiConfig)
	}
	accounts := account.New(accountConfig)
	rooms := room.New(room.Config{Store: db, Notify: wake, Clock: fake, Server: server, Key: key, CheckInvite: accounts.CheckInvite,
		Profile: func(ctx context.Context, user id.UserID) (room.Profile, error) {
			p, err := accounts.Profile(ctx, user)
			return room.Profile{DisplayName: p.DisplayName, AvatarURL: p.AvatarURL}, err
		}})
	apiConfig.Accounts, apiConfig.Rooms = accounts, rooms
	apiConfig.Search = search.New(search.Config{Store: db, Rooms: rooms, Notify: wake, Clock: fake})
	apiConfig.Delayed = delayed.New(delayed.Config{Store: db, Rooms: rooms, Clock: fake, Rand: rand.Reader})
	apiConfig.Reports = report.New(report.Config{Server: server, Store: db, Rooms: rooms, Clock: fake})
	apiConfig.Notices = notice.New(notice.Config{Server: server, Store: db, Accounts: accounts, Rooms: rooms})
	apiConfig.Media = media.New(media.Config{Server: server, Store: db, Dir: t.TempDir(), Clock: fake, MaxUpload: 1 << 20})
	apiConfig.Push = push.New(push.Config{Server: server, Store: db, Rooms: rooms, Notify: wake, Clock: fake, AllowPrivate: true})
	apiConfig.Ephemeral = ephemeral.New(ephemeral.Config{Server: server, Store: db, Notify: wake, Rooms: rooms, Accounts: accounts, Clock: fake})
	return &rig{csapi.New(apiConfig).Handler(), t, db, fake, accounts, rooms}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// field reads one field of the answer, as text.
func (a answer) field(name string) string {
	var all map[string]any
	if json.Unmarshal([]byte(a.body), &all) != nil || all[name] == nil {
		return ""
	}
	return fmt.Sprint(all[name])
}

// do makes a request; a body that is no string is sent as JSON.
func (r *rig) do(method, path, token string, body any) answer {
	r.t.Helper()
	var sent []byte
	switch b := body.(type) {
	case nil:
	case string:
		sent = []byte(b)
	default:
		var err error
		if sent, err = json.Marshal(b); err != nil {
			r.t.Fatal(err)
		}
	}
	req := httptest.NewRequest(method, path, bytes.NewReader(sent))
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return r.send(req)
}

func (r *rig) send(req *http.Request) answer {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// must is do for what has to succeed.
func (r *rig) must(method, path, token string, body any) answer {
	r.t.Helper()
	a := r.do(method, path, token, body)
	if a.status != http.StatusOK {
		r.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return a
}

// refused makes a request that has to be refused with this status and code.
func (r *rig) refused(status int, code, method, path, token string, body any) answer {
	r.t.Helper()
	a := r.do(method, path, token, body)
	if a.status != status || a.field("errcode") != code {
		r.t.Errorf("%s %s: %d %s, want %d %s", method, path, a.status, a.body, status, code)
	}
	return a
}

// person is a user with a session.
type person struct {
	user   id.UserID
	device id.DeviceID
	token  string
}

// register makes a user with the password "password".
func (r *rig) register(localpart string) person {
	r.t.Helper()
	a := r.must("POST", "/_matrix/client/v3/register", "", map[string]any{
		"username": localpart, "password": "password", "auth": map[string]string{"type": "m.login.dummy"}})
	return person{id.UserID(a.field("user_id")), id.DeviceID(a.field("device_id")), a.field("access_token")}
}

func (r *rig) login(user id.UserID, more map[string]any) person {
	r.t.Helper()
	body := map[string]any{"type": "m.login.password", "password": "password",
		"identifier": map[string]any{"type": "m.id.user", "user": user}}
	for k, v := range more {
		body[k] = v
	}
	a := r.must("POST", "/_matrix/client/v3/login", "", body)
	return person{id.UserID(a.field("user_id")), id.DeviceID(a.field("device_id")), a.field("access_token")}
}

// auth is the proof of a user by password.
func auth(user id.UserID, password string) map[string]any {
	return map[string]any{"type": "m.login.password", "password": password,
		"identifier": map[string]any{"type": "m.id.user", "user": user}}
}

// room makes a room.
func (r *rig) room(req room.CreateRequest) id.RoomID {
	r.t.Helper()
	made, err := r.rooms.Create(r.t.Context(), req)
	if err != nil {
		r.t.Fatal(err)
	}
	return made.Room
}
