package push_test

import (
	"context"
	"fmt"
	"testing"

	"konsil/homeserver/store"
	"konsil/kit/db/dbtest"
	"konsil/matrix/id"
	"konsil/matrix/pushrule"
)

func TestCountsFollowEventsAndReceipts(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		d := openDomain(t, url)
		in := d.create(alice, bob)
		first := d.say(in, alice, "hello")
		d.expect(bob, in, "1/0")
		d.expect(alice, in, "0/0")
		d.say(in, alice, "hello @bob:here.test")
		third := d.say(in, alice, "Dr. Bob, please come")
		d.expect(bob, in, "3/2")
		d.setState(in, alice, "m.room.topic", "", `{"topic":"quiet"}`)
		d.expect(bob, in, "3/2")
		d.read(in, bob, first, "")
		d.expect(bob, in, "2/2") // a receipt that points back leaves what came after it
		d.read(in, bob, third, "")
		d.expect(bob, in, "0/0")
		d.say(in, alice, "one more")
		d.read(in, bob, first, "")
		d.expect(bob, in, "1/0") // receipts do not go back
		d.say(in, bob, "yes?")
		d.expect(bob, in, "0/0") // who writes has read
		d.expect(alice, in, "1/0")
	})
}

// TestThreadedCounts is the story of CS v1.16 #threaded-read-receipts.
func TestThreadedCounts(t *testing.T) {
	d := newDomain(t)
	in := d.create(alice, bob)
	a := d.say(in, alice, "root")
	b := d.reply(in, alice, a, "begin of the thread")
	d.reply(in, alice, a, "for @bob:here.test")
	dd := d.say(in, alice, "hello bob")
	d.reply(in, alice, a, "end of the thread")
	f := d.send(in, alice, "m.room.message", fmt.Sprintf(`{"msgtype":"m.text","body":"r","m.relates_to":{"rel_type":"m.reference","event_id":%q}}`, a))
	g := d.send(in, alice, "m.reaction", fmt.Sprintf(`{"m.relates_to":{"rel_type":"m.annotation","event_id":%q,"key":"x"}}`, f))
	d.expect(bob, in, "3/1", string(a), "3/1")
	d.read(in, bob, a, "main")
	d.expect(bob, in, "2/1", string(a), "3/1")
	d.read(in, bob, b, string(a))
	d.expect(bob, in, "2/1", string(a), "2/1")
	d.read(in, bob, dd, "")
	d.expect(bob, in, "1/0", string(a), "1/0")
	d.read(in, bob, g, string(a))
	d.expect(bob, in, "1/0")
	d.read(in, bob, g, "")
	d.expect(bob, in, "0/0")
}

func TestThreadIsFoundThroughReplies(t *testing.T) {
	d := newDomain(t)
	in := d.create(alice, bob)
	root := d.say(in, alice, "root")
	child := d.reply(in, alice, root, "in the thread")
	edit := d.send(in, alice, "m.room.message", fmt.Sprintf(
		`{"msgtype":"m.text","body":"about it","m.relates_to":{"rel_type":"m.reference","event_id":%q}}`, child))
	d.send(in, alice, "m.room.message", fmt.Sprintf(
		`{"msgtype":"m.text","body":"about that","m.relates_to":{"rel_type":"m.reference","event_id":%q}}`, edit))
	d.expect(bob, in, "1/0", string(root), "3/0")
}

func TestCountsSurviveACrash(t *testing.T) {
	d := newDomain(t)
	in := d.create(alice, bob)
	d.say(in, alice, "written down")
	d.expect(bob, in, "1/0")
	d.must(d.Flush(d.ctx()))
	second := d.say(in, alice, "lost with the memory")
	d.reply(in, alice, second, "and this")
	d.expect(bob, in, "2/0", string(second), "1/0")
	d.restart()
	d.expect(bob, in, "2/0", string(second), "1/0")
	d.read(in, bob, second, "")
	d.restart() // the receipt is counted again, too
	d.expect(bob, in, "0/0", string(second), "1/0")
	d.must(d.Flush(d.ctx()))
	d.restart()
	d.expect(bob, in, "0/0", string(second), "1/0")
}

func TestCountsBeginWithTheJoin(t *testing.T) {
	d := newDomain(t)
	in := d.create(alice)
	d.say(in, alice, "before")
	d.join(in, bob)
	d.expect(bob, in, "0/0")
	d.say(in, alice, "after")
	d.expect(bob, in, "1/0")
	d.leave(in, bob)
	d.say(in, alice, "gone")
	d.join(in, bob)
	d.expect(bob, in, "0/0")
}

func TestChangedRulesCountFromThenOn(t *testing.T) {
	d := newDomain(t)
	in := d.create(alice, bob)
	d.say(in, alice, "loud")
	d.expect(bob, in, "1/0")
	silent := pushrule.NewRule(pushrule.Room, string(in), nil, nil, actions())
	d.must(d.PutRule(d.ctx(), bob, pushrule.Room, silent, "", ""))
	d.say(in, alice, "silent")
	d.expect(bob, in, "1/0")
	d.must(d.DeleteRule(d.ctx(), bob, pushrule.Room, string(in)))
	d.say(in, alice, "loud again")
	d.expect(bob, in, "2/0")
	if err := d.DeleteRule(d.ctx(), bob, pushrule.Room, string(in)); err == nil {
		t.Error("a rule was deleted twice")
	}
}

func TestIgnoredUsersDoNotCount(t *testing.T) {
	d := newDomain(t)
	in := d.create(alice, bob, carol)
	d.say(in, alice, "heard")
	d.expect(bob, in, "1/0")
	d.must(d.store.Write(d.ctx(), func(tx *store.Tx) error {
		return tx.PutAccountData(d.ctx(), bob, "", "m.ignored_user_list", []byte(`{"ignored_users":{"@alice:here.test":{}}}`))
	}))
	d.say(in, alice, "not heard, bob")
	d.say(in, carol, "heard")
	d.expect(bob, in, "2/0")
	d.expect(carol, in, "0/0")
	d.restart()
	d.say(in, alice, "not heard after a restart either")
	d.say(in, carol, "heard")
	d.expect(bob, in, "2/0") // what was never written down is counted again, by today's list
}

// TestRulesMoveWithTheRoom: they are taken along when the old room names its successor, and only then (A28).
func TestRulesMoveWithTheRoom(t *testing.T) {
	d := newDomain(t)
	old := d.create(alice, bob)
	d.must(d.PutRule(d.ctx(), bob, pushrule.Room, pushrule.NewRule(pushrule.Room, string(old), nil, nil, actions()), "", ""))
	impostor := d.createAfter(alice, old)
	d.join(impostor, bob)
	next := d.createAfter(alice, old)
	d.setState(old, alice, "m.room.tombstone", "", fmt.Sprintf(`{"replacement_room":%q}`, next))
	d.must(d.Advance(d.ctx(), d.store.Position()))
	rules, err := d.Rules(d.ctx(), bob)
	d.must(err)
	if !rules.HasRoom(string(next)) || !rules.HasRoom(string(old)) || rules.HasRoom(string(impostor)) {
		t.Errorf("rules: next %v, old %v, impostor %v", rules.HasRoom(string(next)), rules.HasRoom(string(old)), rules.HasRoom(string(impostor)))
	}
}

// TestEverybodyMayAskAtTheSameTime: counting is shared, whoever asks first.
func TestEverybodyMayAskAtTheSameTime(t *testing.T) {
	d := newDomain(t)
	in := d.create(alice, bob, carol)
	for range 20 {
		d.say(in, alice, "hi")
	}
	errs := make(chan error, 30)
	for range 10 {
		for _, user := range []id.UserID{alice, bob, carol} {
			go func() {
				counts, err := d.Unread(d.ctx(), user, []id.RoomID{in}, d.store.Position())
				if want := map[id.UserID]int64{bob: 20, carol: 20}[user]; err == nil && counts[0].Notify != want {
					err = fmt.Errorf("%s has %d unread", user, counts[0].Notify)
				}
				errs <- err
			}()
		}
	}
	for range 30 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// BenchmarkCount is a message into a room of 300 local members.
func BenchmarkCount(b *testing.B) {
	d := newDomain(b)
	users := []id.UserID{alice}
	for i := range 299 {
		users = append(users, id.UserID(fmt.Sprintf("@user%d:here.test", i)))
	}
	in := d.create(users...)
	d.must(d.Advance(d.ctx(), d.store.Position()))
	for _, text := range []string{"plain text without mentions, as small clients send it", ""} {
		name := map[bool]string{true: "encrypted", false: "text"}[text == ""]
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				if text == "" {
					d.send(in, alice, "m.room.encrypted", `{"algorithm":"m.megolm.v1.aes-sha2"}`)
				} else {
					d.say(in, alice, text)
				}
				b.StartTimer()
				if err := d.Advance(context.Background(), d.store.Position()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
