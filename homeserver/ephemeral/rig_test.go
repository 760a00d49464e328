package ephemeral_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"konsil/homeserver/account"
	"konsil/homeserver/ephemeral"
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

const here, there = id.ServerName("here.test"), id.ServerName("there.test")

const anna, kurt = id.UserID("@anna:here.test"), id.UserID("@kurt:here.test")
const bob = id.UserID("@bob:there.test")

// world is a domain with rooms on a real store.
type world struct {
	*ephemeral.Keeper
	t     *testing.T
	clock *clock.Fake
	there sign.Key
}

func newWorld(t *testing.T, url string) *world {
	t.Helper()
	db, err := store.Open(context.Background(), store.Config{URL: url, Domain: 1})
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	key, err := sign.NewKey(rand.Reader)
	must(t, err)
	remote, err := sign.NewKey(rand.Reader)
	must(t, err)
	fake, woken := clock.NewFake(time.Unix(1_700_000_000, 0)), notify.New()
	rooms := room.New(room.Config{Store: db, Notify: woken, Clock: fake, Server: here, Key: key})
	accounts := account.New(account.Config{Server: here, Store: db, Notify: woken, Clock: fake, Hasher: account.NewHasher(account.CheapCost), Registration: account.Open})
	return &world{ephemeral.New(ephemeral.Config{Server: here, Store: db, Notify: woken, Rooms: rooms, Accounts: accounts, Clock: fake, Presence: true}),
		t, fake, remote}
}

func eachWorld(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, url string) { fn(t, newWorld(t, url)) })
}

func sqliteWorld(t *testing.T) *world { return newWorld(t, dbtest.SQLite(t)) }

// run starts the keeper's timers; they end with the test.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

// room makes a public room with these users of ours in it.
func (w *world) room(users ...id.UserID) id.RoomID {
	w.t.Helper()
	made, err := w.Rooms.Create(w.t.Context(), room.CreateRequest{Creator: users[0], Preset: "public_chat"})
	must(w.t, err)
	for _, user := range users[1:] {
		_, err := w.Rooms.Join(w.t.Context(), room.MembershipChange{Room: made.Room, Sender: user, Target: user})
		must(w.t, err)
	}
	return made.Room
}

// joinRemote lets bob join through make_join and send_join.
func (w *world) joinRemote(roomID id.RoomID) {
	w.t.Helper()
	template, err := w.Rooms.MakeJoin(w.t.Context(), there, roomID, bob, []string{"10", "11"})
	must(w.t, err)
	version, _ := roomver.Get(template.Version)
	draft, err := event.ParseTemplate(template.Event, version)
	must(w.t, err)
	draft.OriginServerTS = clock.Millis(w.clock)
	join, err := event.Build(version, draft, there, w.there)
	must(w.t, err)
	_, err = w.Rooms.SendJoin(w.t.Context(), there, roomID, join)
	must(w.t, err)
}

func (w *world) say(roomID id.RoomID, sender id.UserID) id.EventID {
	w.t.Helper()
	ev, err := w.Rooms.Send(w.t.Context(), room.Draft{Room: roomID, Sender: sender, Type: event.TypeMessage, Content: json.RawMessage(`{"body":"x","msgtype":"m.text"}`)})
	must(w.t, err)
	return ev
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if e, ok := mxerr.As(err); !ok || e.Code != code {
		t.Errorf("got %v, want %s", err, code)
	}
}
