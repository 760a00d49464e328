package room_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"konsil/homeserver/room"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// TestB09HistoryVisibility walks through a user's way in and out of a room under each visibility. The script: a letter is a message, < an
// invite, + a join, - a leave, # a ban (lifted at once by the next <), w to world_readable. What the user may read in the end, and could read with
// each of the read functions, is the second column.
func TestB09HistoryVisibility(t *testing.T) {
	for _, c := range []struct{ visibility, script, sees string }{
		{"world_readable", "ab", "ab"},
		{"world_readable", "a<b+c-d", "abcd"},
		{"shared", "ab", ""},
		{"shared", "a<b", ""},
		{"shared", "a<b+c", "abc"},
		{"shared", "a<b+c-d", "abc"},
		{"shared", "a<b+c#d", "abc"},
		{"shared", "a<b+c-d<e", "abc"},
		{"shared", "a<b+c-d<e+f", "abcdef"},
		{"shared", "a<b-c", ""},
		{"invited", "a<b", "b"},
		{"invited", "a<b+c", "bc"},
		{"invited", "a<b+c-d", "bc"},
		{"invited", "a<b-c", "b"},
		{"invited", "a<b+c-d<e+f", "bcef"},
		{"invited", "a<b+c#d", "bc"},
		{"joined", "a<b", ""},
		{"joined", "a<b+c", "c"},
		{"joined", "a<b+c-d", "c"},
		{"joined", "a<b+c-d<e+f", "cf"},
		{"joined", "a<b+c#d", "c"},
		{"joined", "aw<b+c", "bc"},
		{"joined", "awb", "b"},
	} {
		t.Run(c.visibility+"/"+c.script, func(t *testing.T) {
			s := newServer(t, "klinik.test")
			anna, bob := s.user("anna"), s.user("bob")
			r := s.create(anna, func(q *room.CreateRequest) { q.Preset = "private_chat" })
			s.set(r, anna, event.TypeHistoryVisibility, "", fmt.Sprintf(`{"history_visibility":%q}`, c.visibility))
			sent := map[string]id.EventID{}
			member := func(fn func(room.MembershipChange) (id.EventID, error), by, whom id.UserID) {
				t.Helper()
				if _, err := fn(room.MembershipChange{Room: r, Sender: by, Target: whom}); err != nil {
					t.Fatal(err)
				}
			}
			for _, step := range c.script {
				switch step {
				case '<':
					member(func(m room.MembershipChange) (id.EventID, error) { return s.Invite(ctx, m) }, anna, bob)
				case '+':
					s.join(r, bob)
				case '-':
					member(func(m room.MembershipChange) (id.EventID, error) { return s.Leave(ctx, m) }, bob, bob)
				case '#':
					member(func(m room.MembershipChange) (id.EventID, error) { return s.Ban(ctx, m) }, anna, bob)
				case 'w':
					s.set(r, anna, event.TypeHistoryVisibility, "", `{"history_visibility":"world_readable"}`)
				default:
					sent[string(step)] = s.say(r, anna, string(step))
				}
			}
			everyWay(t, s, r, bob, sent, c.sees)
			s.restart()
			everyWay(t, s, r, bob, sent, c.sees)
		})
	}
}

// everyWay reads a room in each way there is and compares what was to be seen.
func everyWay(t *testing.T, s *server, r id.RoomID, user id.UserID, sent map[string]id.EventID, want string) {
	t.Helper()
	var letters []string
	for l := range sent {
		letters = append(letters, l)
	}
	slices.Sort(letters)
	one := ""
	for _, l := range letters {
		if _, err := s.EventOf(ctx, user, r, sent[l]); err == nil {
			one += l
		} else if err != room.ErrUnknownEvent {
			t.Fatal(err)
		}
	}
	if one != want {
		t.Errorf("event by event: %q, want %q", one, want)
	}
	for _, backward := range []bool{true, false} {
		page, err := s.Messages(ctx, room.PageRequest{Room: r, User: user, Backward: backward, Limit: 100})
		got := ""
		for _, ev := range page.Events {
			if ev.Type == event.TypeMessage {
				got += strings.Trim(strings.TrimPrefix(string(ev.Content), `{"body":`), `"{}`)[:1]
			}
		}
		if backward {
			b := []byte(got)
			slices.Reverse(b)
			got = string(b)
		}
		if err == nil && got != want || err != nil && want != "" {
			t.Errorf("messages, backward %v: %q, %v, want %q", backward, got, err, want)
		}
	}
	for _, l := range letters {
		around, err := s.Context(ctx, user, r, sent[l], 100, room.EventFilter{})
		if (err == nil) != strings.Contains(want, l) {
			t.Errorf("context of %s: %v", l, err)
		}
		for _, ev := range slices.Concat(around.Before, around.After) {
			for o, evID := range sent {
				if ev.ID == evID && !strings.Contains(want, o) {
					t.Errorf("context of %s shows %s", l, o)
				}
			}
		}
	}
}

func TestB09ServersSeeWhatTheirUsersMay(t *testing.T) {
	for _, c := range []struct {
		visibility string
		before     bool
	}{{"shared", true}, {"world_readable", true}, {"joined", false}, {"invited", false}} {
		t.Run(c.visibility, func(t *testing.T) {
			a, b := newServer(t, "klinik.test"), newServer(t, "praxis.test")
			anna := a.user("anna")
			r := a.create(anna)
			a.set(r, anna, event.TypeHistoryVisibility, "", fmt.Sprintf(`{"history_visibility":%q}`, c.visibility))
			before := a.say(r, anna, "secret")
			b.joinRemotely(r, b.user("bob"), a)
			after := a.say(r, anna, "open")
			for evID, full := range map[id.EventID]bool{before: c.before, after: true} {
				ev, err := a.EventFor(ctx, b.name, evID)
				if err != nil {
					t.Fatal(err)
				}
				if shown := strings.Contains(string(ev.Content), "body"); shown != full || ev.ID != evID {
					t.Errorf("event shown whole: %v, want %v", shown, full)
				}
			}
			evs, err := a.BackfillFor(ctx, b.name, r, []id.EventID{after}, 3)
			if err != nil || len(evs) != 3 {
				t.Fatal(len(evs), err)
			}
			if got := strings.Contains(string(evs[2].Content), "secret"); got != c.before {
				t.Errorf("backfill shows what was before: %v", got)
			}
		})
	}
}
