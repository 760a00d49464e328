package delayed_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"konsil/homeserver/delayed"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/db/dbtest"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/sign"
)

const (
	server = id.ServerName("here.test")
	anna   = id.UserID("@anna:here.test")
	bob    = id.UserID("@bob:here.test")
)

// domain is a keeper with what it stands on: a real store and room engine, and a clock that stands still.
type domain struct {
	*delayed.Keeper
	t     testing.TB
	url   string
	key   sign.Key
	clock *clock.Fake
	store *store.DB
	rooms *room.Engine
	in    id.RoomID // a room of anna and bob in which both may set m.call
	stop  func()    // ends what runs
}

func openDomain(t testing.TB, url string) *domain {
	t.Helper()
	key, err := sign.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := &domain{t: t, url: url, key: key, clock: clock.NewFake(time.Unix(1_700_000_000, 0)), stop: func() {}}
	d.open()
	made, err := d.rooms.Create(t.Context(), room.CreateRequest{Creator: anna, Preset: "public_chat",
		PowerLevelOverride: json.RawMessage(`{"events":{"m.call":0}}`)})
	d.must(err)
	d.in = made.Room
	_, err = d.rooms.Join(t.Context(), room.MembershipChange{Room: d.in, Sender: bob, Target: bob})
	d.must(err)
	t.Cleanup(func() { d.close() })
	return d
}

func (d *domain) open() {
	d.t.Helper()
	db, err := store.Open(context.Background(), store.Config{URL: d.url, Domain: 1})
	d.must(err)
	d.store = db
	d.rooms = room.New(room.Config{Store: db, Clock: d.clock, Server: server, Key: d.key})
	d.Keeper = delayed.New(delayed.Config{Store: db, Rooms: d.rooms, Clock: d.clock, Rand: rand.Reader})
}

// run sends what is due from now on.
func (d *domain) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	d.stop = func() {
		cancel()
		d.must(<-ended)
		d.stop = func() {}
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

func (d *domain) refused(err error, code string) {
	d.t.Helper()
	if !mxerr.Is(err, code) {
		d.t.Errorf("got %v, want %s", err, code)
	}
}

// later leaves a call's state.
func (d *domain) later(user id.UserID, key, says string, delay time.Duration) string {
	d.t.Helper()
	delayID, err := d.Delay(d.t.Context(), d.call(user, key, says), delay)
	d.must(err)
	return delayID
}

func (d *domain) call(user id.UserID, key, says string) room.Draft {
	return room.Draft{Room: d.in, Sender: user, Type: "m.call", StateKey: &key, Content: json.RawMessage(fmt.Sprintf(`{"says":%q}`, says))}
}

// says is what the state of a call says, "" for none.
func (d *domain) says(key string) string {
	d.t.Helper()
	ev, err := d.rooms.StateEvent(d.t.Context(), d.in, "m.call", key)
	d.must(err)
	if ev == nil {
		return ""
	}
	var c struct{ Says string }
	d.must(json.Unmarshal(ev.Content, &c))
	return c.Says
}

// waits lists what a user has left, by state key.
func (d *domain) waits(user id.UserID, want ...string) {
	d.t.Helper()
	list, err := d.List(d.t.Context(), user)
	d.must(err)
	var got []string
	for _, ev := range list {
		got = append(got, *ev.StateKey)
	}
	if !slices.Equal(got, want) {
		d.t.Errorf("%s waits for %q, want %q", user, got, want)
	}
}

// passes lets time pass and waits until all is done that falls due.
func (d *domain) passes(t time.Duration) {
	synctest.Wait()
	d.clock.Advance(t)
	synctest.Wait()
}

func inBubble(t *testing.T, fn func(t *testing.T, d *domain)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { fn(t, openDomain(t, dbtest.SQLite(t))) })
}

func TestDelayedEventsAreSentWhenDue(t *testing.T) {
	inBubble(t, func(t *testing.T, d *domain) {
		d.run()
		d.later(anna, "b", "second", 20*time.Second)
		d.later(anna, "a", "first", 10*time.Second)
		d.later(bob, "c", "third", 30*time.Second)
		d.waits(anna, "a", "b")
		d.waits(bob, "c")
		d.passes(10 * time.Second)
		if d.says("a") != "first" || d.says("b") != "" {
			t.Errorf("after ten seconds: %q %q", d.says("a"), d.says("b"))
		}
		d.waits(anna, "b")
		if due := d.NextDue(); due != d.clock.Now().Add(10*time.Second).UnixMilli() {
			t.Errorf("next due %d", due)
		}
		d.passes(time.Minute)
		if d.says("b") != "second" || d.says("c") != "third" || d.NextDue() != 0 {
			t.Errorf("at last: %q %q, due %d", d.says("b"), d.says("c"), d.NextDue())
		}
		d.waits(anna)
	})
}

func TestDelaysAreCancelledRestartedAndEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, d *domain) {
		d.run()
		cancelled, restarted, sent := d.later(anna, "a", "a", 10*time.Second), d.later(anna, "b", "b", 10*time.Second), d.later(anna, "c", "c", time.Hour)
		d.passes(6 * time.Second)
		d.must(d.Cancel(t.Context(), cancelled))
		d.must(d.Restart(t.Context(), restarted))
		d.must(d.Send(t.Context(), sent))
		if d.says("c") != "c" {
			t.Error("not sent at once")
		}
		d.passes(6 * time.Second)
		d.waits(anna, "b")
		d.passes(6 * time.Second)
		if d.says("a") != "" || d.says("b") != "b" {
			t.Errorf("cancelled %q, restarted %q", d.says("a"), d.says("b"))
		}
		for _, delayID := range []string{cancelled, restarted, sent, "nonsense", ""} {
			d.refused(d.Cancel(t.Context(), delayID), mxerr.CodeNotFound)
			d.refused(d.Restart(t.Context(), delayID), mxerr.CodeNotFound)
			d.refused(d.Send(t.Context(), delayID), mxerr.CodeNotFound)
		}
	})
}

// What waits survives a restart, and what was due meanwhile is sent after it.
func TestDelayedEventsSurviveARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, d *domain) {
		d.run()
		d.later(anna, "a", "a", 10*time.Second)
		d.later(anna, "b", "b", time.Minute)
		d.close()
		d.clock.Advance(30 * time.Second)
		d.open()
		d.run()
		d.passes(0)
		if d.says("a") != "a" || d.says("b") != "" {
			t.Errorf("after the restart: %q %q", d.says("a"), d.says("b"))
		}
		d.passes(time.Minute)
		if d.says("b") != "b" {
			t.Error("the delay was forgotten")
		}
	})
}

func TestDelayedEventsThatNobodyWantsAnyMore(t *testing.T) {
	inBubble(t, func(t *testing.T, d *domain) {
		d.run()
		d.later(bob, "overtaken", "old", 10*time.Second)
		d.later(anna, "own", "last", 10*time.Second)
		d.later(bob, "gone", "from afar", 20*time.Second)
		_, err := d.rooms.Send(t.Context(), d.call(anna, "overtaken", "new"))
		d.must(err)
		_, err = d.rooms.Send(t.Context(), d.call(anna, "own", "first"))
		d.must(err)
		d.passes(10 * time.Second)
		if d.says("overtaken") != "new" || d.says("own") != "last" {
			t.Errorf("overtaken %q, own %q", d.says("overtaken"), d.says("own"))
		}
		_, err = d.rooms.Kick(t.Context(), room.MembershipChange{Room: d.in, Sender: anna, Target: bob})
		d.must(err)
		d.passes(10 * time.Second)
		if d.says("gone") != "" {
			t.Error("somebody who was thrown out was heard")
		}
		d.waits(bob)
	})
}

func TestDelayRefusals(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		d := openDomain(t, url)
		delay := func(draft room.Draft, delay time.Duration) error {
			_, err := d.Delay(t.Context(), draft, delay)
			return err
		}
		d.refused(delay(d.call(anna, "", "x"), 0), mxerr.CodeInvalidParam)
		d.refused(delay(d.call(anna, "", "x"), -time.Second), mxerr.CodeInvalidParam)
		d.refused(delay(d.call("@carol:here.test", "", "x"), time.Second), mxerr.CodeForbidden)
		d.refused(delay(room.Draft{Room: "!nowhere:here.test", Sender: anna, Type: "m.call", Content: []byte(`{}`)}, time.Second), mxerr.CodeNotFound)
		err := delay(d.call(anna, "", "x"), 25*time.Hour)
		if e, ok := mxerr.As(err); !ok || e.Extra["org.matrix.msc4140.errcode"] != "M_MAX_DELAY_EXCEEDED" {
			t.Errorf("too long: %v", err)
		}
		for i := range 100 {
			d.later(anna, fmt.Sprint(i), "x", time.Hour)
		}
		if e, ok := mxerr.As(delay(d.call(anna, "", "x"), time.Hour)); !ok || e.Extra["org.matrix.msc4140.errcode"] != "M_MAX_DELAYED_EVENTS_EXCEEDED" {
			t.Error("a hundred and one are accepted")
		}
		d.must(delay(d.call(bob, "", "x"), time.Hour)) // another's are counted apart
	})
}

func TestATransactionDelaysOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		d := openDomain(t, url)
		message := func(user id.UserID, txn string, content string) string {
			t.Helper()
			delayID, err := d.Delay(t.Context(), room.Draft{Room: d.in, Sender: user, Type: "m.room.message", Content: json.RawMessage(content),
				Device: "D", TxnScope: "send", TxnID: txn}, time.Hour)
			d.must(err)
			return delayID
		}
		first := message(anna, "1", `{"body":"x"}`)
		if again := message(anna, "1", ``); again != first {
			t.Error("the same transaction made another")
		}
		if message(anna, "2", `{"body":"x"}`) == first || message(bob, "1", `{"body":"x"}`) == first {
			t.Error("another transaction made none")
		}
	})
}
