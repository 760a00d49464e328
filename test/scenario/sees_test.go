package scenario_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"konsil/test/harness"
)

// sight is something that can be seen on the screen besides messages.
type sight struct {
	arguments int // after the room
	seen      func(s *story, p *resident, room string, args []string) bool
}

var sights = map[string]sight{
	"invite":  {0, func(_ *story, p *resident, room string, _ []string) bool { return p.Invites[room] }},
	"removal": {0, func(_ *story, p *resident, room string, _ []string) bool { return p.Left[room] }},
	"tombstone": {0, func(_ *story, p *resident, room string, _ []string) bool {
		return inTimeline(p, room, "m.room.tombstone", "")
	}},
	"topic": {1, func(_ *story, p *resident, room string, args []string) bool {
		return inTimeline(p, room, "m.room.topic", args[0])
	}},
	"knock": {1, func(s *story, p *resident, room string, args []string) bool {
		return slices.ContainsFunc(p.Timelines[room], func(ev harness.Event) bool {
			return ev.Sender == s.people[args[0]].User && strings.Contains(string(ev.Content), `"membership":"knock"`)
		})
	}},
	"typing": {1, func(s *story, p *resident, room string, args []string) bool {
		return inEphemeral(p, room, "m.typing", s.people[args[0]].User)
	}},
	"receipt": {2, func(s *story, p *resident, room string, args []string) bool {
		return hasReceipt(p, room, s.events[args[0]], s.people[args[1]].User)
	}},
}

// sees waits for a sight, or for messages.
func (s *story) sees(p *resident, args []string) error {
	what, special := sights[args[0]]
	if !special {
		room, err := s.room(args[0])
		if err != nil {
			return err
		}
		for _, text := range args[1:] {
			if _, err := p.Sees(s.ctx, room, text); err != nil {
				return err
			}
		}
		return nil
	}
	room, err := s.room(args[1])
	if err != nil {
		return err
	}
	if len(args) != 2+what.arguments {
		return fmt.Errorf("%s takes a room and %d words more", args[0], what.arguments)
	}
	if name := args[len(args)-1]; (args[0] == "knock" || args[0] == "typing" || args[0] == "receipt") && s.people[name] == nil {
		return fmt.Errorf("nobody is called %q", name)
	}
	return p.Until(s.ctx, strings.Join(args, " "), func() bool { return what.seen(s, p, room, args[2:]) })
}

func inTimeline(p *resident, room, eventType, text string) bool {
	return slices.ContainsFunc(p.Timelines[room], func(ev harness.Event) bool {
		return ev.Type == eventType && strings.Contains(string(ev.Content), text)
	})
}

func inEphemeral(p *resident, room, eventType, text string) bool {
	return slices.ContainsFunc(p.Ephemeral[room], func(ev harness.Event) bool {
		return ev.Type == eventType && strings.Contains(string(ev.Content), text)
	})
}

func hasReceipt(p *resident, room, event, user string) bool {
	return slices.ContainsFunc(p.Ephemeral[room], func(ev harness.Event) bool {
		var receipts map[string]map[string]map[string]any // event, kind, user
		return ev.Type == "m.receipt" && json.Unmarshal(ev.Content, &receipts) == nil && receipts[event]["m.read"][user] != nil
	})
}
