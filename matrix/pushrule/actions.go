package pushrule

import (
	"encoding/json"

	"konsil/matrix/mxerr"
)

// An Outcome is what a rule's actions come to. CS v1.16 #actions
type Outcome struct {
	Notify    bool
	Highlight bool
	Actions   []json.RawMessage // without the historical ones; shared, not to be changed
}

// action reads one action: a word, or a tweak.
type action struct {
	word  string
	Tweak string          `json:"set_tweak"`
	Value json.RawMessage `json:"value"`
}

func parseAction(raw json.RawMessage) (action, error) {
	var a action
	if len(raw) > 0 && raw[0] == '"' {
		err := json.Unmarshal(raw, &a.word)
		return a, err
	}
	err := json.Unmarshal(raw, &a)
	return a, err
}

// checkActions refuses what is no list of actions. Words nobody knows are refused too: a client that believes to have
// silenced a room must not learn otherwise from its pager.
func checkActions(actions []json.RawMessage) error {
	if actions == nil {
		return mxerr.MissingParam("actions are missing")
	}
	if len(actions) > maxActions {
		return mxerr.InvalidParam("Too many actions")
	}
	size := 0
	for _, raw := range actions {
		size += len(raw)
		a, err := parseAction(raw)
		if err != nil {
			return mxerr.InvalidParam("Bad action")
		}
		switch a.word {
		case "notify", "dont_notify", "coalesce":
		case "":
			if a.Tweak == "" {
				return mxerr.InvalidParam("An action is neither a word nor a tweak")
			}
		default:
			return mxerr.InvalidParam("Unknown action")
		}
	}
	if size > maxRule {
		return mxerr.TooLarge("The actions are too large")
	}
	return nil
}

// outcome reads a rule's actions once. dont_notify and coalesce are historical and ignored.
func outcome(actions []json.RawMessage) *Outcome {
	o := &Outcome{Actions: make([]json.RawMessage, 0, len(actions))}
	for _, raw := range actions {
		a, err := parseAction(raw)
		if err != nil {
			continue
		}
		switch {
		case a.word == "notify":
			o.Notify = true
		case a.word != "":
			continue
		case a.Tweak == "highlight":
			o.Highlight = string(a.Value) != "false"
		}
		o.Actions = append(o.Actions, raw)
	}
	return o
}
