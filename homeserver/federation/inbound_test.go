package federation_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"konsil/client/ssclient"
	"konsil/homeserver/room"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/sign"
)

// party is our server with a room and a guest of another server in it.
func party(t testing.TB) (*world, *domain, *guest, id.RoomID) {
	t.Helper()
	w := newWorld(t)
	us := w.server("us")
	roomID := us.create(us.user("alice"))
	return w, us, w.stranger("other").joins(us, roomID), roomID
}

// resigned parses changed bytes of an event back into one with good hash and signature, where that is possible at all.
func (g *guest) resigned(change func(fields map[string]any)) []byte {
	g.t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(g.build(g.draft("x")).JSON, &fields); err != nil {
		g.t.Fatal(err)
	}
	delete(fields, "signatures")
	change(fields)
	raw, err := json.Marshal(fields)
	if err != nil {
		g.t.Fatal(err)
	}
	signed, err := sign.JSON(raw, string(g.name), g.key)
	if err != nil {
		return raw
	}
	return signed
}

// A01 and A02: one PDU that is too large or malformed costs the other 49 nothing, and the answer says which it was.
func TestA01A02OneBadPDUSpoilsNothing(t *testing.T) {
	long := strings.Repeat("x", 256)
	for name, bad := range map[string]func(g *guest) []byte{
		"A01 larger than 65536 bytes": func(g *guest) []byte {
			return g.resigned(func(f map[string]any) { f["content"] = map[string]any{"body": strings.Repeat("x", 66_000)} })
		},
		"A01 type longer than 255 bytes":      func(g *guest) []byte { return g.resigned(func(f map[string]any) { f["type"] = long }) },
		"A01 state key longer than 255 bytes": func(g *guest) []byte { return g.resigned(func(f map[string]any) { f["state_key"] = long }) },
		"A01 sender longer than 255 bytes": func(g *guest) []byte {
			return g.resigned(func(f map[string]any) { f["sender"] = "@" + long + ":x.test" })
		},
		"A01 room longer than 255 bytes": func(g *guest) []byte {
			return g.resigned(func(f map[string]any) { f["room_id"] = "!" + long + ":x.test" })
		},
		"A02 a number":          func(*guest) []byte { return []byte(`5`) },
		"A02 null":              func(*guest) []byte { return []byte(`null`) },
		"A02 a list":            func(*guest) []byte { return []byte(`[{}]`) },
		"A02 empty":             func(*guest) []byte { return []byte(`{}`) },
		"A02 no type":           func(g *guest) []byte { return g.resigned(func(f map[string]any) { delete(f, "type") }) },
		"A02 content no object": func(g *guest) []byte { return g.resigned(func(f map[string]any) { f["content"] = "x" }) },
		"A02 float": func(g *guest) []byte {
			return g.resigned(func(f map[string]any) { f["content"] = map[string]any{"n": 1.5} })
		},
		"A02 prev_events no list":    func(g *guest) []byte { return g.resigned(func(f map[string]any) { f["prev_events"] = 1 }) },
		"A02 not signed":             func(g *guest) []byte { return g.unsigned() },
		"A02 of a room nobody knows": func(g *guest) []byte { return g.resigned(func(f map[string]any) { f["room_id"] = "!nowhere:x.test" }) },
	} {
		t.Run(name, func(t *testing.T) {
			_, us, g, _ := party(t)
			var pdus [][]byte
			var good []id.EventID
			for i := range 50 {
				if i == 20 {
					pdus = append(pdus, bad(g))
					continue
				}
				ev := g.message(fmt.Sprint(i))
				pdus, good = append(pdus, ev.JSON), append(good, ev.ID)
			}
			result := g.sends(us, "1", pdus...)
			for _, ev := range good {
				if !us.has(ev) {
					t.Fatal("a good event was not stored")
				}
				if r, told := result.PDUs[ev]; !told || r.Error != "" {
					t.Errorf("a good event's result: %v %q", told, r.Error)
				}
			}
			failed := 0
			for ev, r := range result.PDUs {
				if r.Error != "" {
					failed++
					if us.has(ev) {
						t.Error("the bad event was stored")
					}
				}
			}
			if failed > 1 {
				t.Errorf("%d errors", failed)
			}
		})
	}
}

func (g *guest) unsigned() []byte {
	var fields map[string]any
	if err := json.Unmarshal(g.build(g.draft("unsigned")).JSON, &fields); err != nil {
		g.t.Fatal(err)
	}
	fields["signatures"] = map[string]any{}
	raw, _ := json.Marshal(fields)
	return raw
}

// A03: a transaction over the limits is void as a whole.
func TestA03TransactionsOverTheLimit(t *testing.T) {
	_, us, g, _ := party(t)
	var pdus [][]byte
	var first id.EventID
	for i := range 51 {
		ev := g.message(fmt.Sprint(i))
		if i == 0 {
			first = ev.ID
		}
		pdus = append(pdus, ev.JSON)
	}
	var edus []string
	for range 101 {
		edus = append(edus, `{"edu_type":"m.typing","content":{}}`)
	}
	for name, body := range map[string][]byte{"51 PDUs": transaction(g.name, pdus), "101 EDUs": transaction(g.name, pdus[:1], edus...),
		"PDUs no list": []byte(`{"pdus":{}}`), "not an object": []byte(`[]`)} {
		_, err := g.client.SendTransaction(ctx, us.name, "over "+name, body)
		if e := answered(err); e == nil || e.Status != http.StatusBadRequest {
			t.Errorf("%s: %v, want 400", name, err)
		}
	}
	if us.has(first) {
		t.Error("an event of a void transaction was stored")
	}
	if _, err := g.client.SendTransaction(ctx, us.name, "exactly 50 and 100", transaction(g.name, pdus[:50], edus[:100]...)); err != nil {
		t.Errorf("50 PDUs and 100 EDUs: %v", err)
	}
	if !us.has(first) {
		t.Error("an event of a full transaction was not stored")
	}
}

// A04: the same transaction again, also at the same time, also after a restart, has the same answer and no second effect.
func TestA04RepeatedTransactions(t *testing.T) {
	_, us, g, _ := party(t)
	typing := fmt.Sprintf(`{"edu_type":"m.direct_to_device","content":{"sender":%q,"type":"t","message_id":"m1","messages":{%q:{"D":{"a":1}}}}}`, g.me, us.user("alice"))
	body := transaction(g.name, [][]byte{g.message("once").JSON, []byte(`{"bad":1}`), g.unsigned()}, typing)
	before := us.store.Position()
	answers := make([]string, 8)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			_, answers[i] = g.signedRaw(us.name, "PUT", "/_matrix/federation/v1/send/same", body)
		})
	}
	all.Wait()
	after := us.store.Position()
	us.restart()
	_, again := g.signedRaw(us.name, "PUT", "/_matrix/federation/v1/send/same", body)
	for _, a := range append(answers, again) {
		if a != answers[0] || !strings.Contains(a, string(g.tip.ID)) {
			t.Fatalf("answers differ: %s and %s", a, answers[0])
		}
	}
	if us.store.Position() != after || after-before > 3 {
		t.Errorf("positions went from %d to %d to %d", before, after, us.store.Position())
	}
	// Another server's transaction of the same name is another.
	if _, err := us.w.stranger("third").client.SendTransaction(ctx, us.name, "same", []byte(`{"pdus":[]}`)); err != nil {
		t.Error(err)
	}
}

// A05: an event whose content was changed on its way is stored without content; the signature covers what is left.
func TestA05HashMismatchIsStoredRedacted(t *testing.T) {
	_, us, g, _ := party(t)
	ev := g.message("original")
	changed := []byte(strings.Replace(string(ev.JSON), "original", "changed!", 1))
	if r := g.sends(us, "1", changed).PDUs[ev.ID]; r.Error != "" {
		t.Fatalf("result %q", r.Error)
	}
	stored, err := us.rooms.Event(ctx, ev.ID)
	if err != nil {
		t.Fatal(err)
	}
	if string(stored.Content) != "{}" {
		t.Errorf("stored with content %s", stored.Content)
	}
}

// A11: auth events that cannot be are rejected, without a panic, and the room goes on.
func TestA11HostileAuthEvents(t *testing.T) {
	for name, change := range map[string]func(g *guest, tmpl *event.Template){
		"of another room":   func(g *guest, tmpl *event.Template) { tmpl.AuthEvents[0] = g.foreign() },
		"a non-state event": func(g *guest, tmpl *event.Template) { tmpl.AuthEvents = append(tmpl.AuthEvents, g.tip.ID) },
		"one twice":         func(g *guest, tmpl *event.Template) { tmpl.AuthEvents = append(tmpl.AuthEvents, tmpl.AuthEvents[1]) },
		"without create":    func(g *guest, tmpl *event.Template) { tmpl.AuthEvents = tmpl.AuthEvents[1:] },
		"none":              func(g *guest, tmpl *event.Template) { tmpl.AuthEvents = nil },
		"unknown ones": func(g *guest, tmpl *event.Template) {
			tmpl.AuthEvents = append(tmpl.AuthEvents, "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, us, g, roomID := party(t)
			us.other(g)
			g.sends(us, "0", g.message("before").JSON)
			tmpl := g.draft("hostile")
			change(g, &tmpl)
			bad := g.build(tmpl)
			good := g.message("after")
			g.sends(us, "1", bad.JSON, good.JSON)
			if us.has(bad.ID) {
				t.Error("the hostile event is in the timeline")
			}
			if !us.has(good.ID) {
				t.Error("the event after it is not")
			}
			us.say(roomID, us.user("alice"), "the room goes on")
		})
	}
	t.Run("ten thousand", func(t *testing.T) {
		_, us, g, _ := party(t)
		raw := g.resigned(func(f map[string]any) {
			var many []string
			for i := range 10_000 {
				many = append(many, fmt.Sprintf("$%043d", i))
			}
			f["auth_events"] = many[:1200] // what fits into an event
		})
		good := g.message("after")
		g.sends(us, "1", raw, good.JSON)
		if n := g.requests("event") + g.requests("event_auth"); n > 0 {
			t.Errorf("%d requests for the auth events of a malformed event", n)
		}
		if !us.has(good.ID) {
			t.Error("the event after it is not stored")
		}
	})
}

// other makes a second room, for foreign.
func (d *domain) other(g *guest) {
	d.t.Helper()
	roomID := d.create(d.user("alice"))
	create, err := d.rooms.StateEvent(ctx, roomID, event.TypeCreate, "")
	if err != nil {
		d.t.Fatal(err)
	}
	g.elsewhere = create.ID
}

func (g *guest) foreign() id.EventID { return g.elsewhere }

// A12: prev events that nobody has are asked for a bounded number of times, and the room goes on.
func TestA12UnknownPrevEventsAreBounded(t *testing.T) {
	_, us, g, roomID := party(t)
	g.handle("get_missing_events", func(w http.ResponseWriter, _ *http.Request) {
		// Each answer leads further into nowhere.
		tmpl := g.draft("between")
		tmpl.PrevEvents = []id.EventID{id.EventID(fmt.Sprintf("$%043d", time.Now().UnixNano()%1_000_000_000))}
		fmt.Fprintf(w, `{"events":[%s]}`, g.build(tmpl).JSON)
	})
	tmpl := g.draft("lost")
	tmpl.PrevEvents = nil
	for i := range 20 {
		tmpl.PrevEvents = append(tmpl.PrevEvents, id.EventID(fmt.Sprintf("$%043d", i)))
	}
	lost := g.build(tmpl)
	start := time.Now()
	if _, told := g.sends(us, "1", lost.JSON).PDUs[lost.ID]; !told {
		t.Error("the event has no place in the answer")
	}
	requests := g.requests("get_missing_events") + g.requests("state_ids") + g.requests("event") + g.requests("event_auth")
	if took := time.Since(start); requests > 10 || took > 20*time.Second {
		t.Errorf("%d requests in %v", requests, took)
	}
	if us.has(lost.ID) {
		t.Error("it is in the timeline")
	}
	for name, change := range map[string]func(f map[string]any){
		"none":      func(f map[string]any) { f["prev_events"] = []string{} },
		"21":        func(f map[string]any) { f["prev_events"] = many(21) },
		"thousands": func(f map[string]any) { f["prev_events"] = many(1200) },
	} {
		before := g.requests("get_missing_events")
		g.sends(us, "prev "+name, g.resigned(change))
		if g.requests("get_missing_events") != before {
			t.Errorf("%s prev events were asked for", name)
		}
	}
	good := g.message("still here")
	g.sends(us, "2", good.JSON)
	if !us.has(good.ID) {
		t.Error("the room did not go on")
	}
	us.say(roomID, us.user("alice"), "so do we")
}

func many(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("$%043d", i))
	}
	return all
}

// A gap is filled by get_missing_events; the state is not asked for.
func TestGapsAreFilledInOrder(t *testing.T) {
	_, us, g, roomID := party(t)
	joined := g.tip
	var between []json.RawMessage
	var ids []id.EventID
	for i := range 5 {
		ev := g.message(fmt.Sprint("missing ", i))
		between, ids = append(between, json.RawMessage(ev.JSON)), append(ids, ev.ID)
	}
	g.handle("get_missing_events", func(w http.ResponseWriter, r *http.Request) {
		var req ssclient.MissingEvents
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			t.Error(err)
		}
		if len(req.Earliest) != 1 || req.Earliest[0] != joined.ID || len(req.Latest) != 1 || req.Limit > 20 {
			t.Errorf("asked for %+v", req)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"events": between})
	})
	last := g.message("last")
	if r := g.sends(us, "1", last.JSON).PDUs[last.ID]; r.Error != "" {
		t.Fatalf("result %q", r.Error)
	}
	evs, _, err := us.rooms.Timeline(ctx, roomID, 0, us.store.Position(), 6)
	if err != nil {
		t.Fatal(err)
	}
	var got []id.EventID
	for _, ev := range evs {
		got = append(got, ev.ID)
	}
	if fmt.Sprint(got) != fmt.Sprint(append(ids, last.ID)) {
		t.Errorf("order %v, want %v", got, append(ids, last.ID))
	}
	if g.requests("state_ids")+g.requests("state") > 0 {
		t.Error("the state was asked for")
	}
}

// What is sent on several ways arrives in any order: an event waits for those that it builds on, also when its sender does not
// have them.
func TestEventsWaitForThoseTheyBuildOn(t *testing.T) {
	_, us, g, _ := party(t)
	first, second, third := g.message("first"), g.message("second"), g.message("third")
	for i, ev := range []*event.PDU{third, second} {
		if r := g.sends(us, fmt.Sprint(i), ev.JSON).PDUs[ev.ID]; r.Error != "" || us.has(ev.ID) {
			t.Errorf("an event without its past: %q, here %v", r.Error, us.has(ev.ID))
		}
	}
	g.sends(us, "first", first.JSON)
	us.gets(first.ID)
	us.gets(third.ID)
	us.gets(second.ID)
}

// Behind a larger gap the state is asked for, at the event the gap begins after.
func TestLargeGapsTakeTheState(t *testing.T) {
	_, us, g, roomID := party(t)
	events := map[string][]byte{}
	for i := range 5 {
		ev := g.message(fmt.Sprint("lost ", i))
		events[string(ev.ID)] = ev.JSON
	}
	edge := g.tip
	near := g.message("near")
	last := g.message("last")
	g.handle("get_missing_events", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"events": []json.RawMessage{near.JSON}})
	})
	g.handle("state_ids", func(w http.ResponseWriter, r *http.Request) {
		if at := r.URL.Query().Get("event_id"); at != string(edge.ID) {
			t.Errorf("state asked for at %s", at)
		}
		var ids []id.EventID
		for _, ev := range g.state {
			ids = append(ids, ev.ID)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"pdu_ids": ids, "auth_chain_ids": ids})
	})
	g.handle("event", func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		fmt.Fprintf(w, `{"pdus":[%s]}`, events[name])
	})
	if r := g.sends(us, "1", last.JSON).PDUs[last.ID]; r.Error != "" {
		t.Fatalf("result %q", r.Error)
	}
	for _, ev := range []*event.PDU{edge, near, last} {
		if !us.has(ev.ID) {
			t.Error("an event after the gap is missing")
		}
	}
	info, err := us.rooms.Room(ctx, roomID)
	if err != nil || len(info.Missing) == 0 {
		t.Errorf("the gap is not noted: %+v, %v", info, err)
	}
}

// A18: a template that is not what was asked for is not signed.
func TestA18AlteredTemplatesAreNotSigned(t *testing.T) {
	for name, alter := range map[string]func(f map[string]any, evil id.UserID){
		"type":       func(f map[string]any, _ id.UserID) { f["type"] = "m.room.power_levels" },
		"room":       func(f map[string]any, _ id.UserID) { f["room_id"] = "!another:x.test" },
		"sender":     func(f map[string]any, _ id.UserID) { f["sender"] = "@victim:x.test" },
		"our sender": func(f map[string]any, u id.UserID) { f["sender"] = u },
		"state key":  func(f map[string]any, u id.UserID) { f["state_key"] = u },
		"no state":   func(f map[string]any, _ id.UserID) { delete(f, "state_key") },
		"membership": func(f map[string]any, _ id.UserID) { f["content"] = map[string]any{"membership": "ban"} },
		"no content": func(f map[string]any, _ id.UserID) { f["content"] = map[string]any{} },
		"voucher": func(f map[string]any, _ id.UserID) {
			f["content"] = map[string]any{"membership": "join", "join_authorised_via_users_server": 5}
		},
		"many prev": func(f map[string]any, _ id.UserID) { f["prev_events"] = many(21) },
	} {
		for _, verb := range []string{"join", "leave", "knock"} {
			if name == "voucher" && verb != "join" {
				continue
			}
			t.Run(verb+" "+name, func(t *testing.T) {
				w := newWorld(t)
				us, evil := w.server("us"), w.stranger("evil")
				alice := us.user("alice")
				roomID := id.RoomID("!room:" + string(evil.name))
				membership := verb
				evil.handle("make_"+verb, func(rw http.ResponseWriter, _ *http.Request) {
					f := map[string]any{"type": "m.room.member", "room_id": roomID, "sender": alice, "state_key": alice,
						"content": map[string]any{"membership": membership}, "prev_events": many(1), "auth_events": many(3), "depth": 5, "origin_server_ts": 1}
					alter(f, us.user("mallory"))
					_ = json.NewEncoder(rw).Encode(map[string]any{"room_version": "11", "event": f})
				})
				var err error
				switch verb {
				case "join":
					err = us.fed.Join(ctx, joinOf(alice, roomID))
				case "knock":
					err = us.fed.Knock(ctx, joinOf(alice, roomID))
				case "leave":
					_ = us.fed.Leave(ctx, room.MembershipChange{Room: roomID, Sender: alice, Target: alice}, nil)
				}
				if verb != "leave" && err == nil {
					t.Error("no error")
				}
				if evil.requests("make_"+verb) == 0 {
					t.Fatal("nobody was asked")
				}
				if evil.requests("send_"+verb) != 0 {
					t.Error("an altered template was signed and sent")
				}
			})
		}
	}
}

// A18: whatever else a template's content holds does not get into the event.
func TestA18TemplateContentIsNotTakenOver(t *testing.T) {
	w := newWorld(t)
	us, evil := w.server("us"), w.stranger("evil")
	alice := us.user("alice")
	roomID := id.RoomID("!room:" + string(evil.name))
	evil.handle("make_join", func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(rw, `{"room_version":"11","event":{"type":"m.room.member","room_id":%q,"sender":%q,"state_key":%q,"content":{"membership":"join","displayname":"Fool","third_party_invite":{}},"prev_events":[],"auth_events":[],"depth":5,"origin_server_ts":99,"redacts":"$x"}}`, roomID, alice, alice)
	})
	var sent []byte
	evil.handle("send_join", func(rw http.ResponseWriter, r *http.Request) {
		var body json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&body)
		sent = body
		rw.WriteHeader(http.StatusForbidden)
		fmt.Fprint(rw, `{"errcode":"M_FORBIDDEN","error":"No"}`)
	})
	if err := us.fed.Join(ctx, joinOf(alice, roomID)); err == nil {
		t.Fatal("no error")
	}
	content, _ := canonical.Get(sent, "content")
	if string(content) != `{"membership":"join"}` {
		t.Errorf("content %s", content)
	}
	if ts, _ := canonical.GetInt(sent, "origin_server_ts"); ts == 99 {
		t.Error("the template's time was taken over")
	}
}

// A20: what a server is told about an event it may not have is what it is told about one that does not exist.
func TestA20ForbiddenLooksLikeUnknown(t *testing.T) {
	w := newWorld(t)
	us := w.server("us")
	alice := us.user("alice")
	mine, other := us.create(alice), us.create(alice)
	inside, outside := w.stranger("inside"), w.stranger("outside")
	inside.joins(us, mine)
	secret := us.say(other, alice, "secret")
	own := us.say(mine, alice, "hello")
	const unknown = "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	paths := map[string]func(roomID id.RoomID, ev string) (method, uri, body string){
		"event_auth": func(r id.RoomID, ev string) (string, string, string) {
			return "GET", "/event_auth/" + string(r) + "/" + ev, ""
		},
		"state": func(r id.RoomID, ev string) (string, string, string) {
			return "GET", "/state/" + string(r) + "?event_id=" + ev, ""
		},
		"state_ids": func(r id.RoomID, ev string) (string, string, string) {
			return "GET", "/state_ids/" + string(r) + "?event_id=" + ev, ""
		},
		"event": func(_ id.RoomID, ev string) (string, string, string) { return "GET", "/event/" + ev, "" },
		"backfill": func(r id.RoomID, ev string) (string, string, string) {
			return "GET", "/backfill/" + string(r) + "?limit=5&v=" + ev, ""
		},
		"get_missing_events": func(r id.RoomID, ev string) (string, string, string) {
			return "POST", "/get_missing_events/" + string(r), `{"earliest_events":[],"latest_events":["` + ev + `"],"limit":5}`
		},
		"timestamp_to_event": func(r id.RoomID, _ string) (string, string, string) {
			return "GET", "/timestamp_to_event/" + string(r) + "?ts=1&dir=f", ""
		},
	}
	ask := func(s *stranger, kind string, r id.RoomID, ev string) string {
		method, uri, body := paths[kind](r, ev)
		var raw []byte
		if body != "" {
			raw = []byte(body)
		}
		status, answer := s.signedRaw(us.name, method, "/_matrix/federation/v1"+uri, raw)
		return fmt.Sprintf("%d %s", status, answer)
	}
	for kind := range paths {
		t.Run(kind, func(t *testing.T) {
			// In the room: an event of another room, against one that does not exist.
			if kind != "timestamp_to_event" {
				if got, want := ask(inside, kind, mine, string(secret)), ask(inside, kind, mine, unknown); got != want {
					t.Errorf("another room's event: %s\nan unknown event: %s", got, want)
				}
			}
			// Not in the room: an event that is there, against one that is not, against a room that is not.
			got := ask(outside, kind, other, string(secret))
			if want := ask(outside, kind, other, unknown); got != want {
				t.Errorf("from outside, an event: %s\nan unknown event: %s", got, want)
			}
			if want := ask(outside, kind, "!nowhere:x.test", unknown); got != want {
				t.Errorf("from outside, a room: %s\nan unknown room: %s", got, want)
			}
			if strings.Contains(got, "secret") || strings.HasPrefix(got, "200") {
				t.Errorf("from outside: %s", got)
			}
		})
	}
	// Excluded by the room's access control list: existing and unknown look the same, and nothing is told.
	content := fmt.Sprintf(`{"allow":["*"],"deny":[%q]}`, inside.name.Host())
	if _, err := us.rooms.Send(ctx, room.Draft{Room: mine, Sender: alice, Type: event.TypeServerACL, StateKey: new(string), Content: json.RawMessage(content)}); err != nil {
		t.Fatal(err)
	}
	for kind := range paths {
		got, want := ask(inside, kind, mine, string(own)), ask(inside, kind, mine, unknown)
		if got != want || strings.HasPrefix(got, "200") {
			t.Errorf("excluded, %s: %s\nan unknown event: %s", kind, got, want)
		}
	}
}

// SS v1.16 #server-access-control-lists-acls: events and EDUs of an excluded server are refused one by one.
func TestExcludedServersAreNotHeard(t *testing.T) {
	_, us, g, roomID := party(t)
	alice := us.user("alice")
	free := us.create(alice)
	content := fmt.Sprintf(`{"allow":["*"],"deny":[%q]}`, g.name.Host())
	second := g.stranger.joins(us, free)
	if _, err := us.rooms.Send(ctx, room.Draft{Room: roomID, Sender: alice, Type: event.TypeServerACL, StateKey: new(string), Content: json.RawMessage(content)}); err != nil {
		t.Fatal(err)
	}
	denied, allowed := g.message("denied"), second.message("allowed")
	result := g.sends(us, "1", denied.JSON, allowed.JSON)
	if us.has(denied.ID) || !us.has(allowed.ID) {
		t.Errorf("denied stored %v, allowed stored %v", us.has(denied.ID), us.has(allowed.ID))
	}
	if result.PDUs[denied.ID].Error == "" || result.PDUs[allowed.ID].Error != "" {
		t.Errorf("results %+v", result.PDUs)
	}
	if _, err := g.client.MakeJoin(ctx, us.name, roomID, g.user("late"), []string{"11"}); answered(err) == nil || answered(err).Status != 403 {
		t.Errorf("make_join: %v", err)
	}
	edu := fmt.Sprintf(`{"edu_type":"m.typing","content":{"room_id":%q,"user_id":%q,"typing":true}}`, roomID, g.me)
	if _, err := g.client.SendTransaction(ctx, us.name, "2", transaction(g.name, nil, edu)); err != nil {
		t.Fatal(err)
	}
	if us.eph.Typing(roomID, 0) != nil {
		t.Error("an excluded server's typing was shown")
	}
	edu = fmt.Sprintf(`{"edu_type":"m.typing","content":{"room_id":%q,"user_id":%q,"typing":true}}`, free, g.me)
	if _, err := g.client.SendTransaction(ctx, us.name, "3", transaction(g.name, nil, edu)); err != nil {
		t.Fatal(err)
	}
	if us.eph.Typing(free, 0) == nil {
		t.Error("typing in another room was not shown")
	}
}

func FuzzTransaction(f *testing.F) {
	w := newWorld(f)
	us := w.server("us")
	roomID := us.create(us.user("alice"))
	g := w.stranger("other").joins(us, roomID)
	f.Add([]byte(transaction(g.name, [][]byte{g.message("hi").JSON}, `{"edu_type":"m.typing","content":{}}`)))
	f.Add([]byte(`{"pdus":[null,{"room_id":5},[[]]],"edus":[{"edu_type":"m.receipt","content":{"a":1}}]}`))
	f.Add([]byte(`{"pdus":[],"pdus":[{}]}`))
	n := 0
	f.Fuzz(func(t *testing.T, body []byte) {
		n++
		answer, err := us.fed.Transaction(ctx, g.name, fmt.Sprint(n), body)
		if err == nil && !json.Valid(answer) {
			t.Errorf("answer %s", answer)
		}
	})
}
