package push_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"konsil/homeserver/push"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func httpPusher(url, format string) push.Pusher {
	data := fmt.Sprintf(`{"url":%q,"brand":"x"}`, url)
	if format != "" {
		data = fmt.Sprintf(`{"url":%q,"format":%q}`, url, format)
	}
	return push.Pusher{PushKey: "key", Kind: "http", AppID: "app", AppDisplayName: "App", DeviceDisplayName: "Phone", Lang: "de",
		Data: json.RawMessage(data)}
}

func TestPusherRings(t *testing.T) {
	d, p := newDomain(t), newPhone(t)
	in := d.create(alice, bob)
	d.must(d.SetPusher(d.ctx(), bob, "", httpPusher(p.url(), ""), false))
	d.run()
	ev := d.say(in, alice, "hello bob")
	call := p.next(t)
	device := call["devices"].([]any)[0].(map[string]any)
	for name, c := range map[string][2]any{
		"event_id":    {call["event_id"], string(ev)},
		"room_id":     {call["room_id"], string(in)},
		"type":        {call["type"], "m.room.message"},
		"sender name": {call["sender_display_name"], "Dr. alice"},
		"prio":        {call["prio"], "high"},
		"unread":      {call["counts"].(map[string]any)["unread"], 1.0},
		"body":        {call["content"].(map[string]any)["body"], "hello bob"},
		"app":         {device["app_id"], "app"},
		"data":        {fmt.Sprint(device["data"]), "map[brand:x]"},
		"tweaks":      {fmt.Sprint(device["tweaks"]), "map[highlight:true sound:default]"},
	} {
		if c[0] != c[1] {
			t.Errorf("%s is %v, want %v", name, c[0], c[1])
		}
	}
	d.read(in, bob, ev, "")
	if badge := p.next(t); badge["event_id"] != nil || badge["counts"].(map[string]any)["unread"] != 0.0 {
		t.Errorf("after reading: %v", badge)
	}
}

func TestPusherThatWantsIDsOnly(t *testing.T) {
	d, p := newDomain(t), newPhone(t)
	in := d.create(alice, bob)
	d.must(d.SetPusher(d.ctx(), bob, "", httpPusher(p.url(), "event_id_only"), false))
	d.run()
	d.say(in, alice, "secret")
	call := p.next(t)
	for _, field := range []string{"content", "sender", "type", "room_name", "sender_display_name"} {
		if call[field] != nil {
			t.Errorf("%s is told: %v", field, call[field])
		}
	}
	if call["event_id"] == nil || call["room_id"] == nil {
		t.Errorf("IDs are missing: %v", call)
	}
}

func TestInviteRings(t *testing.T) {
	d, p := newDomain(t), newPhone(t)
	d.must(d.SetPusher(d.ctx(), bob, "", httpPusher(p.url(), ""), false))
	d.run()
	in := d.create(alice)
	d.invite(in, alice, bob)
	if call := p.next(t); call["type"] != "m.room.member" || call["user_is_target"] != true {
		t.Errorf("invite: %v", call)
	}
}

// TestRingsAreNotLost: a gateway that fails is tried again, also after a restart; one that rejects the key is forgotten.
func TestRingsAreNotLost(t *testing.T) {
	d, p := newDomain(t), newPhone(t)
	in := d.create(alice, bob)
	d.must(d.SetPusher(d.ctx(), bob, "", httpPusher(p.url(), ""), false))
	ev := d.say(in, alice, "hello")
	d.must(d.Advance(d.ctx(), d.store.Position()))
	d.must(d.Flush(d.ctx()))
	d.restart()
	p.answer <- ""
	d.run()
	p.next(t)
	for d.NextDue() == 0 { // the failure is noted a moment after the phone has answered
		time.Sleep(time.Millisecond)
	}
	p.answer <- `{"rejected":["key"]}`
	d.clock.Advance(time.Minute)
	if again := p.next(t); again["event_id"] != string(ev) {
		t.Errorf("rang again for %v, want %s", again["event_id"], ev)
	}
	for range 1000 {
		if all, err := d.Pushers(d.ctx(), bob); err != nil || len(all) == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("the pusher is still there although the gateway rejects its key")
}

func TestPushersThatAreRefused(t *testing.T) {
	d := newDomain(t)
	strict := push.New(push.Config{Server: server, Store: d.store, Rooms: d.rooms, Notify: d.notify, Clock: d.clock})
	for url, allowed := range map[string]bool{
		"https://push.example.org/_matrix/push/v1/notify":             true,
		"http://push.example.org/_matrix/push/v1/notify":              false,
		"https://push.example.org/admin/delete":                       false,
		"https://push.example.org/_matrix/push/v1/notify/../x":        false,
		"https://user:secret@push.example.org/_matrix/push/v1/notify": false,
		"ftp://push.example.org/_matrix/push/v1/notify":               false,
		"https:///_matrix/push/v1/notify":                             false,
		"":                                                            false,
	} {
		err := strict.SetPusher(d.ctx(), bob, "", httpPusher(url, ""), false)
		if _, refused := mxerr.As(err); refused == allowed || !refused && err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for name, change := range map[string]func(*push.Pusher){
		"kind":    func(p *push.Pusher) { p.Kind = "email" },
		"pushkey": func(p *push.Pusher) { p.PushKey = string(make([]byte, 600)) },
		"app_id":  func(p *push.Pusher) { p.AppID = string(make([]byte, 65)) },
		"data":    func(p *push.Pusher) { p.Data = json.RawMessage(`[]`) },
	} {
		p := httpPusher("https://push.example.org/_matrix/push/v1/notify", "")
		change(&p)
		if _, refused := mxerr.As(strict.SetPusher(d.ctx(), bob, "", p, false)); !refused {
			t.Errorf("%s was taken", name)
		}
	}
}

// TestA30PusherIntoTheOwnNetwork: a name that leads to this machine is not called, whatever it looks like.
func TestA30PusherIntoTheOwnNetwork(t *testing.T) {
	d, p := newDomain(t), newPhone(t)
	in := d.create(alice, bob)
	d.must(d.SetPusher(d.ctx(), bob, "", httpPusher(p.url(), ""), false)) // set while it was allowed
	d.Keeper = push.New(push.Config{Server: server, Store: d.store, Rooms: d.rooms, Notify: d.notify, Clock: d.clock,
		AllowPrivate: false})
	d.say(in, alice, "hello")
	d.run()
	for range 1000 {
		if all, err := d.Pushers(d.ctx(), bob); err != nil || len(all) == 0 {
			break // an http pusher is void by today's rules
		}
		time.Sleep(time.Millisecond)
	}
	select {
	case call := <-p.calls:
		t.Errorf("called %v", call)
	default:
	}
}

func TestPusherChangesHands(t *testing.T) {
	d := newDomain(t)
	p := httpPusher("http://127.0.0.1/_matrix/push/v1/notify", "")
	d.must(d.SetPusher(d.ctx(), alice, "", p, false))
	d.must(d.SetPusher(d.ctx(), bob, "", p, true))
	d.number(alice, 1)
	d.must(d.SetPusher(d.ctx(), bob, "", p, false))
	d.number(alice, 0)
	d.number(bob, 1)
	d.must(d.DeletePusher(d.ctx(), bob, p.AppID, p.PushKey))
	d.must(d.DeletePusher(d.ctx(), bob, p.AppID, p.PushKey))
	d.number(bob, 0)
}

func (d *domain) number(user id.UserID, want int) {
	d.t.Helper()
	all, err := d.Pushers(d.ctx(), user)
	d.must(err)
	if len(all) != want {
		d.t.Errorf("%s has %d pushers, want %d", user, len(all), want)
	}
}
