package pushrule_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"konsil/matrix/mxerr"
	"konsil/matrix/pushrule"
)

func ids(rules []pushrule.Rule) string {
	var list []string
	for _, r := range rules {
		if !r.Default {
			list = append(list, r.ID)
		}
	}
	return strings.Join(list, " ")
}

func TestOrderOfOwnRules(t *testing.T) {
	s := &pushrule.Set{}
	step := func(id, before, after, want string) {
		t.Helper()
		next, err := s.Put(pushrule.Override, pushrule.NewRule(pushrule.Override, id, nil, nil, actions()), before, after)
		if err != nil {
			t.Fatalf("put %s: %v", id, err)
		}
		if s = next; ids(s.List(bob, pushrule.Override)) != want {
			t.Errorf("after %s: %s, want %s", id, ids(s.List(bob, pushrule.Override)), want)
		}
	}
	step("a", "", "", "a")
	step("b", "", "", "b a")
	step("c", "a", "", "b c a")
	step("d", "", "a", "b c a d") // after the last rule
	step("b", "", "", "b c a d")  // an update stays where it is
	step("b", "", "d", "c a d b") // unless it is told where to go
	step("e", "a", "c", "c e a d b")
	for name, place := range map[string][2]string{
		"unknown": {"nobody", ""}, "a default rule": {"", ".m.rule.master"}, "itself": {"a", ""}, "wrong order": {"c", "b"},
	} {
		_, err := s.Put(pushrule.Override, pushrule.NewRule(pushrule.Override, "a", nil, nil, actions()), place[0], place[1])
		if e, ok := mxerr.As(err); !ok || e.Status != 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
	list := s.List(bob, pushrule.Override)
	if list[0].ID != ".m.rule.master" || list[1].ID != "c" {
		t.Errorf("the master rule comes first: %s, %s", list[0].ID, list[1].ID)
	}
}

func TestRulesThatAreRefused(t *testing.T) {
	s := &pushrule.Set{}
	long := strings.Repeat("x", 2000)
	for name, c := range map[string]struct {
		kind   pushrule.Kind
		id     string
		rule   pushrule.Rule
		status int
	}{
		"server's name":        {pushrule.Override, ".mine", pushrule.Rule{Actions: actions()}, 400},
		"slash":                {pushrule.Override, "a/b", pushrule.Rule{Actions: actions()}, 400},
		"backslash":            {pushrule.Override, `a\b`, pushrule.Rule{Actions: actions()}, 400},
		"unknown kind":         {"whatever", "a", pushrule.Rule{Actions: actions()}, 400},
		"no actions":           {pushrule.Override, "a", pushrule.Rule{}, 400},
		"unknown action":       {pushrule.Override, "a", pushrule.Rule{Actions: actions("stamp")}, 400},
		"action of no type":    {pushrule.Override, "a", pushrule.Rule{Actions: conditions(`7`)}, 400},
		"no pattern":           {pushrule.Content, "a", pushrule.Rule{Actions: actions()}, 400},
		"long pattern":         {pushrule.Content, "a", pushrule.Rule{Actions: actions(), Pattern: &long}, 400},
		"condition of no type": {pushrule.Override, "a", pushrule.Rule{Actions: actions(), Conditions: conditions(`[]`)}, 400},
		"condition incomplete": {pushrule.Override, "a", pushrule.Rule{Actions: actions(), Conditions: conditions(`{"kind":"event_match","key":"type"}`)}, 400},
		"compound value":       {pushrule.Override, "a", pushrule.Rule{Actions: actions(), Conditions: conditions(`{"kind":"event_property_is","key":"type","value":{}}`)}, 400},
		"long rule id":         {pushrule.Override, long, pushrule.Rule{Actions: actions()}, 400},
	} {
		rule := pushrule.NewRule(c.kind, c.id, c.rule.Pattern, c.rule.Conditions, c.rule.Actions)
		_, err := s.Put(c.kind, rule, "", "")
		if e, ok := mxerr.As(err); !ok || e.Status != c.status {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"delete a default rule": second(s.Delete(pushrule.Override, ".m.rule.master")),
		"delete nothing":        second(s.Delete(pushrule.Override, "x")),
		"enable nothing":        second(s.SetEnabled(pushrule.Override, "x", true)),
		"other kind":            second(s.SetActions(pushrule.Content, ".m.rule.master", actions())),
	} {
		if e, ok := mxerr.As(err); !ok || e.Status < 400 || e.Status > 404 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ *pushrule.Set, err error) error { return err }

// TestB05NumberOfRules adds rules until it is refused.
func TestB05NumberOfRules(t *testing.T) {
	for kind, most := range map[pushrule.Kind]int{pushrule.Content: 200, pushrule.Sender: 2000} {
		s, n := &pushrule.Set{}, 0
		for n < 5000 {
			next, err := s.Put(kind, pushrule.NewRule(kind, fmt.Sprint(n), ptr("x"), nil, actions("notify")), "", "")
			if err != nil {
				if e, ok := mxerr.As(err); !ok || e.Code != "M_TOO_LARGE" {
					t.Errorf("%s: %v", kind, err)
				}
				break
			}
			s, n = next, n+1
		}
		if n != most {
			t.Errorf("%d rules of kind %s", n, kind)
		}
	}
	megabyte := strings.Repeat("x", 1<<20)
	_, err := (&pushrule.Set{}).Put(pushrule.Content, pushrule.NewRule(pushrule.Content, "a", &megabyte, nil, actions("notify")), "", "")
	if _, ok := mxerr.As(err); !ok {
		t.Errorf("a pattern of a megabyte: %v", err)
	}
}

func TestSetSurvivesTheStore(t *testing.T) {
	s := put(t, &pushrule.Set{}, pushrule.Content, "tea", "tea*", nil, actions("notify"))
	s = put(t, s, pushrule.Override, "x", "", conditions(`{"kind":"event_match","key":"type","pattern":"y"}`), actions("dont_notify"))
	s, err := s.SetEnabled(pushrule.Override, ".m.rule.reaction", false)
	if err != nil {
		t.Fatal(err)
	}
	s, err = s.SetActions(pushrule.Underride, ".m.rule.message", actions())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := pushrule.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(marshal(t, s.All(bob)), marshal(t, again.All(bob))); diff != "" {
		t.Error(diff)
	}
	rule, err := again.Get(bob, pushrule.Override, "x")
	if err != nil || string(rule.Actions[0]) != `"dont_notify"` {
		t.Errorf("a client gets back what it set: %v %v", rule, err)
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestDefaultRulesNameTheUser(t *testing.T) {
	s := &pushrule.Set{}
	for _, id := range []string{".m.rule.invite_for_me", ".m.rule.is_user_mention"} {
		rule, err := s.Get(bob, pushrule.Override, id)
		if err != nil || !strings.Contains(marshal(t, rule), bob) || strings.Contains(marshal(t, s.All("@x:y")), bob) {
			t.Errorf("%s: %v %v", id, marshal(t, rule), err)
		}
	}
	rule, err := s.Get(bob, pushrule.Content, ".m.rule.contains_user_name")
	if err != nil || *rule.Pattern != "bob" || rule.Conditions != nil {
		t.Errorf("contains_user_name: %v %v", rule, err)
	}
	if master, err := s.Get(bob, pushrule.Override, ".m.rule.master"); err != nil || master.Enabled || master.Conditions == nil {
		t.Errorf("master: %v %v", master, err)
	}
}

func TestCopyRoom(t *testing.T) {
	s := put(t, &pushrule.Set{}, pushrule.Room, "!old", "", nil, actions())
	s = s.CopyRoom("!old", "!new").CopyRoom("!old", "!new").CopyRoom("!other", "!third")
	if got := ids(s.List(bob, pushrule.Room)); got != "!new !old" {
		t.Errorf("room rules: %s", got)
	}
}

// FuzzRule: what is accepted can be compiled and asked, and survives the store.
func FuzzRule(f *testing.F) {
	f.Add("a", "p*", `{"kind":"event_match","key":"content.body","pattern":"a?b*"}`, `{"set_tweak":"highlight"}`)
	f.Add("a", "", `{"kind":"room_member_count","is":">=2"}`, `"notify"`)
	f.Add("a", "", `{"kind":"event_property_contains","key":"a\\.b.c\\\\","value":-1}`, `7`)
	f.Add("a", "", `{"kind":"event_property_is","key":"","value":null}`, `{"set_tweak":"highlight","value":null}`)
	e := event("m.room.message", `{"body":"a text","list":[1,"x",null]}`, nil, 2)
	f.Fuzz(func(t *testing.T, id, pattern, condition, act string) {
		for _, kind := range pushrule.Kinds() {
			s, err := (&pushrule.Set{}).Put(kind, pushrule.NewRule(kind, id, &pattern, conditions(condition), conditions(act)), "", "")
			if err != nil {
				if _, ok := mxerr.As(err); !ok {
					t.Fatalf("not a refusal: %v", err)
				}
				continue
			}
			raw, err := s.Encode()
			if err != nil {
				t.Fatal(err)
			}
			again, err := pushrule.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			one, two := s.Compile(bob).Evaluate(e, "x"), again.Compile(bob).Evaluate(e, "x")
			if describe(one) != describe(two) {
				t.Errorf("%s became %s", describe(one), describe(two))
			}
		}
	})
}
