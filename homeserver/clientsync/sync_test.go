package clientsync_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"konsil/kit/db/dbtest"
	"konsil/matrix/id"
)

func TestInitialSync(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, dbURL string) {
		d := openDomain(t, dbURL)
		alice, bob := d.user("alice"), d.user("bob")
		in := alice.create(bob)
		alice.state(in, "m.room.name", "", object{"name": "Ward"})
		alice.say(in, "one")
		alice.say(in, "two")
		answer := bob.sync("filter", `{"room":{"timeline":{"limit":2}}}`)
		r := answer.joined(in)
		expect(t, "timeline", r.timeline(), "one two")
		expect(t, "limited", r.at("timeline", "limited").v, true)
		if prev := r.text("timeline", "prev_batch"); prev == "" {
			t.Error("no prev_batch")
		}
		state := words(r.list("state", "events"))
		for _, word := range []string{"create", "name", "power_levels", "join_rules", "history_visibility", "alice:join", "bob:join"} {
			if !has(state, word) {
				t.Errorf("no %s in the state: %s", word, state)
			}
		}
		expect(t, "joined members", r.number("summary", "m.joined_member_count"), 2)
		expect(t, "heroes of a named room", r.at("summary", "m.heroes").exists(), false)
		expect(t, "unread", r.number("unread_notifications", "notification_count"), 2)
		expect(t, "ephemeral", r.at("ephemeral", "events").exists(), true)
		expect(t, "one-time keys", answer.number("device_one_time_keys_count", "signed_curve25519"), 0)
		expect(t, "fallback keys", answer.at("device_unused_fallback_key_types").exists(), true)
		rules := false
		for _, ev := range answer.list("account_data", "events") {
			rules = rules || ev.text("type") == "m.push_rules" && len(ev.list("content", "global", "override")) > 5
		}
		expect(t, "push rules", rules, true)
		first := r.list("timeline", "events")[0]
		expect(t, "room_id in an event", first.at("room_id").exists(), false)
		expect(t, "membership", first.text("unsigned", "membership"), "join")
	})
}

func TestIncrementalSync(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	in, quiet := alice.create(bob), alice.create(bob)
	alice.sync()
	bob.sync()
	alice.say(in, "news")
	answer := bob.sync()
	expect(t, "timeline", answer.joined(in).timeline(), "news")
	expect(t, "limited", answer.joined(in).at("timeline", "limited").v, false)
	expect(t, "state", len(answer.joined(in).list("state", "events")), 0)
	expect(t, "unchanged room", answer.joined(quiet).exists(), false)
	expect(t, "unread", answer.joined(in).number("unread_notifications", "notification_count"), 1)
	expect(t, "foreign transaction id", answer.joined(in).list("timeline", "events")[0].at("unsigned", "transaction_id").exists(), false)
	own := alice.sync().joined(in).list("timeline", "events")[0]
	if !strings.HasPrefix(own.text("unsigned", "transaction_id"), "txn") {
		t.Errorf("own transaction id: %v", own)
	}
	other := d.login(alice.user)
	other.since = answer.text("next_batch")
	alice.say(in, "again")
	event := other.sync().joined(in).list("timeline", "events")[0]
	expect(t, "transaction id on another device", event.at("unsigned", "transaction_id").exists(), false)
	alice.state(in, "m.room.topic", "", object{"topic": "x"})
	bob.sync()
	alice.state(in, "m.room.topic", "", object{"topic": "y"})
	topic := bob.sync().joined(in).list("timeline", "events")[0]
	expect(t, "prev_content", topic.text("unsigned", "prev_content", "topic"), "x")
	expect(t, "nothing new", bob.sync().at("rooms").exists(), false)
}

// TestSyncFromTheStore: after a restart nothing is in memory, and the answers are the same.
func TestSyncFromTheStore(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	in, other := alice.create(bob), alice.create(bob)
	bob.sync()
	alice.say(in, "one")
	alice.state(in, "m.room.topic", "", object{"topic": "x"})
	bob.must("POST", "/rooms/"+url.PathEscape(string(in))+"/receipt/m.read/"+url.PathEscape(string(alice.say(in, "two"))), object{})
	bob.must("PUT", "/user/"+url.PathEscape(string(bob.user))+"/rooms/"+url.PathEscape(string(other))+"/tags/u.work", object{})
	warm := bob.look("since", bob.since)
	d.restart()
	cold := bob.look("since", bob.since)
	for name, v := range map[string]value{"warm": warm, "cold": cold} {
		expect(t, name+" timeline", v.joined(in).timeline(), "one topic two")
		expect(t, name+" receipt", v.joined(in).list("ephemeral", "events")[0].text("type"), "m.receipt")
		expect(t, name+" tag", v.joined(other).list("account_data", "events")[0].text("type"), "m.tag")
		expect(t, name+" rooms", v.keys("rooms", "join"), 2)
		expect(t, name+" unread", v.joined(in).number("unread_notifications", "notification_count"), 0)
	}
}

func TestLimitedTimelineHasStateBetween(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	in := alice.create(bob)
	alice.state(in, "m.room.topic", "", object{"topic": "old"})
	bob.sync()
	alice.state(in, "m.room.topic", "", object{"topic": "between"})
	for range 5 {
		alice.say(in, "filler")
	}
	alice.state(in, "m.room.name", "", object{"name": "Ward"})
	alice.state(in, "m.room.topic", "", object{"topic": "new"})
	filter := `{"room":{"timeline":{"limit":2}}}`
	r := bob.look("since", bob.since, "filter", filter).joined(in)
	expect(t, "timeline", r.timeline(), "name topic")
	expect(t, "limited", r.at("timeline", "limited").v, true)
	state := r.list("state", "events")
	if len(state) != 1 || state[0].text("content", "topic") != "between" {
		t.Errorf("state before the timeline: %v", state)
	}
	r = bob.look("since", bob.since, "filter", filter, "use_state_after", "true").joined(in)
	expect(t, "state", r.at("state").exists(), false)
	expect(t, "state_after", sorted(words(r.list("state_after", "events"))), "name topic")
	r = bob.look("since", bob.since, "filter", filter, "org.matrix.msc4222.use_state_after", "true").joined(in)
	expect(t, "unstable state_after", sorted(words(r.list("org.matrix.msc4222.state_after", "events"))), "name topic")
	page := bob.must("GET", "/rooms/"+url.PathEscape(string(in))+"/messages?dir=b&limit=5&from="+r.text("timeline", "prev_batch"), nil)
	expect(t, "what comes before", words(page.list("chunk")), "filler filler filler filler filler")
}

func sorted(list string) string {
	words := strings.Fields(list)
	for i := range words {
		for j := i + 1; j < len(words); j++ {
			if words[j] < words[i] {
				words[i], words[j] = words[j], words[i]
			}
		}
	}
	return strings.Join(words, " ")
}

func TestNewlyJoinedRoomIsTold(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	in := alice.create()
	alice.say(in, "before")
	bob.sync()
	bob.join(in)
	alice.say(in, "after")
	r := bob.sync("filter", `{"room":{"timeline":{"limit":3}}}`).joined(in)
	expect(t, "timeline", r.timeline(), "before bob:join after")
	expect(t, "limited", r.at("timeline", "limited").v, true)
	if state := words(r.list("state", "events")); !has(state, "create") || !has(state, "alice:join") || has(state, "bob:join") {
		t.Errorf("state: %s", state)
	}
	for i, want := range []string{"leave", "join", "join"} {
		expect(t, "membership", r.list("timeline", "events")[i].text("unsigned", "membership"), want)
	}
	bob.member(in, "leave", nil)
	bob.sync()
	alice.say(in, "meanwhile")
	bob.join(in)
	r = bob.sync().joined(in)
	if !has(words(r.list("state", "events"))+" "+r.timeline(), "create") {
		t.Error("no full state after coming back")
	}
}

func TestLeftRooms(t *testing.T) {
	d := newDomain(t)
	alice, bob, carol := d.user("alice"), d.user("bob"), d.user("carol")
	in := alice.create(bob, carol)
	bob.sync()
	carol.sync()
	alice.say(in, "last words")
	bob.member(in, "leave", nil)
	alice.member(in, "kick", carol)
	alice.say(in, "among ourselves")
	alice.state(in, "m.room.topic", "", object{"topic": "secret"})
	left := bob.sync()
	expect(t, "timeline of who left", left.left(in).timeline(), "last words bob:leave")
	expect(t, "joined", left.joined(in).exists(), false)
	expect(t, "timeline of who was kicked", carol.sync().left(in).timeline(), "last words bob:leave carol:leave")
	expect(t, "later", bob.sync().left(in).exists(), false)
	expect(t, "initial sync", bob.look().left(in).exists(), false)
	leave := `{"room":{"include_leave":true}}`
	r := bob.look("filter", leave).left(in)
	if line := r.timeline(); !strings.HasSuffix(line, "last words bob:leave") {
		t.Errorf("include_leave: %s", line)
	}
	r = bob.look("filter", `{"room":{"include_leave":true,"timeline":{"limit":0}}}`).left(in)
	state := words(r.list("state", "events"))
	if !has(state, "bob:leave") || !has(state, "alice:join") || has(state, "topic") {
		t.Errorf("state when bob left: %s", state)
	}
	since := carol.since
	alice.member(in, "ban", carol)
	r = carol.sync().left(in)
	expect(t, "ban", r.timeline(), "carol:ban")
	bob.member(in, "forget", nil)
	expect(t, "forgotten", bob.look("filter", leave).left(in).exists(), false)
	expect(t, "forgotten, full state", bob.look("since", since, "full_state", "true", "filter", leave).left(in).exists(), false)
}

func TestLeaveIsToldEvenIfForgotten(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	in := alice.create(bob)
	bob.sync()
	bob.member(in, "leave", nil)
	bob.member(in, "forget", nil)
	expect(t, "left", bob.sync().left(in).exists(), true)
}

func TestJoinedLeftJoined(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	in := alice.create()
	bob.sync()
	bob.join(in)
	bob.member(in, "leave", nil)
	bob.join(in)
	answer := bob.sync()
	expect(t, "left", answer.left(in).exists(), false)
	expect(t, "joined", answer.joined(in).exists(), true)
	bob.member(in, "leave", nil)
	short := bob.look("since", bob.since)
	expect(t, "left after all", short.left(in).timeline(), "bob:leave")
}

func TestInvitesAndKnocks(t *testing.T) {
	d := newDomain(t)
	alice, bob, carol := d.user("alice"), d.user("bob"), d.user("carol")
	for _, c := range []*client{alice, bob, carol} {
		c.sync()
	}
	in := alice.createWith(object{"preset": "private_chat", "name": "Ward", "invite": []id.UserID{bob.user}})
	invite := bob.sync().at("rooms", "invite", string(in))
	state := words(invite.list("invite_state", "events"))
	for _, word := range []string{"create", "name", "join_rules", "bob:invite"} {
		if !has(state, word) {
			t.Errorf("no %s in the invite: %s", word, state)
		}
	}
	expect(t, "told again", bob.sync().at("rooms").exists(), false)
	expect(t, "initial", bob.look().at("rooms", "invite", string(in)).exists(), true)
	bob.member(in, "leave", nil)
	expect(t, "declined", bob.sync().left(in).timeline(), "bob:leave")
	expect(t, "state of a room never entered", len(bob.look("since", bob.since, "full_state", "true").left(in).list("state", "events")), 0)

	open := alice.createWith(object{"preset": "private_chat", "room_version": "11", "name": "Door",
		"initial_state": []object{{"type": "m.room.join_rules", "state_key": "", "content": object{"join_rule": "knock"}}}})
	carol.must("POST", "/knock/"+url.PathEscape(string(open)), object{})
	knock := carol.sync().at("rooms", "knock", string(open))
	if state := words(knock.list("knock_state", "events")); !has(state, "name") || !has(state, "carol:knock") {
		t.Errorf("knock: %s", state)
	}
}

func TestInvitesOfIgnoredUsers(t *testing.T) {
	d := newDomain(t)
	alice, bob, carol := d.user("alice"), d.user("bob"), d.user("carol")
	in := bob.create(alice, carol)
	alice.sync()
	alice.must("PUT", "/user/"+url.PathEscape(string(alice.user))+"/account_data/m.ignored_user_list",
		object{"ignored_users": object{string(bob.user): object{}}})
	private := object{"preset": "private_chat", "invite": []id.UserID{alice.user}}
	fromBob, fromCarol := bob.createWith(private), carol.createWith(private)
	bob.say(in, "ignored")
	carol.say(in, "heard")
	bob.state(in, "m.room.topic", "", object{"topic": "state is told all the same"})
	answer := alice.sync()
	expect(t, "invite of an ignored user", answer.at("rooms", "invite", string(fromBob)).exists(), false)
	expect(t, "invite of another", answer.at("rooms", "invite", string(fromCarol)).exists(), true)
	expect(t, "timeline", answer.joined(in).timeline(), "heard topic")
}

// MSC4155: an invite that is ignored is there, and not told; who changes their mind sees it.
func TestIgnoredInvites(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	filter := "/user/" + url.PathEscape(string(alice.user)) + "/account_data/org.matrix.msc4155.invite_permission_config"
	alice.must("PUT", filter, object{"ignored_users": []string{"@bob:*"}})
	in := bob.createWith(object{"preset": "private_chat", "invite": []id.UserID{alice.user}})
	expect(t, "an ignored invite", alice.sync().at("rooms", "invite", string(in)).exists(), false)
	alice.must("PUT", filter, object{"ignored_users": nil})
	alice.since = ""
	expect(t, "the same invite", alice.sync().at("rooms", "invite", string(in)).exists(), true)
}

// TestLongPoll: a waiting client is woken by whatever concerns it.
func TestLongPoll(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	in := alice.create(bob)
	room, self := "/rooms/"+url.PathEscape(string(in)), "/user/"+url.PathEscape(string(bob.user))
	first := alice.say(in, "first")
	for name, c := range map[string]struct {
		do    func()
		where func(v value) bool
	}{
		"message": {func() { alice.say(in, "x") }, func(v value) bool { return v.joined(in).timeline() == "x" }},
		"typing": {func() {
			alice.must("PUT", room+"/typing/"+url.PathEscape(string(alice.user)), object{"typing": true, "timeout": 30000})
		}, func(v value) bool { return v.joined(in).list("ephemeral", "events")[0].text("type") == "m.typing" }},
		"receipt":      {func() { alice.must("POST", room+"/receipt/m.read/"+url.PathEscape(string(first)), object{}) }, func(v value) bool { return v.joined(in).list("ephemeral", "events")[0].text("type") == "m.receipt" }},
		"account data": {func() { bob.must("PUT", self+"/account_data/a.b", object{"x": 1}) }, func(v value) bool { return v.list("account_data", "events")[0].text("type") == "a.b" }},
		"room data":    {func() { bob.must("PUT", self+room+"/account_data/a.c", object{"x": 1}) }, func(v value) bool { return v.joined(in).list("account_data", "events")[0].text("type") == "a.c" }},
		"push rule": {func() {
			bob.must("PUT", "/pushrules/global/room/"+url.PathEscape("!x:y"), object{"actions": []string{}})
		}, func(v value) bool { return v.list("account_data", "events")[0].text("type") == "m.push_rules" }},
		"invite":       {func() { alice.createWith(object{"preset": "private_chat", "invite": []id.UserID{bob.user}}) }, func(v value) bool { return v.keys("rooms", "invite") == 1 }},
		"own new room": {func() { bob.create() }, func(v value) bool { return v.keys("rooms", "join") == 1 }},
		"to-device":    {func() { alice.toDevice(bob, "hello") }, func(v value) bool { return v.list("to_device", "events")[0].text("type") == "m.test" }},
		"device list":  {func() { alice.newDevice() }, func(v value) bool { return len(v.list("device_lists", "changed")) == 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // what others of these tests left behind
				if bob.sync(); bob.look("since", bob.since).text("next_batch") == bob.since {
					break
				}
			}
			answers := bob.wait("set_presence", "offline")
			c.do()
			if v := receive(t, answers); !c.where(v) {
				t.Errorf("woken with %v", v)
			}
		})
	}
	t.Run("time is up", func(t *testing.T) {
		for range 20 {
			if bob.sync(); bob.look("since", bob.since).text("next_batch") == bob.since {
				break
			}
		}
		start := time.Now()
		v := bob.look("since", bob.since, "timeout", "50", "set_presence", "offline")
		if v.at("rooms").exists() || time.Since(start) < 50*time.Millisecond {
			t.Errorf("after %s: %v", time.Since(start), v)
		}
	})
}

func (c *client) toDevice(to *client, text string) {
	c.t.Helper()
	c.d.txn++
	c.must("PUT", "/sendToDevice/m.test/"+url.PathEscape(text), object{"messages": object{string(to.user): object{string(to.device): object{"text": text}}}})
}

// newDevice logs in once more and uploads identity keys, as a client does.
func (c *client) newDevice() {
	c.t.Helper()
	other := c.d.login(c.user)
	other.must("POST", "/keys/upload", object{"device_keys": object{
		"user_id": other.user, "device_id": other.device, "algorithms": []string{"m.olm.v1.curve25519-aes-sha2"},
		"keys": object{"curve25519:" + string(other.device): "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U"}, "signatures": object{},
	}})
}

// TestToDeviceMessagesAreDroppedOnceTheyArrived: not before the client has shown the token that came with them.
func TestToDeviceMessagesAreDroppedOnceTheyArrived(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	bob.sync()
	alice.toDevice(bob, "one")
	before := bob.since
	count := func(v value) int { return len(v.list("to_device", "events")) }
	expect(t, "first try", count(bob.look("since", before)), 1)
	expect(t, "the answer was lost", count(bob.sync()), 1)
	expect(t, "it arrived", count(bob.sync()), 0)
	expect(t, "and is gone", count(bob.look("since", before)), 0)
	for range 3 {
		alice.toDevice(bob, "more")
	}
	alice.toDevice(bob, "last")
	expect(t, "initial sync", count(bob.look()), 2) // a repeated transaction ID sends nothing
}

func TestToDeviceMessagesInPortions(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	in := alice.create(bob)
	bob.sync()
	const many = 1100
	for i := range many {
		alice.toDevice(bob, "m"+string(rune('a'+i%26))+strings.Repeat("x", i/26))
	}
	alice.say(in, "after all of them")
	got, said := 0, false
	for range 5 {
		v := bob.sync()
		got += len(v.list("to_device", "events"))
		said = said || v.joined(in).timeline() == "after all of them"
	}
	expect(t, "messages", got, many)
	expect(t, "the event is not lost", said, true)
}

func TestLazyLoading(t *testing.T) {
	d := newDomain(t)
	alice, bob, carol := d.user("alice"), d.user("bob"), d.user("carol")
	in := alice.create(bob, carol)
	alice.state(in, "m.room.name", "", object{"name": "Ward"})
	alice.say(in, "hello")
	lazy := `{"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true}}}`
	state := words(bob.sync("filter", lazy).joined(in).list("state", "events"))
	if !has(state, "alice:join") || !has(state, "bob:join") || has(state, "carol:join") {
		t.Errorf("first sync: %s", state)
	}
	carol.say(in, "hi")
	lost := bob.since
	expect(t, "new sender", words(bob.sync("filter", lazy).joined(in).list("state", "events")), "carol:join")
	carol.say(in, "hi again")
	alice.say(in, "yes")
	before := bob.since
	expect(t, "known senders", words(bob.sync("filter", lazy).joined(in).list("state", "events")), "")
	expect(t, "lost answer", words(bob.look("since", lost, "filter", lazy).joined(in).list("state", "events")), "alice:join")
	redundant := `{"room":{"timeline":{"limit":5},"state":{"lazy_load_members":true,"include_redundant_members":true}}}`
	expect(t, "redundant", sorted(words(bob.look("since", before, "filter", redundant).joined(in).list("state", "events"))), "alice:join carol:join")
	dave := d.user("dave")
	dave.join(in)
	r := bob.look("filter", lazy, "use_state_after", "true").joined(in)
	if after := words(r.list("state_after", "events")); !has(after, "dave:join") {
		t.Errorf("state after: %s", after)
	}
}

func TestHeroes(t *testing.T) {
	d := newDomain(t)
	alice, bob, carol := d.user("alice"), d.user("bob"), d.user("carol")
	in := alice.createWith(object{"preset": "private_chat", "invite": []id.UserID{bob.user, carol.user}})
	bob.join(in)
	r := alice.sync("filter", `{"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true}}}`).joined(in)
	expect(t, "heroes", r.at("summary", "m.heroes").v, []any{string(carol.user), string(bob.user)})
	expect(t, "joined", r.number("summary", "m.joined_member_count"), 2)
	expect(t, "invited", r.number("summary", "m.invited_member_count"), 1)
	if state := words(r.list("state", "events")); !has(state, "carol:invite") {
		t.Errorf("the heroes' events are not told: %s", state)
	}
	alice.say(in, "no change")
	expect(t, "summary without change", alice.sync().joined(in).at("summary").exists(), false)
	carol.join(in)
	expect(t, "summary after a join", alice.sync().joined(in).number("summary", "m.joined_member_count"), 3)
}

func TestFilters(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	in, other := alice.create(bob), alice.create(bob)
	for range 30 {
		alice.send(in, "com.noise", object{"body": "noise"})
	}
	alice.say(in, "one")
	alice.send(in, "com.noise", object{"body": "noise"})
	bob.say(in, "two")
	for range 30 {
		alice.send(in, "com.noise", object{"body": "noise"})
	}
	for name, c := range map[string]struct{ filter, want string }{
		"types":          {`{"room":{"timeline":{"types":["m.room.message"]}}}`, "one two"},
		"type pattern":   {`{"room":{"timeline":{"types":["m.*.mess*ge"]}}}`, "one two"},
		"not types":      {`{"room":{"timeline":{"limit":2,"not_types":["com.*"]}}}`, "one two"},
		"senders":        {`{"room":{"timeline":{"senders":["@bob:here.test"],"types":["m.room.message"]}}}`, "two"},
		"not senders":    {`{"room":{"timeline":{"not_senders":["@bob:here.test"],"types":["m.room.message"]}}}`, "one"},
		"limit":          {`{"room":{"timeline":{"limit":1,"types":["m.room.message"]}}}`, "two"},
		"no types":       {`{"room":{"timeline":{"types":[]}}}`, ""},
		"timeline rooms": {`{"room":{"timeline":{"rooms":["!none:here.test"]}}}`, ""},
		"contains url":   {`{"room":{"timeline":{"contains_url":true}}}`, ""},
	} {
		expect(t, name, bob.look("filter", c.filter).joined(in).timeline(), c.want)
	}
	rooms := bob.look("filter", `{"room":{"not_rooms":["`+string(other)+`"]}}`)
	expect(t, "not_rooms", rooms.joined(other).exists(), false)
	expect(t, "other rooms", rooms.joined(in).exists(), true)
	r := bob.look("filter", `{"room":{"state":{"types":["m.room.create"]}}}`).joined(in)
	expect(t, "state types", words(r.list("state", "events")), "create")
	quiet := bob.look("filter", `{"account_data":{"not_types":["m.push_rules"]},"presence":{"types":[]}}`)
	expect(t, "account data", quiet.at("account_data").exists(), false)
	expect(t, "presence", quiet.at("presence").exists(), false)
	stored := bob.must("POST", "/user/"+url.PathEscape(string(bob.user))+"/filter", object{"room": object{"timeline": object{"limit": 1}}})
	expect(t, "stored filter", len(bob.look("filter", stored.text("filter_id")).joined(in).list("timeline", "events")), 1)
	status, _ := bob.call("GET", "/sync?filter=unknown", nil)
	expect(t, "unknown filter", status, 404)
	federation := bob.look("filter", `{"event_format":"federation"}`).joined(in).list("timeline", "events")[0]
	expect(t, "federation format", federation.at("prev_events").exists(), true)
}

// TestB06LimitsAreCapped: a filter that asks for everything gets a page.
func TestB06LimitsAreCapped(t *testing.T) {
	d := newDomain(t)
	alice := d.user("alice")
	in := alice.create()
	for range 1010 {
		alice.say(in, "x")
	}
	for filter, want := range map[string]int{
		`{"room":{"timeline":{"limit":1000000000}}}`: 1000,
		`{"room":{"timeline":{"limit":-5}}}`:         0,
		`{}`:                                         10,
	} {
		r := alice.look("filter", filter).joined(in)
		expect(t, filter, len(r.list("timeline", "events")), want)
		expect(t, filter, r.at("timeline", "limited").v, true)
	}
	start := time.Now()
	evil := `{"room":{"timeline":{"types":["` + strings.Repeat("*a", 5000) + `"]}}}`
	status, _ := alice.call("GET", "/sync?filter="+url.QueryEscape(evil), nil)
	if status != 200 && status != 400 || time.Since(start) > 10*time.Second {
		t.Errorf("pattern of stars: %d after %s", status, time.Since(start))
	}
	huge := `{"room":{"rooms":["` + strings.Repeat("x", 1<<20) + `"]}}`
	status, _ = alice.call("POST", "/user/"+url.PathEscape(string(alice.user))+"/filter", value{huge}.v)
	if status < 400 || status >= 500 {
		t.Errorf("filter of a megabyte: %d", status)
	}
}

// TestB07Tokens: what we have not given is unknown, and a token carries nobody's rights.
func TestB07Tokens(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	in := alice.createWith(object{"preset": "private_chat"})
	alice.sync()
	for _, token := range []string{"s99999999999", "s-1", "-1", "1", "s", "s+1", "s01", "s1_2", "t1_1", "sx", "s1 ", "S1", "%00",
		"s9223372036854775808", strings.Repeat("s1", 5000)} {
		status, answer := bob.call("GET", "/sync?since="+url.QueryEscape(token), nil)
		if status != 400 || answer.text("errcode") != "M_UNKNOWN_POS" {
			t.Errorf("%.20q: %d %v", token, status, answer)
		}
	}
	alice.say(in, "secret")
	bob.since = alice.since
	if answer := bob.sync(); answer.at("rooms").exists() {
		t.Errorf("with another's token: %v", answer)
	}
	expect(t, "the beginning", bob.look("since", "s0").text("next_batch") != "", true)
}

func TestRedactedEventsAreToldRedacted(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	in := alice.create(bob)
	bob.sync()
	bad := alice.say(in, "slip of the tongue")
	bob.look("since", bob.since) // it is in memory now
	alice.must("PUT", "/rooms/"+url.PathEscape(string(in))+"/redact/"+url.PathEscape(string(bad))+"/t1", object{"reason": "oops"})
	events := bob.sync().joined(in).list("timeline", "events")
	expect(t, "events", len(events), 2)
	expect(t, "body", events[0].at("content", "body").exists(), false)
	expect(t, "because", events[0].text("unsigned", "redacted_because", "type"), "m.room.redaction")
}

func TestUnreadCountsComeWithTheEvent(t *testing.T) {
	d := newDomain(t)
	alice, bob := d.user("alice"), d.user("bob")
	in := alice.create(bob)
	bob.sync()
	root := alice.say(in, "hello bob")
	alice.send(in, "m.room.message", object{"msgtype": "m.text", "body": "x", "m.relates_to": object{"rel_type": "m.thread", "event_id": root}})
	plain := bob.look("since", bob.since).joined(in)
	expect(t, "all", plain.number("unread_notifications", "notification_count"), 2)
	expect(t, "highlights", plain.number("unread_notifications", "highlight_count"), 1)
	expect(t, "threads", plain.at("unread_thread_notifications").exists(), false)
	apart := bob.look("since", bob.since, "filter", `{"room":{"timeline":{"unread_thread_notifications":true}}}`).joined(in)
	expect(t, "main", apart.number("unread_notifications", "notification_count"), 1)
	expect(t, "thread", apart.number("unread_thread_notifications", string(root), "notification_count"), 1)
	bob.sync()
	bob.must("POST", "/rooms/"+url.PathEscape(string(in))+"/receipt/m.read.private/"+url.PathEscape(string(root)), object{})
	r := bob.sync().joined(in)
	expect(t, "after a private receipt", r.number("unread_notifications", "notification_count"), 1)
	expect(t, "the receipt", r.list("ephemeral", "events")[0].text("type"), "m.receipt")
	expect(t, "nobody else sees it", alice.look().joined(in).at("ephemeral", "events").v, []any{})
}
