package push_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"konsil/homeserver/ephemeral"
	"konsil/homeserver/notify"
	"konsil/homeserver/push"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/db/dbtest"
	"konsil/matrix/id"
	"konsil/matrix/sign"
)

const (
	server = id.ServerName("here.test")
	alice  = id.UserID("@alice:here.test")
	bob    = id.UserID("@bob:here.test")
	carol  = id.UserID("@carol:here.test")
)

// domain is a push keeper with what it stands on: a real store and room engine, and a clock that stands still.
type domain struct {
	*push.Keeper
	t         testing.TB
	url       string
	store     *store.DB
	rooms     *room.Engine
	ephemeral *ephemeral.Keeper
	notify    *notify.Notifier
	clock     *clock.Fake
	key       sign.Key
	txn       int
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
	d := &domain{t: t, url: url, clock: clock.NewFake(time.Unix(1_700_000_000, 0)), key: key}
	d.open()
	t.Cleanup(func() { _ = d.store.Close() })
	return d
}

func (d *domain) open() {
	d.t.Helper()
	db, err := store.Open(context.Background(), store.Config{URL: d.url, Domain: 1})
	if err != nil {
		d.t.Fatal(err)
	}
	d.store, d.notify = db, notify.New()
	d.rooms = room.New(room.Config{Store: db, Notify: d.notify, Clock: d.clock, Server: server, Key: d.key,
		Profile: func(_ context.Context, user id.UserID) (room.Profile, error) {
			return room.Profile{DisplayName: "Dr. " + user.Localpart()}, nil
		}})
	d.ephemeral = ephemeral.New(ephemeral.Config{Server: server, Store: db, Notify: d.notify, Rooms: d.rooms, Clock: d.clock})
	d.Keeper = push.New(push.Config{Server: server, Store: db, Rooms: d.rooms, Notify: d.notify, Clock: d.clock, AllowPrivate: true})
}

// restart forgets all that is in memory. What was not flushed is lost, as in a crash.
func (d *domain) restart() {
	d.t.Helper()
	if err := d.store.Close(); err != nil {
		d.t.Fatal(err)
	}
	d.open()
}

func (d *domain) ctx() context.Context { return context.Background() }

func (d *domain) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// create makes a public room of the users, the first of whom is its creator.
func (d *domain) create(users ...id.UserID) id.RoomID {
	d.t.Helper()
	made, err := d.rooms.Create(d.ctx(), room.CreateRequest{Creator: users[0], Preset: "public_chat"})
	d.must(err)
	in := made.Room
	for _, user := range users[1:] {
		d.join(in, user)
	}
	return in
}

func (d *domain) join(in id.RoomID, user id.UserID) {
	d.t.Helper()
	_, err := d.rooms.Join(d.ctx(), room.MembershipChange{Room: in, Sender: user, Target: user})
	d.must(err)
}

// send sends an event of a content.
func (d *domain) send(in id.RoomID, sender id.UserID, typ, content string) id.EventID {
	d.t.Helper()
	d.txn++
	ev, err := d.rooms.Send(d.ctx(), room.Draft{Room: in, Sender: sender, Type: typ, Content: json.RawMessage(content),
		Device: "DEV", TxnScope: "send", TxnID: fmt.Sprint(d.txn)})
	d.must(err)
	return ev
}

func (d *domain) say(in id.RoomID, sender id.UserID, text string) id.EventID {
	d.t.Helper()
	return d.send(in, sender, "m.room.message", fmt.Sprintf(`{"msgtype":"m.text","body":%q}`, text))
}

// reply sends a message into a thread.
func (d *domain) reply(in id.RoomID, sender id.UserID, root id.EventID, text string) id.EventID {
	d.t.Helper()
	return d.send(in, sender, "m.room.message",
		fmt.Sprintf(`{"msgtype":"m.text","body":%q,"m.relates_to":{"rel_type":"m.thread","event_id":%q}}`, text, root))
}

func (d *domain) setState(in id.RoomID, sender id.UserID, typ, key, content string) id.EventID {
	d.t.Helper()
	ev, err := d.rooms.Send(d.ctx(), room.Draft{Room: in, Sender: sender, Type: typ, StateKey: &key, Content: json.RawMessage(content)})
	d.must(err)
	return ev
}

// read sends a receipt; thread is "", "main" or a root.
func (d *domain) read(in id.RoomID, user id.UserID, ev id.EventID, thread string) {
	d.t.Helper()
	d.must(d.ephemeral.SetReceipt(d.ctx(), in, user, "m.read", thread, ev))
}

// counts gives what a user sees, as "notify/highlight", and each thread apart.
func (d *domain) counts(user id.UserID, in id.RoomID) (main string, threads map[id.EventID]string) {
	d.t.Helper()
	all, err := d.Unread(d.ctx(), user, []id.RoomID{in}, d.store.Position())
	d.must(err)
	for root, c := range all[0].Threads {
		if threads == nil {
			threads = map[id.EventID]string{}
		}
		threads[root] = fmt.Sprintf("%d/%d", c.Notify, c.Highlight)
	}
	return fmt.Sprintf("%d/%d", all[0].Notify, all[0].Highlight), threads
}

func (d *domain) expect(user id.UserID, in id.RoomID, main string, threads ...string) {
	d.t.Helper()
	gotMain, gotThreads := d.counts(user, in)
	want := map[id.EventID]string{}
	for i := 0; i+1 < len(threads); i += 2 {
		want[id.EventID(threads[i])] = threads[i+1]
	}
	if gotMain != main || fmt.Sprint(gotThreads) != fmt.Sprint(want) && len(gotThreads)+len(want) > 0 {
		d.t.Errorf("%s has %s %v unread, want %s %v", user, gotMain, gotThreads, main, want)
	}
}

// run runs the keeper until the test ends.
func (d *domain) run() {
	ctx, cancel := context.WithCancel(d.ctx())
	done := make(chan error, 1)
	keeper := d.Keeper
	go func() { done <- keeper.Run(ctx) }()
	d.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			d.t.Error(err)
		}
	})
}

// phone is a push gateway that hands each call to the test and answers what answer gives.
type phone struct {
	*httptest.Server
	calls  chan map[string]any
	answer chan string // one per call; "" is a failure. Empty: {"rejected":[]}
}

func newPhone(t testing.TB) *phone {
	p := &phone{calls: make(chan map[string]any, 100), answer: make(chan string, 100)}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Notification map[string]any `json:"notification"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		answer := `{"rejected":[]}`
		select {
		case answer = <-p.answer:
		default:
		}
		if answer == "" {
			w.WriteHeader(http.StatusBadGateway)
		}
		fmt.Fprint(w, answer)
		p.calls <- body.Notification
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *phone) url() string { return p.URL + "/_matrix/push/v1/notify" }

// next waits for a call.
func (p *phone) next(t testing.TB) map[string]any {
	t.Helper()
	select {
	case call := <-p.calls:
		return call
	case <-time.After(10 * time.Second):
		t.Fatal("the phone does not ring")
		return nil
	}
}

func (d *domain) leave(in id.RoomID, user id.UserID) {
	d.t.Helper()
	_, err := d.rooms.Leave(d.ctx(), room.MembershipChange{Room: in, Sender: user, Target: user})
	d.must(err)
}

// createAfter makes a public room that claims to replace another.
func (d *domain) createAfter(creator id.UserID, old id.RoomID) id.RoomID {
	d.t.Helper()
	made, err := d.rooms.Create(d.ctx(), room.CreateRequest{Creator: creator, Preset: "public_chat",
		CreationContent: json.RawMessage(fmt.Sprintf(`{"predecessor":{"room_id":%q,"event_id":"$x"}}`, old))})
	d.must(err)
	return made.Room
}

func actions(words ...string) []json.RawMessage {
	list := []json.RawMessage{}
	for _, w := range words {
		list = append(list, json.RawMessage(w))
	}
	return list
}

func (d *domain) invite(in id.RoomID, sender, target id.UserID) {
	d.t.Helper()
	_, err := d.rooms.Invite(d.ctx(), room.MembershipChange{Room: in, Sender: sender, Target: target})
	d.must(err)
}
