package auth_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"konsil/homeserver/room/auth"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
	"konsil/matrix/sign"
)

// columns are the versions that a column of rules.txt stands for.
var columns = [][]string{{"1", "2", "3", "4", "5"}, {"6"}, {"7"}, {"8", "9"}, {"10", "11"}, {"12"}}

func TestRules(t *testing.T) {
	playRules(t, func(name string) bool { return !strings.HasPrefix(name, "A14") })
}
func TestA14PowerLevelTraps(t *testing.T) {
	playRules(t, func(name string) bool { return strings.HasPrefix(name, "A14") })
}

func playRules(t *testing.T, which func(name string) bool) {
	text, err := os.ReadFile("testdata/rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		name := strings.TrimSpace(cells[0])
		if name == "" || strings.HasPrefix(name, "#") || !which(name) {
			continue
		}
		n++
		if len(cells) != 9 {
			t.Fatalf("%s: %d cells", name, len(cells))
		}
		for i, versions := range columns {
			want := strings.TrimSpace(cells[3+i])
			if want == "-" {
				continue
			}
			for _, version := range versions {
				if version != "1" && version != "2" && strings.HasPrefix(want, "11.") {
					want = "ok" // the redaction rule ended with version 2, in the middle of the column
				}
				t.Run(name+"/v"+version, func(t *testing.T) {
					r := newRoom(t, version, strings.Fields(cells[1]))
					err := auth.Authorize(r.parse(strings.Fields(cells[2])), r)
					if got := ruleOf(err); got != want {
						t.Errorf("got %s (%v), want %s", got, err, want)
					}
				})
			}
		}
	}
	if n == 0 {
		t.Fatal("no rows")
	}
}

func ruleOf(err error) string {
	var r *auth.Refusal
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &r):
		return r.Rule
	}
	return "no refusal"
}

// room is the state that a row is checked against.
type room struct {
	t       *testing.T
	version *roomver.Version
	events  map[id.Slot]*event.PDU
	*auth.EventState
	first  bool
	signed []string
	levels string
	count  int
}

func user(name string) string {
	if strings.Contains(name, ":") {
		return "@" + name
	}
	return "@" + name + ":t"
}

func newRoom(t *testing.T, version string, words []string) *room {
	v, ok := roomver.Get(version)
	if !ok {
		t.Fatal("no version", version)
	}
	r := &room{t: t, version: v, events: make(map[id.Slot]*event.PDU)}
	create := map[string]any{"creator": user("alice"), "room_version": version}
	rule, has := "public", map[string]string{}
	r.levels = `{"events":{"m.room.name":20},"kick":50,"notifications":{"room":60},"users":{"@alice:t":100,"@bob:t":50,"@mona:t":50}}`
	if v.PrivilegedCreators {
		create = map[string]any{"additional_creators": []string{user("zoe"), user("yann")}, "room_version": version}
		r.levels = strings.Replace(r.levels, `"@alice:t":100,`, "", 1)
	}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		has[key] = value
	}
	if value, given := has["rule"]; given {
		rule = value
	}
	if value, given := has["power"]; given {
		r.levels = value
		if !v.PrivilegedCreators && !strings.Contains(value, "@alice:t") {
			r.levels = merge(t, value, `{"users":{"@alice:t":100}}`)
		}
		if !strings.Contains(value, "@bob:t") {
			r.levels = merge(t, r.levels, `{"users":{"@bob:t":50}}`)
		}
	}
	if _, given := has["nofed"]; given {
		create["m.federate"] = false
	}
	_, r.first = has["first"]
	if value, given := has["signed"]; given {
		r.signed = append(r.signed, value)
	}
	content, _ := json.Marshal(create)
	r.put("alice", event.TypeCreate, "", string(content))
	members := map[string]string{
		"alice": "join", "bob": "join", "mona": "join", "carol": "join", "frank:u": "join", "zoe": "join",
		"ivan": "invite", "nick": "knock", "erin": "ban", "lena": "leave",
	}
	if value, given := has["left"]; given {
		members[value] = "leave"
	}
	for name, word := range members {
		r.put(name, event.TypeMember, user(name), fmt.Sprintf(`{"membership":%q}`, word))
	}
	if _, given := has["norule"]; !given {
		r.put("alice", event.TypeJoinRules, "", fmt.Sprintf(`{"join_rule":%q}`, rule))
	}
	if _, given := has["nopower"]; !given {
		r.put("alice", event.TypePowerLevels, "", r.levels)
	}
	if _, given := has["3pid"]; given {
		r.put("bob", event.TypeThirdPartyInvite, "tok", fmt.Sprintf(`{"public_key":%q,"public_keys":[{"public_key":7},{"public_key":%q}]}`, public(1), public(2)))
	}
	if _, given := has["nocreate"]; given {
		delete(r.events, id.Slot{Type: event.TypeCreate})
	}
	r.EventState = auth.NewEventState(nil, func(slot id.Slot) *event.PDU { return r.events[slot] })
	return r
}

// merge adds the entries of one object, one level deep, to another.
func merge(t *testing.T, a, b string) string {
	var x, y map[string]any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		t.Fatal("no JSON:", a, b)
	}
	for key, value := range y {
		old, ok := x[key].(map[string]any)
		if more, both := value.(map[string]any); ok && both {
			maps.Copy(old, more)
		} else {
			x[key] = value
		}
	}
	out, _ := json.Marshal(x)
	return string(out)
}

func (r *room) put(sender, kind, key, content string) {
	ev := r.event(sender, kind, &key, content)
	r.events[id.Slot{Type: kind, StateKey: key}] = ev
}

func (r *room) event(sender, kind string, key *string, content string) *event.PDU {
	r.count++
	ev := makeEvent(r.t, r.version, fmt.Sprintf("$%d", r.count), sender, kind, key, content)
	ev.PrevEvents = []id.EventID{"$x", "$y"}
	if kind == event.TypeCreate && r.count == 1 {
		ev.PrevEvents = nil
	}
	if create := r.events[id.Slot{Type: event.TypeCreate}]; r.first && create != nil {
		ev.PrevEvents = []id.EventID{create.ID}
	}
	return ev
}

// makeEvent writes an event as the store would give it.
func makeEvent(t testing.TB, v *roomver.Version, name, sender, kind string, key *string, content string) *event.PDU {
	t.Helper()
	server := id.UserID(user(sender)).Server()
	fields := map[string]any{
		"type": kind, "sender": user(sender), "content": json.RawMessage(content), "origin_server_ts": 1, "depth": 1,
		"prev_events": []string{}, "auth_events": []string{}, "signatures": map[string]any{string(server): map[string]string{"ed25519:1": "c2ln"}},
	}
	evID := id.EventID(name)
	if !v.HashedEventIDs() {
		evID += ":" + id.EventID(server)
		fields["event_id"] = evID
	}
	if !v.HashedRoomID {
		fields["room_id"] = "!room:t"
	} else if kind != event.TypeCreate {
		fields["room_id"] = "!1"
	}
	if key != nil {
		fields["state_key"] = *key
	}
	if kind == event.TypeRedaction && !v.RedactsInContent {
		fields["redacts"] = "$theirs:t"
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	ev, err := event.Stored(raw, v, evID)
	if err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return ev
}

// parse reads the event of a row.
func (r *room) parse(words []string) *event.PDU {
	content := "{}"
	if last := words[len(words)-1]; strings.HasPrefix(last, "{") {
		content, words = last, words[:len(words)-1]
	}
	key := ""
	var ev *event.PDU
	switch words[0] {
	case "member":
		key = user(words[2])
		ev = r.event(words[1], event.TypeMember, &key, merge(r.t, content, fmt.Sprintf(`{"membership":%q}`, words[3])))
	case "state":
		if words[3] != "-" {
			key = words[3]
		}
		ev = r.event(words[1], words[2], &key, content)
	case "message":
		ev = r.event(words[1], words[2], nil, content)
	case "redact":
		ev = r.event(words[1], event.TypeRedaction, nil, `{}`)
	case "3pid":
		key = user(words[2])
		ev = r.event(words[1], event.TypeMember, &key, fmt.Sprintf(`{"membership":"invite","third_party_invite":{"signed":%s}}`, signedInvite(r.t, words[2], words[3:])))
	case "power":
		ev = r.event(words[1], event.TypePowerLevels, &key, r.changed(content, words[2:]))
	default:
		r.t.Fatal("no event", words)
	}
	for _, server := range r.signed {
		ev.JSON = []byte(strings.Replace(string(ev.JSON), `"signatures":{`, `"signatures":{"`+server+`":{"ed25519:1":"c2ln"},`, 1))
	}
	return ev
}

// changed are the room's power levels after "set MAP KEY VALUE" or "del MAP KEY", "-" being no map.
func (r *room) changed(content string, words []string) string {
	if len(words) == 0 {
		if content != "{}" && !r.version.PrivilegedCreators && r.PowerLevels() == nil {
			return merge(r.t, content, `{"users":{"@alice:t":100}}`)
		}
		return content
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(r.levels), &fields); err != nil {
		r.t.Fatal(err)
	}
	if words[0] == "same" {
		return r.levels
	}
	inner := fields
	if words[1] != "-" {
		inner = make(map[string]json.RawMessage)
		if old := fields[words[1]]; old != nil {
			if err := json.Unmarshal(old, &inner); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	if words[0] == "set" {
		inner[words[2]] = json.RawMessage(strings.Join(words[3:], " "))
	} else {
		delete(inner, words[2])
	}
	if words[1] != "-" {
		fields[words[1]], _ = json.Marshal(inner)
	}
	out, err := json.Marshal(fields)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(out)
}

func inviteKey(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func public(n byte) string {
	return base64.RawStdEncoding.EncodeToString(inviteKey(n).Public().(ed25519.PublicKey))
}

// signedInvite is what an identity server signs when the invited person is found.
func signedInvite(t *testing.T, target string, words []string) string {
	mxid, token, key := user(target), "tok", byte(1)
	for _, w := range words {
		switch what, value, _ := strings.Cut(w, "="); what {
		case "mxid":
			mxid = user(value)
		case "token":
			token = value
		case "key":
			key = value[0] - '0'
		}
	}
	obj := []byte(fmt.Sprintf(`{"mxid":%q,"token":%q}`, mxid, token))
	signed, err := sign.JSON(obj, "id.example", sign.Key{ID: "ed25519:0", Private: inviteKey(key)})
	if err != nil {
		t.Fatal(err)
	}
	if err := canonical.Check(signed, canonical.Strict); err != nil {
		t.Fatal(err)
	}
	return string(signed)
}
