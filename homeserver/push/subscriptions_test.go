package push_test

import (
	"testing"

	"konsil/homeserver/push"
	"konsil/kit/db/dbtest"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// MSC4306
func TestThreadSubscriptions(t *testing.T) {
	const notInThread, conflict = "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD", "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION"
	dbtest.Each(t, func(t *testing.T, url string) {
		d := openDomain(t, url)
		in := d.create(alice, bob)
		root, other := d.say(in, bob, "root"), d.say(in, bob, "another root")
		thread := push.Thread{Room: in, Root: root}
		subscribe := func(cause id.EventID, code string) {
			t.Helper()
			if err := d.Subscribe(d.ctx(), alice, thread, cause); code == "" && err != nil || code != "" && !mxerr.Is(err, code) {
				t.Errorf("subscribe: %v, want %q", err, code)
			}
		}
		is := func(automatic bool) {
			t.Helper()
			if got, err := d.Subscription(d.ctx(), alice, thread); err != nil || got != automatic {
				t.Errorf("automatic %v, %v; want %v", got, err, automatic)
			}
		}
		isNot := func() {
			t.Helper()
			if _, err := d.Subscription(d.ctx(), alice, thread); !mxerr.Is(err, mxerr.CodeNotFound) {
				t.Errorf("subscribed: %v", err)
			}
		}
		isNot()
		reply, elsewhere := d.reply(in, bob, root, "reply"), d.reply(in, bob, other, "elsewhere")
		for _, cause := range []id.EventID{root, elsewhere, other, "$nowhere"} {
			subscribe(cause, notInThread)
		}
		isNot()
		subscribe(reply, "")
		is(true)
		subscribe("", "") // the user's wish weighs more
		is(false)
		subscribe(reply, "")
		is(false)

		second := d.reply(in, bob, root, "second")
		d.must(d.Unsubscribe(d.ctx(), alice, thread))
		d.must(d.Unsubscribe(d.ctx(), alice, thread)) // twice is once: what comes in between is a cause
		isNot()
		third := d.reply(in, bob, root, "third")
		subscribe(reply, conflict)
		subscribe(second, conflict)
		isNot()
		subscribe(third, "")
		is(true)
		d.must(d.Unsubscribe(d.ctx(), alice, thread))
		subscribe("", "") // what the user wishes needs no cause
		is(false)

		// One user's is none of another's; and what one may not see is unknown.
		if _, err := d.Subscription(d.ctx(), bob, thread); !mxerr.Is(err, mxerr.CodeNotFound) {
			t.Errorf("bob: %v", err)
		}
		for _, hidden := range []push.Thread{{Room: in, Root: "$nowhere"}, {Room: d.create(bob), Root: root}} {
			for _, err := range []error{d.Subscribe(d.ctx(), carol, hidden, ""), d.Unsubscribe(d.ctx(), carol, hidden)} {
				if !mxerr.Is(err, mxerr.CodeNotFound) {
					t.Errorf("%v: %v", hidden, err)
				}
			}
		}
	})
}
