package appservice_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"konsil/homeserver/account"
	"konsil/homeserver/appservice"
	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/db/dbtest"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/roomver"
	"konsil/matrix/sign"
)

const (
	server = id.ServerName("here.test")
	anna   = id.UserID("@anna:here.test")
	ghost  = id.UserID("@irc_bob:here.test")
)

// bridge is an application service that listens.
type bridge struct {
	*httptest.Server
	t       *testing.T
	answer  chan int // the status of the next answers; 200 where it is empty
	arrived chan transaction
}

// transaction is what a bridge got.
type transaction struct {
	path, auth string
	Events     []struct {
		ID      id.EventID `json:"event_id"`
		Room    id.RoomID  `json:"room_id"`
		Type    string
		Content struct{ Body, Membership string }
	}
}

func newBridge(t *testing.T) *bridge {
	t.Helper()
	b := &bridge{t: t, answer: make(chan int, 100), arrived: make(chan transaction, 100)}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := transaction{path: r.Method + " " + r.URL.Path, auth: r.Header.Get("Authorization")}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Errorf("body: %v", err)
		}
		select {
		case status := <-b.answer:
			w.WriteHeader(status)
		default:
		}
		fmt.Fprint(w, "{}")
		b.arrived <- got
	}))
	t.Cleanup(b.Close)
	return b
}

// next waits for the next transaction.
func (b *bridge) next() transaction {
	b.t.Helper()
	select {
	case got := <-b.arrived:
		return got
	case <-time.After(20 * time.Second):
		b.t.Fatal("no transaction")
		return transaction{}
	}
}

func (b *bridge) service() *account.AppService {
	b.t.Helper()
	s, err := account.ParseAppService([]byte(`{id: irc, url: "` + b.URL + `", as_token: as, hs_token: hs, sender_localpart: ircbot,
		namespaces: {users: [{regex: "@irc_.*", exclusive: true}], aliases: [{regex: "#irc_.*"}], rooms: [{regex: "!watched:.*"}]}}`))
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// domain is a mover with what it stands on.
type domain struct {
	*appservice.Mover
	t       *testing.T
	url     string
	name    id.ServerName
	key     sign.Key
	clock   *clock.Fake
	store   *store.DB
	rooms   *room.Engine
	notify  *notify.Notifier
	service *account.AppService
	stop    func()
}

func openDomain(t *testing.T, url string, s *account.AppService) *domain {
	t.Helper()
	key, err := sign.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := &domain{t: t, url: url, name: server, key: key, clock: clock.NewFake(time.Unix(1_700_000_000, 0)), service: s}
	d.open()
	t.Cleanup(func() { d.close() })
	return d
}

func (d *domain) open() {
	d.t.Helper()
	db, err := store.Open(context.Background(), store.Config{URL: d.url, Domain: 1})
	d.must(err)
	d.store, d.notify = db, notify.New()
	d.rooms = room.New(room.Config{Store: db, Notify: d.notify, Clock: d.clock, Server: d.name, Key: d.key})
	d.Mover = appservice.New(appservice.Config{Server: d.name, Services: []*account.AppService{d.service}, Store: db, Rooms: d.rooms,
		Notify: d.notify, Clock: d.clock})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	d.stop = func() {
		cancel()
		d.must(<-ended)
	}
}

func (d *domain) close() {
	d.stop()
	d.must(d.store.Close())
}

func (d *domain) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *domain) create(by id.UserID) id.RoomID {
	d.t.Helper()
	made, err := d.rooms.Create(d.t.Context(), room.CreateRequest{Creator: by, Preset: "public_chat"})
	d.must(err)
	return made.Room
}

func (d *domain) say(in id.RoomID, by id.UserID, text string) id.EventID {
	d.t.Helper()
	sent, err := d.rooms.Send(d.t.Context(), room.Draft{Room: in, Sender: by, Type: "m.room.message",
		Content: json.RawMessage(fmt.Sprintf(`{"msgtype":"m.text","body":%q}`, text))})
	d.must(err)
	return sent
}

func (d *domain) join(in id.RoomID, user id.UserID) {
	d.t.Helper()
	_, err := d.rooms.Join(d.t.Context(), room.MembershipChange{Room: in, Sender: user, Target: user})
	d.must(err)
}

// until reads transactions until one holds an event, and gives what was said up to there.
func (b *bridge) until(last id.EventID) (said []string) {
	b.t.Helper()
	for {
		for _, ev := range b.next().Events {
			if ev.Content.Body != "" {
				said = append(said, ev.Content.Body)
			}
			if ev.ID == last {
				return said
			}
		}
	}
}

// started waits until the mover follows: what came before is none of its business.
func (d *domain) started(b *bridge) {
	d.t.Helper()
	in := d.create(ghost)
	for {
		last := d.say(in, ghost, "are you there")
		select {
		case got := <-b.arrived:
			if len(got.Events) == 0 {
				d.t.Fatal("empty transaction")
			}
			for got.Events[len(got.Events)-1].ID != last {
				got = b.next()
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestServicesHearOfTheirRooms(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		b := newBridge(t)
		d := openDomain(t, url, b.service())
		d.started(b)
		in := d.create(anna)
		d.say(in, anna, "before anybody was there")
		d.join(in, ghost)
		d.say(in, anna, "to the bridge")
		aliased := d.create(anna)
		d.must(d.rooms.CreateAlias(t.Context(), anna, "#irc_go:here.test", aliased))
		d.say(aliased, anna, "in a bridged room")
		_, err := d.rooms.Leave(t.Context(), room.MembershipChange{Room: in, Sender: ghost, Target: ghost})
		d.must(err)
		d.say(in, anna, "after it had left")
		last := d.say(d.create(ghost), ghost, "its own")
		if said := b.until(last); !slices.Equal(said, []string{"to the bridge", "in a bridged room", "its own"}) {
			t.Errorf("heard %q", said)
		}
	})
}

func TestTransactionIsAsSpecified(t *testing.T) {
	b := newBridge(t)
	d := openDomain(t, dbtest.SQLite(t), b.service())
	d.started(b)
	in := d.create(ghost)
	last := d.say(in, ghost, "hello")
	for {
		got := b.next()
		if !strings.HasPrefix(got.path, "PUT /_matrix/app/v1/transactions/here.test-") || got.auth != "Bearer hs" {
			t.Fatalf("%s by %q", got.path, got.auth)
		}
		ev := got.Events[len(got.Events)-1]
		if ev.Room == "" || ev.Type == "" {
			t.Fatalf("event %+v", ev)
		}
		if ev.ID == last {
			return
		}
	}
}

// A transaction stays the same until it has arrived, whatever happens meanwhile, and nothing is lost or sent twice.
func TestTransactionsAreRepeated(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		b := newBridge(t)
		d := openDomain(t, url, b.service())
		d.started(b)
		in := d.create(ghost)
		first := d.say(in, ghost, "first")
		b.until(first)
		b.answer <- 500
		b.answer <- 503
		second := d.say(in, ghost, "second")
		failed := b.next()
		d.clock.WaitTimers(1)
		d.say(in, ghost, "third")
		d.clock.Advance(time.Second)
		again := b.next()
		d.clock.WaitTimers(1)
		if due := d.NextDue(); due != d.clock.Now().Add(2*time.Second).UnixMilli() {
			t.Errorf("due %d at %d", due, d.clock.Now().UnixMilli())
		}
		d.close() // in between
		d.open()
		d.clock.WaitTimers(1)
		d.clock.Advance(2 * time.Second)
		last := b.next()
		for _, tx := range []transaction{failed, again, last} {
			if tx.path != failed.path || len(tx.Events) != 1 || tx.Events[0].ID != second {
				t.Errorf("%s with %+v", tx.path, tx.Events)
			}
		}
		if next := b.next(); next.path == failed.path || len(next.Events) != 1 || next.Events[0].Content.Body != "third" {
			t.Errorf("%s with %+v", next.path, next.Events)
		}
	})
}

func TestAServiceThatShowsItselfIsTriedAtOnce(t *testing.T) {
	b := newBridge(t)
	d := openDomain(t, dbtest.SQLite(t), b.service())
	d.started(b)
	in := d.create(ghost)
	b.until(d.say(in, ghost, "first"))
	b.answer <- 500
	d.say(in, ghost, "second")
	b.next()
	d.clock.WaitTimers(1)
	d.Contact(d.service)
	if got := b.next(); got.Events[0].Content.Body != "second" {
		t.Errorf("%+v", got.Events)
	}
}

func TestOlderServicesAreReached(t *testing.T) {
	b := newBridge(t)
	d := openDomain(t, dbtest.SQLite(t), b.service())
	d.started(b)
	in := d.create(ghost)
	b.until(d.say(in, ghost, "first"))
	b.answer <- 404
	d.say(in, ghost, "second")
	if got := b.next(); !strings.HasPrefix(got.path, "PUT /_matrix/app/v1/transactions/") {
		t.Errorf("%s", got.path)
	}
	if got := b.next(); !strings.HasPrefix(got.path, "PUT /transactions/") || got.Events[0].Content.Body != "second" {
		t.Errorf("%s", got.path)
	}
}

// An invite from another server's room reaches the service of who is invited, though we are not in that room.
func TestServicesHearOfInvitesFromAfar(t *testing.T) {
	b := newBridge(t)
	d := openDomain(t, dbtest.SQLite(t), b.service())
	d.started(b)
	key, err := sign.NewKey(rand.Reader)
	d.must(err)
	v, _ := roomver.Get("11")
	state := string(ghost)
	invite, err := event.Build(v, event.Template{RoomID: "!afar:there.test", Sender: "@carol:there.test", Type: "m.room.member", StateKey: &state,
		Content: []byte(`{"membership":"invite"}`), Depth: 5, OriginServerTS: 1, PrevEvents: []id.EventID{"$p"}, AuthEvents: []id.EventID{"$a"}}, "there.test", key)
	d.must(err)
	_, err = d.rooms.SignInvite(t.Context(), invite, nil)
	d.must(err)
	for {
		for _, ev := range b.next().Events {
			if ev.ID == invite.ID {
				if ev.Room != "!afar:there.test" || ev.Content.Membership != "invite" {
					t.Errorf("%+v", ev)
				}
				return
			}
		}
	}
}

func TestPing(t *testing.T) {
	b := newBridge(t)
	d := openDomain(t, dbtest.SQLite(t), b.service())
	if _, err := d.Ping(t.Context(), d.service, "meow"); err != nil {
		t.Fatal(err)
	}
	if got := b.next(); got.path != "POST /_matrix/app/v1/ping" || got.auth != "Bearer hs" {
		t.Errorf("%+v", got)
	}
	b.answer <- 403
	_, err := d.Ping(t.Context(), d.service, "meow")
	if e, ok := mxerr.As(err); !ok || e.Code != mxerr.CodeBadStatus || e.Extra["status"] != 403 || e.Extra["body"] != "{}" {
		t.Errorf("refused: %v", err)
	}
	b.Close()
	if _, err := d.Ping(t.Context(), d.service, "meow"); !mxerr.Is(err, mxerr.CodeConnectionFailed) {
		t.Errorf("gone: %v", err)
	}
	if _, err := d.Ping(t.Context(), &account.AppService{}, "meow"); !mxerr.Is(err, mxerr.CodeURLNotSet) {
		t.Errorf("without URL: %v", err)
	}
}
