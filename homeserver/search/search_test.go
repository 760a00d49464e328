package search_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/search"
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
	bob    = id.UserID("@bob:here.test")
)

// domain is a search index with what it stands on: a real store and room engine, and a clock that stands still.
type domain struct {
	*search.Index
	t      testing.TB
	name   id.ServerName
	url    string
	key    sign.Key
	clock  *clock.Fake
	store  *store.DB
	rooms  *room.Engine
	notify *notify.Notifier
	text   map[id.EventID]string
}

func openDomain(t testing.TB, name id.ServerName, url string) *domain {
	t.Helper()
	key, err := sign.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := &domain{t: t, name: name, url: url, key: key, clock: clock.NewFake(time.Unix(1_700_000_000, 0)), text: map[id.EventID]string{}}
	d.open()
	t.Cleanup(func() { _ = d.store.Close() })
	return d
}

func (d *domain) open() {
	d.t.Helper()
	db, err := store.Open(context.Background(), store.Config{URL: d.url, Domain: 1})
	d.must(err)
	d.store, d.notify = db, notify.New()
	d.rooms = room.New(room.Config{Store: db, Notify: d.notify, Clock: d.clock, Server: d.name, Key: d.key})
	d.Index = search.New(search.Config{Store: db, Rooms: d.rooms, Notify: d.notify, Clock: d.clock})
}

func eachDomain(t *testing.T, fn func(t *testing.T, d *domain)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, url string) { fn(t, openDomain(t, server, url)) })
}

func (d *domain) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// create makes a public room of the users, the first of whom is its creator.
func (d *domain) create(req room.CreateRequest, others ...id.UserID) id.RoomID {
	d.t.Helper()
	if req.Creator == "" {
		req.Creator = anna
	}
	req.Preset = "public_chat"
	made, err := d.rooms.Create(d.t.Context(), req)
	d.must(err)
	for _, user := range others {
		_, err := d.rooms.Join(d.t.Context(), room.MembershipChange{Room: made.Room, Sender: user, Target: user})
		d.must(err)
	}
	return made.Room
}

func (d *domain) send(draft room.Draft) id.EventID {
	d.t.Helper()
	sent, err := d.rooms.Send(d.t.Context(), draft)
	d.must(err)
	return sent
}

// say sends a message and remembers what it was.
func (d *domain) say(in id.RoomID, by id.UserID, text string) id.EventID {
	d.t.Helper()
	content, err := json.Marshal(map[string]string{"msgtype": "m.text", "body": text})
	d.must(err)
	sent := d.send(room.Draft{Room: in, Sender: by, Type: "m.room.message", Content: content})
	d.text[sent] = text
	return sent
}

func (d *domain) set(in id.RoomID, typ, content string) id.EventID {
	d.t.Helper()
	key := ""
	return d.send(room.Draft{Room: in, Sender: anna, Type: typ, StateKey: &key, Content: json.RawMessage(content)})
}

func (d *domain) search(q search.Query) search.Result {
	d.t.Helper()
	if q.User == "" {
		q.User = anna
	}
	if q.Limit == 0 {
		q.Limit = 10
	}
	r, err := d.Search(d.t.Context(), q)
	d.must(err)
	return r
}

// finds checks what a query finds, newest first: messages by their text, others by their type.
func (d *domain) finds(q search.Query, want ...string) search.Result {
	d.t.Helper()
	q.Recent = true
	r := d.search(q)
	var got []string
	for _, h := range r.Hits {
		text, known := d.text[h.Event.ID]
		if !known {
			text = h.Event.Type
		}
		got = append(got, text)
	}
	if !slices.Equal(got, want) {
		d.t.Errorf("%q finds %q, want %q", q.Term, got, want)
	}
	return r
}

func TestSearchByWords(t *testing.T) {
	eachDomain(t, func(t *testing.T, d *domain) {
		in := d.create(room.CreateRequest{Name: "Befundkonferenz", Topic: "Freitags, MRT und Röntgen"})
		d.say(in, anna, "Der Befund ist da")
		d.say(in, anna, "MRT-Befunde von gestern")
		d.say(in, anna, "nichts davon")
		d.finds(search.Query{Term: "befund"}, "MRT-Befunde von gestern", "Der Befund ist da", "m.room.name")
		d.finds(search.Query{Term: "befund MRT"}, "MRT-Befunde von gestern") // all words
		d.finds(search.Query{Term: "rontgen"}, "m.room.topic")
		d.finds(search.Query{Term: "da"}, "Der Befund ist da") // short words are whole
		d.finds(search.Query{Term: "MRT", Fields: []store.SearchField{store.SearchTopic}}, "m.room.topic")
		d.finds(search.Query{Term: "befund", Fields: []store.SearchField{store.SearchName}}, "m.room.name")
		for _, term := range []string{"", "?!", "xyz", `" OR *`, "'); DROP TABLE event; --", "a:* | b", "NEAR(der befund)", "\x00"} {
			d.finds(search.Query{Term: term})
		}
	})
}

func TestSearchRank(t *testing.T) {
	eachDomain(t, func(t *testing.T, d *domain) {
		in := d.create(room.CreateRequest{})
		best := d.say(in, anna, "Röntgen Röntgen Röntgen")
		d.say(in, anna, "ein Wort über Röntgen und sehr viele andere Worte, die damit nicht das Geringste zu tun haben")
		r := d.search(search.Query{Term: "röntgen"})
		if len(r.Hits) != 2 || r.Hits[0].Event.ID != best || r.Hits[0].Rank <= r.Hits[1].Rank || r.Hits[1].Rank <= 0 {
			t.Errorf("found %+v", r.Hits)
		}
		if r.Count != 2 || !slices.Equal(r.Highlights, []string{"rontgen"}) {
			t.Errorf("count %d, highlights %q", r.Count, r.Highlights)
		}
	})
}

func TestSearchPages(t *testing.T) {
	eachDomain(t, func(t *testing.T, d *domain) {
		in := d.create(room.CreateRequest{})
		for i := range 7 {
			d.say(in, anna, fmt.Sprintf("number %d", i))
		}
		first := d.finds(search.Query{Term: "number", Limit: 4}, "number 6", "number 5", "number 4", "number 3")
		second := d.finds(search.Query{Term: "number", Limit: 4, From: first.Next}, "number 2", "number 1", "number 0")
		if first.Next == "" || second.Next != "" || first.Count != 7 {
			t.Errorf("tokens %q %q, count %d", first.Next, second.Next, first.Count)
		}
		seen := map[id.EventID]bool{}
		for from, more := "", true; more; more = from != "" {
			r := d.search(search.Query{Term: "number", Limit: 2, From: from})
			for _, h := range r.Hits {
				if seen[h.Event.ID] {
					t.Errorf("%s twice", d.text[h.Event.ID])
				}
				seen[h.Event.ID] = true
			}
			from = r.Next
		}
		if len(seen) != 7 {
			t.Errorf("by rank %d of 7", len(seen))
		}
		for _, from := range []string{"x", "k1", "r", "r1.5", "s10", "r99999999999999999999"} {
			if _, err := d.Search(t.Context(), search.Query{User: anna, Term: "number", Recent: true, Limit: 1, From: from}); !mxerr.Is(err, mxerr.CodeInvalidParam) {
				t.Errorf("token %q: %v", from, err)
			}
		}
	})
}

func TestSearchFilters(t *testing.T) {
	d := openDomain(t, server, dbtest.SQLite(t))
	one, two := d.create(room.CreateRequest{}, bob), d.create(room.CreateRequest{})
	d.say(one, anna, "word of anna")
	d.say(one, bob, "word of bob")
	d.say(two, anna, "word elsewhere")
	d.finds(search.Query{Term: "word"}, "word elsewhere", "word of bob", "word of anna")
	d.finds(search.Query{Term: "word", Rooms: []id.RoomID{one}}, "word of bob", "word of anna")
	d.finds(search.Query{Term: "word", Rooms: []id.RoomID{}})
	d.finds(search.Query{Term: "word", NotRooms: []id.RoomID{one}}, "word elsewhere")
	d.finds(search.Query{Term: "word", Filter: room.EventFilter{Senders: []id.UserID{bob}}}, "word of bob")
	d.finds(search.Query{Term: "word", Filter: room.EventFilter{Senders: []id.UserID{}}})
	d.finds(search.Query{Term: "word", Filter: room.EventFilter{NotSenders: []id.UserID{anna}}}, "word of bob")
	d.finds(search.Query{Term: "word", Filter: room.EventFilter{NotTypes: []string{"m.room.message"}}})
}

// B9 on this way of reading: nobody finds what they may not see.
func TestB09SearchShowsWhatOneMaySee(t *testing.T) {
	eachDomain(t, func(t *testing.T, d *domain) {
		in := d.create(room.CreateRequest{})
		d.set(in, "m.room.history_visibility", `{"history_visibility":"joined"}`)
		d.say(in, anna, "secret before")
		_, err := d.rooms.Join(t.Context(), room.MembershipChange{Room: in, Sender: bob, Target: bob})
		d.must(err)
		d.say(in, anna, "secret during")
		_, err = d.rooms.Leave(t.Context(), room.MembershipChange{Room: in, Sender: bob, Target: bob})
		d.must(err)
		d.say(in, anna, "secret after")
		d.finds(search.Query{Term: "secret"}, "secret after", "secret during", "secret before")
		d.finds(search.Query{Term: "secret", User: bob}, "secret during")
		d.finds(search.Query{Term: "secret", User: bob, Rooms: []id.RoomID{in}}, "secret during")
		// Most of a page may be hidden; what is behind it is found all the same.
		d.finds(search.Query{Term: "secret", User: bob, Limit: 1}, "secret during")
		d.finds(search.Query{Term: "secret", User: "@carol:here.test"})
		d.finds(search.Query{Term: "secret", User: "@carol:here.test", Rooms: []id.RoomID{in}})
		d.must(d.rooms.Forget(t.Context(), in, bob))
		d.finds(search.Query{Term: "secret", User: bob})
	})
}

func TestRedactedEventsLeaveTheIndex(t *testing.T) {
	eachDomain(t, func(t *testing.T, d *domain) {
		in := d.create(room.CreateRequest{})
		gone := d.say(in, anna, "wrong word")
		d.say(in, anna, "right word")
		d.finds(search.Query{Term: "word"}, "right word", "wrong word") // indexed before it is redacted
		d.send(room.Draft{Room: in, Sender: anna, Type: "m.room.redaction", Content: json.RawMessage(`{}`), Redacts: gone})
		r := d.finds(search.Query{Term: "word"}, "right word")
		if r.Count != 1 {
			t.Errorf("count %d", r.Count)
		}
	})
}

func TestEncryptedRoomsAreNotSearched(t *testing.T) {
	eachDomain(t, func(t *testing.T, d *domain) {
		in := d.create(room.CreateRequest{Name: "word"})
		d.say(in, anna, "word in the open")
		d.finds(search.Query{Term: "word"}, "word in the open", "m.room.name")
		d.set(in, "m.room.encryption", `{"algorithm":"m.megolm.v1.aes-sha2"}`)
		d.say(in, anna, "word by a client that forgot")
		if r := d.finds(search.Query{Term: "word"}); r.Count != 0 {
			t.Errorf("count %d", r.Count)
		}
	})
}

func TestSearchFollowsUpgrades(t *testing.T) {
	d := openDomain(t, server, dbtest.SQLite(t))
	old := d.create(room.CreateRequest{Version: "9"}, bob)
	d.say(old, anna, "word before")
	next, err := d.rooms.Upgrade(t.Context(), anna, old, "10", nil)
	d.must(err)
	d.say(next, anna, "word after")
	d.finds(search.Query{Term: "word", Rooms: []id.RoomID{next}}, "word after", "word before")
	d.finds(search.Query{Term: "word", Rooms: []id.RoomID{next, old}}, "word after", "word before")
	d.finds(search.Query{Term: "word", Rooms: []id.RoomID{old}}, "word before")
	// A room that claims to continue another opens it to nobody.
	trap := d.create(room.CreateRequest{Creator: "@carol:here.test",
		CreationContent: json.RawMessage(fmt.Sprintf(`{"predecessor":{"room_id":%q}}`, old))})
	d.finds(search.Query{Term: "word", User: "@carol:here.test", Rooms: []id.RoomID{trap}})
}

func TestIndexGoesOnWhereItStopped(t *testing.T) {
	eachDomain(t, func(t *testing.T, d *domain) {
		in := d.create(room.CreateRequest{})
		d.say(in, anna, "word one")
		d.finds(search.Query{Term: "word"}, "word one")
		d.say(in, anna, "word two")
		d.must(d.store.Close())
		d.open()
		d.say(in, anna, "word three")
		d.finds(search.Query{Term: "word"}, "word three", "word two", "word one")
	})
}

// What another server gives us of the past is found once it is here.
func TestHistoryIsIndexed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there, here := openDomain(t, "there.test", dbtest.SQLite(t)), openDomain(t, server, dbtest.SQLite(t))
		there.Index = nil
		in := there.create(room.CreateRequest{Creator: "@carol:there.test"})
		said := there.say(in, "@carol:there.test", "word of the past")
		here.text[said] = "word of the past"
		here.joinRemotely(in, there)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- here.Run(ctx) }()
		past, err := there.rooms.BackfillFor(t.Context(), server, in, here.missing(in), 100)
		here.must(err)
		if n, err := here.rooms.Backfilled(t.Context(), in, travel(t, past), nil); err != nil || n == 0 {
			t.Fatalf("backfilled %d, %v", n, err)
		}
		here.finds(search.Query{Term: "word"}) // it may not be stored yet as far as the index knows
		for range 3 {
			synctest.Wait()
			here.notify.Wake(notify.Change{})
			synctest.Wait()
			here.clock.Advance(time.Minute)
		}
		synctest.Wait()
		here.finds(search.Query{Term: "word"}, "word of the past")
		stop()
		here.must(<-ended)
	})
}

// missing is what the room's history lacks.
func (d *domain) missing(in id.RoomID) []id.EventID {
	d.t.Helper()
	info, err := d.rooms.Room(d.t.Context(), in)
	d.must(err)
	return info.Missing
}

func (d *domain) joinRemotely(in id.RoomID, other *domain) {
	d.t.Helper()
	ctx := d.t.Context()
	made, err := other.rooms.MakeJoin(ctx, d.name, in, anna, roomver.Names())
	d.must(err)
	v, _ := roomver.Get(made.Version)
	draft, err := event.ParseTemplate(made.Event, v)
	d.must(err)
	draft.OriginServerTS = d.clock.Now().UnixMilli()
	join, err := event.Build(v, draft, d.name, d.key)
	d.must(err)
	answer, err := other.rooms.SendJoin(ctx, d.name, in, join)
	d.must(err)
	d.must(d.rooms.Import(ctx, room.JoinAnswer{Origin: other.name, Room: in, Join: travel(d.t, []*room.Event{answer.Event})[0],
		State: travel(d.t, answer.State), AuthChain: travel(d.t, answer.AuthChain)}))
}

// travel is what another server reads of events.
func travel(t testing.TB, evs []*room.Event) []*event.PDU {
	t.Helper()
	var all []*event.PDU
	for _, ev := range evs {
		got, err := event.Parse(ev.JSON, ev.Version)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, got)
	}
	return all
}

// BenchmarkIndex is what a message costs the index when many come at once.
func BenchmarkIndex(b *testing.B) {
	d := openDomain(b, server, dbtest.SQLite(b))
	in := d.create(room.CreateRequest{})
	for range b.N {
		d.say(in, anna, "Guten Morgen, der Befund von gestern ist jetzt da und sieht unauffällig aus")
	}
	b.ResetTimer()
	d.must(d.Advance(b.Context(), d.store.Position()))
}
