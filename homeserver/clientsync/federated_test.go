package clientsync_test

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"testing"

	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
	"konsil/matrix/sign"
)

const (
	there = id.ServerName("there.test")
	eve   = id.UserID("@eve:there.test")
)

// remote is another server, reduced to its room engine. What it sends is handed over by the test.
type remote struct {
	*room.Engine
	t     testing.TB
	store *store.DB
	key   sign.Key
}

func newRemote(t testing.TB) *remote {
	t.Helper()
	key, err := sign.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(context.Background(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "there.db"), Domain: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &remote{t: t, store: db, key: key, Engine: room.New(room.Config{Store: db, Notify: notify.New(), Server: there, Key: key})}
}

func (r *remote) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// pdu is an event as it travels.
func pdu(t testing.TB, ev *room.Event) *event.PDU {
	t.Helper()
	p, err := event.Parse(ev.JSON, ev.Version)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func pdus(t testing.TB, evs []*room.Event) []*event.PDU {
	t.Helper()
	var all []*event.PDU
	for _, ev := range evs {
		all = append(all, pdu(t, ev))
	}
	return all
}

// join brings eve into a room of the domain.
func (r *remote) join(d *domain, in id.RoomID) {
	r.t.Helper()
	ctx := context.Background()
	made, err := d.rooms.MakeJoin(ctx, there, in, eve, roomver.Names())
	r.must(err)
	v, _ := roomver.Get(made.Version)
	template, err := event.ParseTemplate(made.Event, v)
	r.must(err)
	join, err := event.Build(v, template, there, r.key)
	r.must(err)
	answer, err := d.rooms.SendJoin(ctx, there, in, join)
	r.must(err)
	r.must(r.Import(ctx, room.JoinAnswer{Origin: server, Room: in, Join: pdu(r.t, answer.Event),
		State: pdus(r.t, answer.State), AuthChain: pdus(r.t, answer.AuthChain)}))
}

// make makes an event of eve's that nobody else knows yet.
func (r *remote) make(in id.RoomID, typ string, key *string, content string) *event.PDU {
	r.t.Helper()
	made, err := r.Send(context.Background(), room.Draft{Room: in, Sender: eve, Type: typ, StateKey: key, Content: []byte(content)})
	r.must(err)
	ev, err := r.Event(context.Background(), made)
	r.must(err)
	return pdu(r.t, ev)
}

func (r *remote) say(in id.RoomID, text string) *event.PDU {
	r.t.Helper()
	return r.make(in, "m.room.message", nil, `{"body":"`+text+`","msgtype":"m.text"}`)
}

// give hands an event to the domain. What comes before it and is missing there stays so: the domain is told the state.
func (r *remote) give(d *domain, p *event.PDU) {
	r.t.Helper()
	ctx := context.Background()
	receipt, err := d.rooms.Receive(ctx, there, p)
	r.must(err)
	if receipt.Outcome == room.Deferred {
		ev, err := r.Event(ctx, p.ID)
		r.must(err)
		state, err := r.StateBefore(ctx, ev)
		r.must(err)
		var ids []id.EventID
		for _, s := range state {
			ids = append(ids, s.ID)
		}
		_, err = d.rooms.Outliers(ctx, p.RoomID, pdus(r.t, state))
		r.must(err)
		receipt, err = d.rooms.ReceiveWithState(ctx, there, p, ids)
		r.must(err)
	}
	if receipt.Outcome != room.AcceptedNow {
		r.t.Fatalf("%s: outcome %v, %v", p.Type, receipt.Outcome, receipt.Reason)
	}
}

// TestGapIsTold: what another server sends after a gap does not follow what was there before, and the client has to know.
func TestGapIsTold(t *testing.T) {
	d, r := newDomain(t), newRemote(t)
	alice := d.user("alice")
	in := alice.create()
	r.join(d, in)
	alice.sync()
	alice.say(in, "before")
	for range 5 {
		r.say(in, "lost")
	}
	after := r.say(in, "after")
	since := alice.since
	expect(t, "an answer in between", alice.look("since", since).joined(in).timeline(), "before")
	r.give(d, after)
	answer := alice.look("since", since).joined(in)
	expect(t, "timeline", answer.timeline(), "after")
	expect(t, "limited", answer.at("timeline", "limited").v, true)
	d.restart()
	answer = alice.look("since", since).joined(in)
	expect(t, "timeline from the store", answer.timeline(), "after")
	expect(t, "limited from the store", answer.at("timeline", "limited").v, true)
}

// TestStateOfForks: state that came on another branch is told, although the timeline does not show it.
func TestStateOfForks(t *testing.T) {
	d, r := newDomain(t), newRemote(t)
	alice := d.user("alice")
	in := alice.createWith(object{"preset": "public_chat", "power_level_content_override": object{"users": object{string(alice.user): 100, string(eve): 100}}})
	r.join(d, in)
	alice.sync()
	key := ""
	name := r.make(in, "m.room.name", &key, `{"name":"Ward"}`) // alice's server has not seen it when she writes
	alice.say(in, "three")
	alice.say(in, "four")
	r.give(d, name)
	alice.send(in, "com.noise", object{"body": "merges"})
	filter := `{"room":{"timeline":{"limit":1,"not_types":["com.noise"]}}}`
	first := alice.look("filter", filter).joined(in)
	expect(t, "timeline", first.timeline(), "four")
	if state := words(first.list("state", "events")); !has(state, "name") {
		t.Errorf("state: %s", state)
	}
	next := alice.look("since", alice.since, "filter", filter, "use_state_after", "true").joined(in)
	expect(t, "state after", words(next.list("state_after", "events")), "name")
	all := alice.look("since", alice.since).joined(in)
	expect(t, "all of it", all.timeline(), "three four name merges")
	expect(t, "limited", all.at("timeline", "limited").v, false)
}

// TestHistoryBesideForks: where a branch came late, paging back from a timeline that was cut gives what was in no timeline, all of
// it and only that, page by page.
func TestHistoryBesideForks(t *testing.T) {
	d, r := newDomain(t), newRemote(t)
	alice := d.user("alice")
	in := alice.create()
	r.join(d, in)
	alice.sync()
	late := r.say(in, "late") // alice's server has not seen it when she writes
	for _, text := range []string{"one", "two", "three"} {
		alice.say(in, text)
	}
	r.give(d, late)
	alice.say(in, "four")
	alice.say(in, "five")
	answer := alice.look("since", alice.since, "filter", `{"room":{"timeline":{"limit":3}}}`).joined(in)
	expect(t, "timeline", answer.timeline(), "late four five")
	var older []value
	from := answer.text("timeline", "prev_batch")
	for len(older) < 4 && from != "" {
		page := alice.must("GET", "/rooms/"+string(in)+"/messages?dir=b&limit=2&from="+from, nil)
		older = append(older, page.list("chunk")...)
		from = page.text("end")
	}
	if len(older) > 4 {
		older = older[:4]
	}
	expect(t, "what lies before", words(older), "three two one eve:there.test:join")
}

// TestEnteredRemoteRoom: the timeline of a room that was entered through another server begins with the join.
func TestEnteredRemoteRoom(t *testing.T) {
	d, r := newDomain(t), newRemote(t)
	alice := d.user("alice")
	alice.sync()
	made, err := r.Create(context.Background(), room.CreateRequest{Creator: eve, Preset: "public_chat", Name: "Ward"})
	r.must(err)
	in := made.Room
	r.say(in, "before")
	d.joinRemotely(r, in, alice.user)
	for name, v := range map[string]value{"incremental": alice.look("since", alice.since), "initial": alice.look()} {
		j := v.joined(in)
		expect(t, name+" timeline", j.timeline(), "alice:join")
		expect(t, name+" limited", j.at("timeline", "limited").v, true)
		if state := words(j.list("state", "events")); !has(state, "create") || !has(state, "name") {
			t.Errorf("%s state: %s", name, state)
		}
		expect(t, name+" members", j.number("summary", "m.joined_member_count"), 2)
	}
}

// joinRemotely brings a user of the domain into a room of another server.
func (d *domain) joinRemotely(r *remote, in id.RoomID, user id.UserID) {
	d.t.Helper()
	ctx := context.Background()
	made, err := r.MakeJoin(ctx, server, in, user, roomver.Names())
	r.must(err)
	v, _ := roomver.Get(made.Version)
	template, err := event.ParseTemplate(made.Event, v)
	r.must(err)
	join, err := event.Build(v, template, server, d.key)
	r.must(err)
	answer, err := r.SendJoin(ctx, server, in, join)
	r.must(err)
	r.must(d.rooms.Import(ctx, room.JoinAnswer{Origin: there, Room: in, Join: pdu(d.t, answer.Event),
		State: pdus(d.t, answer.State), AuthChain: pdus(d.t, answer.AuthChain)}))
}
