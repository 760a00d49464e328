package csapi_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"konsil/homeserver/room"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// found is what a search answers.
type found struct {
	Count   int
	Results []struct {
		Rank   float64
		Result struct {
			ID      id.EventID `json:"event_id"`
			Room    id.RoomID  `json:"room_id"`
			Content struct{ Body string }
		}
		Context *struct {
			Start, End string
			Before     []struct{ Content struct{ Body string } }  `json:"events_before"`
			After      []struct{ Content struct{ Body string } }  `json:"events_after"`
			Profiles   map[id.UserID]struct{ DisplayName string } `json:"profile_info"`
		}
	}
	State  map[id.RoomID][]json.RawMessage
	Groups map[string]map[string]struct {
		Order   int
		Results []id.EventID
	}
	Next string `json:"next_batch"`
}

func (r *rig) search(token, from string, ask map[string]any) found {
	r.t.Helper()
	a := r.must("POST", v3+"/search?next_batch="+from, token, map[string]any{"search_categories": map[string]any{"room_events": ask}})
	var out struct {
		Categories struct {
			Events found `json:"room_events"`
		} `json:"search_categories"`
	}
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		r.t.Fatalf("%v in %s", err, a.body)
	}
	return out.Categories.Events
}

func TestSearchAnswer(t *testing.T) {
	r := newRig(t)
	anna, bob := r.register("anna"), r.register("bob")
	in := r.room(room.CreateRequest{Creator: anna.user, Preset: "public_chat"})
	other := r.room(room.CreateRequest{Creator: bob.user, Preset: "public_chat"})
	r.must("POST", v3+"/rooms/"+string(in)+"/join", bob.token, `{}`)
	for i := range 7 {
		r.must("PUT", fmt.Sprintf("%s/rooms/%s/send/m.room.message/%d", v3, in, i), anna.token,
			map[string]any{"msgtype": "m.text", "body": fmt.Sprintf("message number %d", i)})
	}
	r.must("PUT", fmt.Sprintf("%s/rooms/%s/send/m.room.message/x", v3, other), bob.token, map[string]any{"msgtype": "m.text", "body": "number elsewhere"})

	got := r.search(bob.token, "", map[string]any{
		"search_term": "number", "order_by": "recent", "include_state": true,
		"groupings": map[string]any{"group_by": []any{map[string]any{"key": "room_id"}, map[string]any{"key": "sender"}}},
	})
	if got.Count != 8 || len(got.Results) != 8 || got.Results[0].Result.Content.Body != "number elsewhere" || got.Results[0].Rank <= 0 || got.Next != "" {
		t.Errorf("found %+v", got)
	}
	if len(got.State[in]) == 0 || len(got.State[other]) == 0 {
		t.Errorf("state of %d rooms", len(got.State))
	}
	if g := got.Groups["room_id"]; len(g[string(in)].Results) != 7 || g[string(other)].Order != 1 || g[string(in)].Order != 2 {
		t.Errorf("by room %+v", g)
	}
	if g := got.Groups["sender"]; len(g[string(anna.user)].Results) != 7 || !slices.Contains(g[string(bob.user)].Results, got.Results[0].Result.ID) {
		t.Errorf("by sender %+v", g)
	}

	one := r.search(anna.token, "", map[string]any{
		"search_term": "message 4", "filter": map[string]any{"rooms": []id.RoomID{in}, "limit": 1},
		"event_context": map[string]any{"before_limit": 2, "after_limit": 1, "include_profile": true},
	})
	if len(one.Results) != 1 || one.Next == "" {
		t.Fatalf("found %+v", one)
	}
	around := one.Results[0].Context
	if len(around.Before) != 2 || around.Before[0].Content.Body != "message number 3" || len(around.After) != 1 ||
		around.After[0].Content.Body != "message number 5" || around.Start == "" || around.End == "" {
		t.Errorf("around it %+v", around)
	}
	if _, known := around.Profiles[anna.user]; !known {
		t.Errorf("profiles %+v", around.Profiles)
	}
	if more := r.search(anna.token, one.Next, map[string]any{"search_term": "message 4", "filter": map[string]any{"limit": 1}}); len(more.Results) != 0 || more.Next != "" {
		t.Errorf("behind the end %+v", more)
	}
	if got := r.search(anna.token, "", map[string]any{"search_term": "elsewhere"}); len(got.Results) != 0 {
		t.Error("anna finds what is not hers")
	}
}

func TestSearchRefusals(t *testing.T) {
	r := newRig(t)
	anna := r.register("anna")
	events := func(ask any) map[string]any {
		return map[string]any{"search_categories": map[string]any{"room_events": ask}}
	}
	for _, c := range []struct {
		ask  map[string]any
		code string
	}{
		{map[string]any{}, mxerr.CodeMissingParam},
		{events(map[string]any{}), mxerr.CodeMissingParam},
		{events(map[string]any{"search_term": "x", "order_by": "name"}), mxerr.CodeInvalidParam},
		{events(map[string]any{"search_term": "x", "keys": []string{"content.secret"}}), mxerr.CodeInvalidParam},
		{events(map[string]any{"search_term": "x", "groupings": map[string]any{"group_by": []any{map[string]any{"key": "age"}}}}), mxerr.CodeInvalidParam},
		{events(map[string]any{"search_term": 5}), mxerr.CodeBadJSON},
	} {
		r.refused(400, c.code, "POST", v3+"/search", anna.token, c.ask)
	}
	r.refused(400, mxerr.CodeInvalidParam, "POST", v3+"/search?next_batch=nonsense", anna.token, events(map[string]any{"search_term": "x"}))
	r.refused(401, mxerr.CodeMissingToken, "POST", v3+"/search", "", events(map[string]any{"search_term": "x"}))
	if a := r.must("POST", v3+"/search", anna.token, map[string]any{"search_categories": map[string]any{"people": map[string]any{}}}); a.body != `{"search_categories":{}}` {
		t.Errorf("an unknown category: %s", a.body)
	}
}
