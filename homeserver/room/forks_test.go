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

// Found by the storm of package homeserver.

func (s *server) ends(r id.RoomID) []id.EventID {
	s.t.Helper()
	info, err := s.Room(ctx, r)
	if err != nil {
		s.t.Fatal(err)
	}
	return info.Extremities
}

// TestSoftFailedEventsTieUpWhatTheyFollow: who was thrown out and does not know it yet goes on, and others of that server build on
// it. What lies before is no end of the room any more.
func TestSoftFailedEventsTieUpWhatTheyFollow(t *testing.T) {
	a, b := newServer(t, "klinik.test"), newServer(t, "praxis.test")
	anna, bob, carl := a.user("anna"), b.user("bob"), b.user("carl")
	r := a.create(anna)
	b.joinRemotely(r, bob, a)
	carlIn := b.join(r, carl)
	a.accepts(b, carlIn)
	kick, err := a.Kick(ctx, room.MembershipChange{Room: r, Sender: anna, Target: bob})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		lost := b.say(r, bob, fmt.Sprint("behind the back ", i))
		if got := a.receive(b, lost); got.Outcome != room.SoftFail {
			t.Fatalf("%+v", got)
		}
		said := b.say(r, carl, fmt.Sprint("in good faith ", i))
		a.accepts(b, said)
		want := []id.EventID{kick, said}
		slices.Sort(want)
		if got := a.ends(r); !slices.Equal(got, want) {
			t.Fatalf("ends %v, want the kick and carl's last word, %v", got, want)
		}
	}
}

// TestEventsAmongManyEndsStandOnWhatTheyName: of more ends than an event can name it takes some, and the state it meets is theirs
// alone: others know of no more.
func TestEventsAmongManyEndsStandOnWhatTheyName(t *testing.T) {
	a, b, r := twoServers(t, "11")
	anna := a.user("anna")
	b.accepts(a, a.set(r, anna, event.TypePowerLevels, "", `{"users":{"`+string(anna)+`":100},"events":{"com.note":0}}`))
	tpl, like := lastOf(t, a, b, r)
	tpl.Type, tpl.PrevEvents = "com.note", like.PrevEvents
	var forks []*event.PDU
	for i := range 50 {
		key := fmt.Sprint(i)
		tpl.StateKey, tpl.Content = &key, []byte(`{}`)
		forks = append(forks, b.build(tpl, like))
	}
	for _, s := range []*server{a, b} {
		receipts, err := s.ReceiveAll(ctx, b.name, r, forks)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range receipts {
			if got.Outcome != room.AcceptedNow {
				t.Fatalf("%+v", got)
			}
		}
	}
	for len(a.ends(r)) > 1 {
		before := len(a.ends(r))
		said := a.say(r, anna, "ties up")
		b.accepts(a, said)
		ev := a.get(said)
		if len(ev.PrevEvents) > event.MaxPrevEvents || len(a.ends(r)) != before-len(ev.PrevEvents)+1 {
			t.Fatalf("an event that names %d of %d leaves %d ends", len(ev.PrevEvents), before, len(a.ends(r)))
		}
		if x, y := stateBefore(t, a, said), stateBefore(t, b, said); x != y {
			t.Fatalf("the state before it is not the same:\n%s\n%s", x, y)
		}
	}
	sameState(t, r, a, b)
	evs, err := a.CurrentState(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	notes := 0
	for _, ev := range evs {
		if ev.Type == "com.note" {
			notes++
		}
	}
	if notes != 50 {
		t.Errorf("%d notes", notes)
	}
}

func stateBefore(t *testing.T, s *server, evID id.EventID) string {
	t.Helper()
	evs, err := s.StateBefore(ctx, s.get(evID))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, ev := range evs {
		out = append(out, fmt.Sprint(ev.Type, "|", *ev.StateKey, "|", ev.ID))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// TestSendingAmongManyEnds: a client notices nothing of them.
func TestSendingAmongManyEnds(t *testing.T) {
	a, b, r := twoServers(t, "11")
	anna, dora := a.user("anna"), a.user("dora")
	tpl, like := lastOf(t, a, b, r)
	tpl.PrevEvents = like.PrevEvents
	var forks []*event.PDU
	for i := range 90 {
		tpl.Content = text(fmt.Sprint(i))
		forks = append(forks, b.build(tpl, like))
	}
	if _, err := a.ReceiveAll(ctx, b.name, r, forks); err != nil {
		t.Fatal(err)
	}
	draft := room.Draft{Room: r, Sender: anna, Type: event.TypeMessage, Content: text("once"), Device: "D", TxnScope: "send", TxnID: "1"}
	first, err := a.Send(ctx, draft)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.Send(ctx, draft); err != nil || again != first {
		t.Errorf("again %s, %v, want %s", again, err, first)
	}
	draft.Sender = dora
	if _, err := a.Send(ctx, draft); err == nil {
		t.Error("somebody who is not in the room said something")
	}
	a.join(r, dora)
	a.set(r, anna, event.TypeName, "", `{"name":"Ward"}`)
	if len(a.ends(r)) < 2 {
		t.Error("too few ends for this test")
	}
	if got := a.timeline(r); !slices.Equal(got[len(got)-3:], []string{"once", event.TypeMember, event.TypeName}) {
		t.Errorf("timeline ends %v", got[len(got)-3:])
	}
	redaction, err := a.Send(ctx, room.Draft{Room: r, Sender: anna, Type: event.TypeRedaction, Redacts: first, Content: []byte(`{}`)})
	if err != nil || !a.get(first).Redacted() {
		t.Errorf("redaction %s, %v", redaction, err)
	}
}
