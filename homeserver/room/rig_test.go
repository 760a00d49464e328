package room_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/sign"
)

// server is an engine of one domain on a real store.
type server struct {
	*room.Engine
	t     testing.TB
	name  id.ServerName
	key   sign.Key
	url   string
	store *store.DB
	clock *clock.Fake
	woken *notify.Notifier
	cache int64 // bytes; 0 for the default
}

func newServer(t testing.TB, name string) *server {
	t.Helper()
	return openServer(t, name, "sqlite:"+filepath.Join(t.TempDir(), "domain.db"))
}

func openServer(t testing.TB, name, url string) *server {
	t.Helper()
	key, err := sign.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, name: id.ServerName(name), key: key, url: url, clock: clock.NewFake(time.Time{})}
	s.open()
	t.Cleanup(func() { _ = s.store.Close() })
	return s
}

func (s *server) open() {
	s.t.Helper()
	db, err := store.Open(context.Background(), store.Config{URL: s.url, Domain: 1})
	if err != nil {
		s.t.Fatal(err)
	}
	s.store, s.woken = db, notify.New()
	s.Engine = room.New(room.Config{Store: db, Notify: s.woken, Clock: s.clock, Server: s.name, Key: s.key, CacheBytes: s.cache,
		Profile: func(_ context.Context, u id.UserID) (room.Profile, error) {
			return room.Profile{DisplayName: u.Localpart()}, nil
		}})
}

// restart forgets all that is in memory.
func (s *server) restart() {
	s.t.Helper()
	if err := s.store.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.open()
}

func (s *server) user(name string) id.UserID { return id.UserID("@" + name + ":" + string(s.name)) }

var ctx = context.Background()

// create makes a public room.
func (s *server) create(creator id.UserID, change ...func(*room.CreateRequest)) id.RoomID {
	s.t.Helper()
	req := room.CreateRequest{Creator: creator, Preset: "public_chat"}
	for _, c := range change {
		c(&req)
	}
	made, err := s.Create(ctx, req)
	if err != nil {
		s.t.Fatalf("create: %v", err)
	}
	return made.Room
}

func version(v string) func(*room.CreateRequest) {
	return func(r *room.CreateRequest) { r.Version = v }
}

func text(body string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"msgtype":"m.text","body":%q}`, body))
}

// say sends a message.
func (s *server) say(r id.RoomID, who id.UserID, body string) id.EventID {
	s.t.Helper()
	ev, err := s.Send(ctx, room.Draft{Room: r, Sender: who, Type: event.TypeMessage, Content: text(body)})
	if err != nil {
		s.t.Fatalf("send: %v", err)
	}
	return ev
}

// set sends a state event.
func (s *server) set(r id.RoomID, who id.UserID, typ, key, content string) id.EventID {
	s.t.Helper()
	ev, err := s.Send(ctx, room.Draft{Room: r, Sender: who, Type: typ, StateKey: &key, Content: json.RawMessage(content)})
	if err != nil {
		s.t.Fatalf("send %s: %v", typ, err)
	}
	return ev
}

func (s *server) join(r id.RoomID, who id.UserID) id.EventID {
	s.t.Helper()
	ev, err := s.Join(ctx, room.MembershipChange{Room: r, Sender: who, Target: who})
	if err != nil {
		s.t.Fatalf("join: %v", err)
	}
	return ev
}

func (s *server) get(ev id.EventID) *room.Event {
	s.t.Helper()
	got, err := s.Event(ctx, ev)
	if err != nil {
		s.t.Fatalf("event: %v", err)
	}
	return got
}

// timeline lists the bodies, or types, of a room's timeline.
func (s *server) timeline(r id.RoomID) []string {
	s.t.Helper()
	evs, _, err := s.Timeline(ctx, r, 0, s.store.Position(), 1000)
	if err != nil {
		s.t.Fatalf("timeline: %v", err)
	}
	var out []string
	for _, ev := range evs {
		var c struct{ Body string }
		_ = json.Unmarshal(ev.Content, &c)
		if c.Body == "" {
			c.Body = ev.Type
		}
		out = append(out, c.Body)
	}
	return out
}
