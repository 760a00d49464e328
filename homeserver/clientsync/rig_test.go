package clientsync_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"konsil/homeserver/account"
	"konsil/homeserver/clientsync"
	"konsil/homeserver/csapi"
	"konsil/homeserver/e2ee"
	"konsil/homeserver/ephemeral"
	"konsil/homeserver/notify"
	"konsil/homeserver/push"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/db/dbtest"
	"konsil/matrix/id"
	"konsil/matrix/sign"
)

const server = id.ServerName("here.test")

// domain is one domain behind its real API handler, on a real store.
type domain struct {
	t       testing.TB
	url     string
	key     sign.Key
	store   *store.DB
	rooms   *room.Engine
	e2ee    *e2ee.Keeper
	account *account.Keeper
	push    *push.Keeper
	sync    *clientsync.Syncer
	handler http.Handler
	txn     int
	stop    func()
}

func newDomain(t testing.TB) *domain {
	t.Helper()
	return openDomain(t, dbtest.SQLite(t))
}

func openDomain(t testing.TB, url string) *domain {
	t.Helper()
	key, err := sign.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := &domain{t: t, url: url, key: key}
	d.open()
	t.Cleanup(func() { d.stop() })
	return d
}

func (d *domain) open() {
	d.t.Helper()
	db, err := store.Open(context.Background(), store.Config{URL: d.url, Domain: 1})
	if err != nil {
		d.t.Fatal(err)
	}
	wake := notify.New()
	d.store = db
	d.account = account.New(account.Config{Server: server, Store: db, Notify: wake, Hasher: account.NewHasher(account.CheapCost),
		Registration: account.Open, MinPassword: 6, UnlimitedLogins: true,
		DevicesChanged: func(ctx context.Context, user id.UserID, devices []id.DeviceID, pos int64) error {
			return d.e2ee.DevicesChanged(ctx, user, devices, pos)
		}})
	d.rooms = room.New(room.Config{Store: db, Notify: wake, Server: server, Key: d.key,
		Profile: func(_ context.Context, user id.UserID) (room.Profile, error) {
			return room.Profile{DisplayName: user.Localpart()}, nil
		}})
	d.e2ee = e2ee.New(e2ee.Config{Server: server, Store: db, Notify: wake})
	eph := ephemeral.New(ephemeral.Config{Server: server, Store: db, Notify: wake, Rooms: d.rooms, Accounts: d.account, Presence: true})
	d.push = push.New(push.Config{Server: server, Store: db, Rooms: d.rooms, Notify: wake})
	d.sync = clientsync.New(clientsync.Config{Server: server, Store: db, Rooms: d.rooms, Accounts: d.account, E2EE: d.e2ee,
		Ephemeral: eph, Notify: wake, Unread: d.push.Unread})
	d.handler = csapi.New(csapi.Config{Server: server, Accounts: d.account, E2EE: d.e2ee, Ephemeral: eph, Rooms: d.rooms,
		Sync: d.sync, Push: d.push, Unlimited: true}).Handler()
	d.stop = func() { _ = db.Close() }
}

// restart forgets all that is in memory.
func (d *domain) restart() {
	d.t.Helper()
	d.stop()
	d.open()
}

// client is one device of a user.
type client struct {
	d      *domain
	t      testing.TB
	user   id.UserID
	device id.DeviceID
	token  string
	since  string // of the last sync
}

// user makes an account and logs in.
func (d *domain) user(localpart string) *client {
	d.t.Helper()
	user, err := d.account.Register(context.Background(), account.NewAccount{Localpart: localpart, Password: "password"})
	if err != nil {
		d.t.Fatal(err)
	}
	return d.login(user)
}

func (d *domain) login(user id.UserID) *client {
	d.t.Helper()
	s, err := d.account.Login(context.Background(), user, account.NewSession{})
	if err != nil {
		d.t.Fatal(err)
	}
	return &client{d: d, t: d.t, user: user, device: s.Device, token: s.AccessToken}
}

// call makes a request and gives status and body.
func (c *client) call(method, path string, body any) (int, value) {
	c.t.Helper()
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			c.t.Fatal(err)
		}
	}
	r := httptest.NewRequest(method, "/_matrix/client/v3"+path, bytes.NewReader(payload))
	r.Header.Set("Authorization", "Bearer "+c.token)
	w := httptest.NewRecorder()
	c.d.handler.ServeHTTP(w, r)
	var answer any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		c.t.Fatalf("%s %s: %v in %s", method, path, err, w.Body)
	}
	return w.Code, value{answer}
}

// must makes a request that has to succeed.
func (c *client) must(method, path string, body any) value {
	c.t.Helper()
	status, answer := c.call(method, path, body)
	if status != http.StatusOK {
		c.t.Fatalf("%s %s: %d %v", method, path, status, answer)
	}
	return answer
}

// look syncs without moving on. args are query parameters, name and value in turn.
func (c *client) look(args ...string) value {
	c.t.Helper()
	q := url.Values{}
	for i := 0; i+1 < len(args); i += 2 {
		q.Set(args[i], args[i+1])
	}
	return c.must("GET", "/sync?"+q.Encode(), nil)
}

// sync syncs from where the last one ended.
func (c *client) sync(args ...string) value {
	c.t.Helper()
	if c.since != "" {
		args = append([]string{"since", c.since}, args...)
	}
	answer := c.look(args...)
	c.since = answer.text("next_batch")
	return answer
}

// wait syncs with a long poll, in the background.
func (c *client) wait(args ...string) <-chan value {
	c.t.Helper()
	answers := make(chan value, 1)
	since := c.since
	go func() {
		args = append([]string{"since", since, "timeout", "30000"}, args...)
		q := url.Values{}
		for i := 0; i+1 < len(args); i += 2 {
			q.Set(args[i], args[i+1])
		}
		r := httptest.NewRequest("GET", "/_matrix/client/v3/sync?"+q.Encode(), nil)
		r.Header.Set("Authorization", "Bearer "+c.token)
		w := httptest.NewRecorder()
		c.d.handler.ServeHTTP(w, r)
		var answer any
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			answer = err.Error()
		}
		answers <- value{answer}
	}()
	return answers
}

// receive takes the answer of a long poll.
func receive(t testing.TB, answers <-chan value) value {
	t.Helper()
	select {
	case v := <-answers:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("the sync does not return")
		return value{}
	}
}

type object = map[string]any

// create makes a public room, and lets others join.
func (c *client) create(others ...*client) id.RoomID {
	c.t.Helper()
	return c.createWith(object{"preset": "public_chat"}, others...)
}

func (c *client) createWith(body object, others ...*client) id.RoomID {
	c.t.Helper()
	in := id.RoomID(c.must("POST", "/createRoom", body).text("room_id"))
	for _, other := range others {
		other.join(in)
	}
	return in
}

func (c *client) join(in id.RoomID) {
	c.t.Helper()
	c.must("POST", "/join/"+url.PathEscape(string(in)), object{})
}

func (c *client) member(in id.RoomID, verb string, target *client) {
	c.t.Helper()
	body := object{}
	if target != nil {
		body["user_id"] = target.user
	}
	c.must("POST", "/rooms/"+url.PathEscape(string(in))+"/"+verb, body)
}

func (c *client) send(in id.RoomID, typ string, content object) id.EventID {
	c.t.Helper()
	c.d.txn++
	path := fmt.Sprintf("/rooms/%s/send/%s/txn%d", url.PathEscape(string(in)), typ, c.d.txn)
	return id.EventID(c.must("PUT", path, content).text("event_id"))
}

func (c *client) say(in id.RoomID, text string) id.EventID {
	c.t.Helper()
	return c.send(in, "m.room.message", object{"msgtype": "m.text", "body": text})
}

func (c *client) state(in id.RoomID, typ, key string, content object) id.EventID {
	c.t.Helper()
	path := fmt.Sprintf("/rooms/%s/state/%s/%s", url.PathEscape(string(in)), typ, url.PathEscape(key))
	return id.EventID(c.must("PUT", path, content).text("event_id"))
}

// value is JSON to look into.
type value struct{ v any }

// at walks down; what is not there is the zero value.
func (v value) at(path ...string) value {
	for _, key := range path {
		m, _ := v.v.(object)
		v = value{m[key]}
	}
	return v
}

func (v value) exists() bool { return v.v != nil }

func (v value) text(path ...string) string {
	s, _ := v.at(path...).v.(string)
	return s
}

func (v value) number(path ...string) int {
	n, _ := v.at(path...).v.(float64)
	return int(n)
}

func (v value) list(path ...string) []value {
	var list []value
	all, _ := v.at(path...).v.([]any)
	for _, e := range all {
		list = append(list, value{e})
	}
	return list
}

func (v value) keys(path ...string) int {
	m, _ := v.at(path...).v.(object)
	return len(m)
}

// joined, left and so on are a room's part of a sync.
func (v value) joined(in id.RoomID) value { return v.at("rooms", "join", string(in)) }
func (v value) left(in id.RoomID) value   { return v.at("rooms", "leave", string(in)) }

// timeline lists what a timeline says, one word for each event: the body, or type and state key.
func (v value) timeline() string { return words(v.list("timeline", "events")) }

func words(events []value) string {
	var all []string
	for _, ev := range events {
		switch {
		case ev.text("type") == "m.room.member":
			all = append(all, strings.TrimPrefix(strings.TrimSuffix(ev.text("state_key"), ":here.test"), "@")+":"+ev.text("content", "membership"))
		case ev.at("state_key").exists():
			all = append(all, strings.TrimPrefix(ev.text("type"), "m.room."))
		default:
			all = append(all, ev.text("content", "body"))
		}
	}
	return strings.Join(all, " ")
}

// has says whether a list of words has one.
func has(list, word string) bool {
	for _, w := range strings.Fields(list) {
		if w == word {
			return true
		}
	}
	return false
}

func expect(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
