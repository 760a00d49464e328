package room_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"konsil/homeserver/room"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/roomver"
)

func TestCreateSendAndReadInAllVersions(t *testing.T) {
	for _, v := range roomver.All() {
		t.Run("v"+v.ID, func(t *testing.T) {
			s := newServer(t, "klinik.test")
			anna, bob := s.user("anna"), s.user("bob")
			r := s.create(anna, version(v.ID), func(c *room.CreateRequest) { c.Name = "Visite" })
			s.join(r, bob)
			first := s.say(r, anna, "hello")
			s.say(r, bob, "there")
			want := []string{"hello", "there"}
			check := func() {
				t.Helper()
				got := s.timeline(r)
				if !slices.Equal(got[len(got)-2:], want) {
					t.Errorf("timeline ends %q, want %q", got[len(got)-2:], want)
				}
				name, err := s.StateEvent(ctx, r, event.TypeName, "")
				if err != nil || name == nil || string(name.Content) != `{"name":"Visite"}` {
					t.Errorf("name = %v, %v", name, err)
				}
				if m, err := s.Membership(ctx, r, bob); m != "join" || err != nil {
					t.Errorf("bob: %q, %v", m, err)
				}
				if ev := s.get(first); ev.Sender != anna || !ev.HashMatches() {
					t.Errorf("event is not what was sent")
				}
			}
			check()
			s.restart()
			check()
			want = []string{"there", "again"}
			s.say(r, anna, "again")
			check()
		})
	}
}

func TestEveryoneSendsAndNothingIsLost(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna := s.user("anna")
	r := s.create(anna)
	const senders, each = 8, 25
	var wg sync.WaitGroup
	for i := range senders {
		who := s.user(fmt.Sprint("u", i))
		s.join(r, who)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range each {
				s.say(r, who, fmt.Sprintf("%d/%d", i, n))
			}
		}()
	}
	wg.Wait()
	seen := map[int]int{}
	for _, body := range s.timeline(r) {
		var i, n int
		if _, err := fmt.Sscanf(body, "%d/%d", &i, &n); err != nil {
			continue
		}
		if seen[i] != n {
			t.Fatalf("sender %d: message %d at place %d", i, n, seen[i])
		}
		seen[i]++
	}
	for i := range senders {
		if seen[i] != each {
			t.Errorf("sender %d: %d messages", i, seen[i])
		}
	}
	info, err := s.Room(ctx, r)
	if err != nil || len(info.Extremities) != 1 {
		t.Errorf("extremities %v, %v", info.Extremities, err)
	}
}

func TestTransactionsAreIdempotentAlsoAfterRestart(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna := s.user("anna")
	r := s.create(anna)
	d := room.Draft{Room: r, Sender: anna, Type: event.TypeMessage, Content: text("once"), Device: "PHONE", TxnScope: "send", TxnID: "1"}
	send := func(d room.Draft) id.EventID {
		t.Helper()
		ev, err := s.Send(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		return ev
	}
	first := send(d)
	if again := send(d); again != first {
		t.Errorf("repeated: %s, was %s", again, first)
	}
	s.restart()
	if again := send(d); again != first {
		t.Errorf("repeated after restart: %s, was %s", again, first)
	}
	other := d
	other.Device = "TABLET"
	if ev := send(other); ev == first {
		t.Error("another device got the first one's event")
	}
	if n := len(slices.DeleteFunc(s.timeline(r), func(b string) bool { return b != "once" })); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

func TestSameStateIsNotSentTwice(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna := s.user("anna")
	r := s.create(anna)
	a := s.set(r, anna, event.TypeTopic, "", `{"topic":"x","n":1}`)
	b := s.set(r, anna, event.TypeTopic, "", ` {"n": 1, "topic": "x"} `)
	c := s.set(r, anna, event.TypeTopic, "", `{"topic":"y"}`)
	if a != b || c == a {
		t.Errorf("events %s %s %s", a, b, c)
	}
}

func TestRefusalsAnswerOnlyTheirSender(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna, mallory := s.user("anna"), s.user("mallory")
	r := s.create(anna)
	_, err := s.Send(ctx, room.Draft{Room: r, Sender: mallory, Type: event.TypeMessage, Content: text("x")})
	if !mxerr.Is(err, mxerr.CodeForbidden) {
		t.Errorf("stranger: %v", err)
	}
	_, err = s.Send(ctx, room.Draft{Room: r, Sender: anna, Type: event.TypeMessage, Content: text(strings.Repeat("x", 70000))})
	if !mxerr.Is(err, mxerr.CodeTooLarge) {
		t.Errorf("too large: %v", err)
	}
	_, err = s.Send(ctx, room.Draft{Room: r, Sender: anna, Type: event.TypeMessage, Content: json.RawMessage(`{"x":1.5}`)})
	if !mxerr.Is(err, mxerr.CodeBadJSON) {
		t.Errorf("fraction: %v", err)
	}
	_, err = s.Send(ctx, room.Draft{Room: "!none:klinik.test", Sender: anna, Type: event.TypeMessage, Content: text("x")})
	if !mxerr.Is(err, mxerr.CodeForbidden) {
		t.Errorf("unknown room, which nobody may tell from one that is closed to them: %v", err)
	}
	s.say(r, anna, "still fine")
}

func TestWorksWithoutMemory(t *testing.T) {
	s := newServer(t, "klinik.test")
	s.cache = 4 // bytes: nothing stays that is not being worked on
	s.restart()
	anna := s.user("anna")
	var rooms []id.RoomID
	for range 6 {
		rooms = append(rooms, s.create(anna))
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			who := s.user(fmt.Sprint("u", w))
			for i, r := range rooms {
				s.join(r, who)
				s.say(r, who, fmt.Sprint("message ", i))
				if m, err := s.Membership(ctx, r, who); m != "join" || err != nil {
					t.Errorf("%q, %v", m, err)
				}
			}
		}()
	}
	wg.Wait()
	for _, r := range rooms {
		info, err := s.Room(ctx, r)
		if err != nil || info.Joined != 9 || len(info.Extremities) != 1 {
			t.Errorf("%+v, %v", info, err)
		}
	}
}

// TestOwnedState: who may set a state key is told apart from what nobody could. MSC3757
func TestOwnedState(t *testing.T) {
	s := newServer(t, "klinik.test")
	anna, bob := s.user("anna"), s.user("bob")
	r := s.create(anna, version("org.matrix.msc3757.10"), func(c *room.CreateRequest) {
		c.PowerLevelOverride = json.RawMessage(`{"events":{"com.example":0}}`)
	})
	s.join(r, bob)
	for _, c := range []struct {
		who  id.UserID
		key  string
		want string
	}{
		{bob, string(bob) + "_phone", ""},
		{bob, string(anna) + "_phone", mxerr.CodeForbidden},
		{anna, string(bob) + "_phone", ""},
		{anna, "@nobody", mxerr.CodeBadJSON},
	} {
		_, err := s.Send(ctx, room.Draft{Room: r, Sender: c.who, Type: "com.example", StateKey: &c.key, Content: json.RawMessage(`{}`)})
		if c.want == "" && err != nil || c.want != "" && !mxerr.Is(err, c.want) {
			t.Errorf("%s sets %s: %v, want %s", c.who, c.key, err, c.want)
		}
	}
}
