package harness

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Person is somebody with a client that follows /sync: what they would see on the screen. One goroutine at a time.
type Person struct {
	*Client
	Invites   map[string]bool    // rooms with an invitation that is not answered yet
	Left      map[string]bool    // rooms that sync has said were left
	Timelines map[string][]Event // by room, the oldest first, gaps filled
	Ephemeral map[string][]Event // by room, receipts and typing as they came
	ToDevice  []Event
	since     string
	seen      map[string]int // how often an event was given as new
}

// NewPerson makes a person who has seen nothing yet.
func NewPerson(c *Client) *Person {
	return &Person{Client: c, Invites: map[string]bool{}, Left: map[string]bool{},
		Timelines: map[string][]Event{}, Ephemeral: map[string][]Event{}, seen: map[string]int{}}
}

type timeline struct {
	Events  []Event `json:"events"`
	Limited bool    `json:"limited"`
	Prev    string  `json:"prev_batch"`
}

type syncAnswer struct {
	Next     string `json:"next_batch"`
	ToDevice struct {
		Events []Event `json:"events"`
	} `json:"to_device"`
	Rooms struct {
		Join map[string]struct {
			Timeline  timeline `json:"timeline"`
			Ephemeral struct {
				Events []Event `json:"events"`
			} `json:"ephemeral"`
		} `json:"join"`
		Invite map[string]struct{} `json:"invite"`
		Leave  map[string]struct {
			Timeline timeline `json:"timeline"`
		} `json:"leave"`
	} `json:"rooms"`
}

// Sync asks once for what is new; the server answers when there is something, or after wait.
func (p *Person) Sync(ctx context.Context, wait time.Duration) error {
	query := url.Values{"timeout": {strconv.FormatInt(wait.Milliseconds(), 10)}}
	if p.since != "" {
		query.Set("since", p.since)
	}
	var answer syncAnswer
	if err := p.Call(ctx, "GET", path("sync")+"?"+query.Encode(), nil, &answer); err != nil {
		return err
	}
	p.ToDevice = append(p.ToDevice, answer.ToDevice.Events...)
	for room := range answer.Rooms.Invite {
		p.Invites[room] = true
	}
	for room, r := range answer.Rooms.Join {
		delete(p.Invites, room)
		delete(p.Left, room)
		p.Ephemeral[room] = append(p.Ephemeral[room], r.Ephemeral.Events...)
		if err := p.add(ctx, room, r.Timeline); err != nil {
			return err
		}
	}
	for room, r := range answer.Rooms.Leave {
		delete(p.Invites, room)
		p.Left[room] = true
		if err := p.add(ctx, room, r.Timeline); err != nil {
			return err
		}
	}
	p.since = answer.Next
	return nil
}

// add appends a piece of timeline. What lies between it and the known end, or the room's beginning, is fetched, as a client does
// when one scrolls up.
func (p *Person) add(ctx context.Context, room string, t timeline) error {
	var gap []Event // newest first
	known := func(ev Event) bool { return p.seen[ev.ID] > 0 }
	for from, more := t.Prev, t.Limited; more; {
		older, err := p.back(ctx, room, from)
		if err != nil {
			return fmt.Errorf("fill the gap in %s: %w", room, err)
		}
		chunk := older.Chunk
		if i := slices.IndexFunc(chunk, known); i >= 0 {
			chunk, more = chunk[:i], false
		}
		gap = append(gap, chunk...)
		more = more && older.End != "" && older.End != from
		from = older.End
	}
	for _, ev := range append(reversed(gap), t.Events...) {
		if t.Limited && known(ev) { // who comes back to a room is shown its end anew, also what they saw before
			continue
		}
		p.seen[ev.ID]++
		p.Timelines[room] = append(p.Timelines[room], ev)
	}
	return nil
}

// Until follows /sync until done says yes. It fails when that takes longer than anybody would wait.
func (p *Person) Until(ctx context.Context, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !done() {
		err := p.Sync(ctx, patience) // the context ends it earlier
		if err == nil && ctx.Err() == nil {
			continue
		}
		if done() {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s does not see %s", p.User, what)
		}
		return err
	}
	return nil
}

// Twice lists events that sync has given as new more than once, which it never may to one who continues at its token.
func (p *Person) Twice() []string {
	var twice []string
	for event, times := range p.seen {
		if times > 1 {
			twice = append(twice, event)
		}
	}
	slices.Sort(twice)
	return twice
}

// Find finds a message by what it says.
func (p *Person) Find(room, body string) (Event, bool) {
	for _, ev := range p.Timelines[room] {
		if ev.Message().Body == body {
			return ev, true
		}
	}
	return Event{}, false
}

// Sees waits for a message.
func (p *Person) Sees(ctx context.Context, room, body string) (Event, error) {
	err := p.Until(ctx, fmt.Sprintf("%q in %s", body, room), func() bool {
		_, ok := p.Find(room, body)
		return ok
	})
	ev, _ := p.Find(room, body)
	return ev, err
}
