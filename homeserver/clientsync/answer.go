package clientsync

import (
	"context"
	"fmt"

	"konsil/homeserver/e2ee"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/pushrule"
)

// answer makes the response for what happened after the client's token, up to now. something says that it tells anything.
func (s *Syncer) answer(ctx context.Context, q *query) (body []byte, something bool, err error) {
	if !q.full && q.since == s.cfg.Store.Position() {
		body, err = s.nothing(ctx, q, q.since) // not even a look is needed
		return body, false, err
	}
	if q.full && q.filter.includeLeave {
		s.views.drop(q.User) // forgetting a room has no place in the order that would tell us of it
	}
	v, upTo, err := s.view(ctx, q.User)
	if err != nil {
		return nil, false, err
	}
	if upTo < q.since {
		upTo = q.since // the token was given after we looked
	}
	a := &answer{syncer: s, q: q, view: v, upTo: upTo, window: s.tail.look(q.since, upTo)}
	if q.initial {
		a.window = window{}
	}
	if err := a.gather(ctx); err != nil {
		return nil, false, fmt.Errorf("sync: %w", err)
	}
	if a.empty() {
		body, err = s.nothing(ctx, q, upTo)
		return body, false, err
	}
	body, err = a.render(ctx)
	return body, true, err
}

// nothing is the response that tells no news.
func (s *Syncer) nothing(ctx context.Context, q *query, upTo int64) ([]byte, error) {
	keys, err := s.cfg.E2EE.KeyCounts(ctx, q.User, q.Device)
	if err != nil {
		return nil, err
	}
	b := append(make([]byte, 0, 160), '{')
	b = appendKeyCounts(b, keys)
	b = append(b, `,"next_batch":`...)
	return append(appendToken(b, upTo), '}'), nil
}

// answer is one response in the making.
type answer struct {
	syncer *Syncer
	q      *query
	view   *view
	upTo   int64
	window window

	told            map[id.RoomID][]id.UserID // members the client learns of, when it loads them lazily
	joined, left    []*roomAnswer
	byRoom          map[id.RoomID]*roomAnswer // the joined ones
	invited, knocks []stripped
	entered         []id.RoomID // joined since the client's last sync
	members         bool        // somebody's membership changed in a room of the user, or the user's own
	accountData     []store.AccountData
	pushRules       []byte // content of m.push_rules, nil for no news
	toDevice        []store.ToDevice
	lists           e2ee.Changes
	presence        []store.Presence
	keys            e2ee.KeyCounts
}

// gather reads everything.
func (a *answer) gather(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		a.gatherToDevice, a.gatherRooms, a.gatherAccountData, a.gatherEphemeral, a.gatherUnread, a.gatherStripped,
		a.gatherDeviceLists, a.gatherPresence,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	var err error
	a.keys, err = a.syncer.cfg.E2EE.KeyCounts(ctx, a.q.User, a.q.Device)
	return err
}

// empty says that there is nothing a client would wait for.
func (a *answer) empty() bool {
	return !a.q.full && len(a.joined) == 0 && len(a.left) == 0 && len(a.invited) == 0 && len(a.knocks) == 0 &&
		len(a.accountData) == 0 && a.pushRules == nil && len(a.toDevice) == 0 && len(a.presence) == 0 &&
		len(a.lists.Changed) == 0 && len(a.lists.Left) == 0
}

// gatherAccountData reads the user's global account data and that of rooms, and their push rules.
func (a *answer) gatherAccountData(ctx context.Context) error {
	q := a.q
	if !q.initial && !a.window.changed(store.UserDataChanged, string(q.User)) && len(a.entered) == 0 {
		return nil
	}
	var changed []store.AccountData
	var perRoom map[id.RoomID][]store.AccountData
	var rules []byte
	var rulesPos int64
	err := a.syncer.cfg.Store.Read(ctx, func(tx *store.Tx) error {
		var err error
		if changed, err = tx.AccountDataSince(ctx, q.User, q.since, a.upTo); err != nil {
			return err
		}
		if rules, rulesPos, err = tx.PushRules(ctx, q.User); err != nil || q.initial {
			return err
		}
		perRoom = make(map[id.RoomID][]store.AccountData, len(a.entered))
		for _, room := range a.entered {
			if perRoom[room], err = tx.RoomAccountData(ctx, q.User, room); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read account data: %w", err)
	}
	byRoom := map[id.RoomID][]store.AccountData{}
	for _, d := range changed {
		switch {
		case d.Room != "":
			byRoom[d.Room] = append(byRoom[d.Room], d)
		case q.filter.accountData.picksType(d.Type) && q.filter.accountData.picksSender(q.User):
			a.accountData = append(a.accountData, d)
		}
	}
	for room, data := range perRoom {
		byRoom[room] = data // all of it, the changes too
	}
	for room, data := range byRoom {
		if r := a.room(room); r != nil {
			r.accountData = a.pickRoomData(room, data)
		}
	}
	if (q.initial || rulesPos > q.since) && q.filter.accountData.picksType("m.push_rules") {
		set, err := pushrule.Parse(rules)
		if err != nil {
			return err
		}
		a.pushRules, err = set.Content(string(q.User))
		return err
	}
	return nil
}

func (a *answer) pickRoomData(room id.RoomID, data []store.AccountData) []store.AccountData {
	f := &a.q.filter.roomData
	if !f.rooms.has(room) || !f.picksSender(a.q.User) {
		return nil
	}
	picked := make([]store.AccountData, 0, len(data))
	for _, d := range data {
		if f.picksType(d.Type) {
			picked = append(picked, d)
		}
	}
	return picked
}

// maxToDevice bounds the messages of one response.
const maxToDevice = 500

// gatherToDevice reads the messages that wait for the device. If there are more than fit, the whole response stops where they
// do: the client's next token tells us to drop everything before it. It goes before all else for that reason.
func (a *answer) gatherToDevice(ctx context.Context) error {
	owner := store.OwnerOf(a.q.User, a.q.Device)
	if a.q.Device == "" || !a.window.changed(store.ToDeviceAdded, string(owner)) {
		return nil
	}
	messages, err := a.syncer.cfg.E2EE.ToDevice(ctx, a.q.User, a.q.Device, a.q.since, a.upTo, maxToDevice)
	if err != nil {
		return err
	}
	if a.toDevice = messages; len(messages) == maxToDevice {
		a.upTo = messages[len(messages)-1].Pos
		if a.window.complete {
			a.window = a.syncer.tail.look(a.q.since, a.upTo)
		}
	}
	return nil
}

// gatherDeviceLists reads whose devices have changed, and whom the user shares no room with any more. After an initial sync
// the client knows nobody's devices, so there is nothing to say. CS v1.16 #e2e-extensions-to-sync
func (a *answer) gatherDeviceLists(ctx context.Context) error {
	q := a.q
	if q.initial || !a.members && !a.window.anyList() && !a.window.changed(store.SignatureAdded, string(q.User)) &&
		!a.window.changed(store.UserDataChanged, string(q.User)) {
		return nil
	}
	lists, err := a.syncer.cfg.E2EE.Changes(ctx, q.User, q.since, a.upTo)
	a.lists = lists
	return err
}

// appendEvents writes {"events":[…]}.
func appendEvents(b []byte, events [][]byte) []byte {
	b = append(b, `{"events":[`...)
	for i, ev := range events {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, ev...)
	}
	return append(b, `]}`...)
}

func accountDataEvents(data []store.AccountData) [][]byte {
	events := make([][]byte, 0, len(data))
	for _, d := range data {
		events = append(events, typedEvent(d.Type, d.Content))
	}
	return events
}

// typedEvent is an event that has nothing but a type and a content.
func typedEvent(typ string, content []byte) []byte {
	b := append(make([]byte, 0, len(content)+len(typ)+32), `{"content":`...)
	b = append(append(b, content...), `,"type":`...)
	return append(canonical.AppendString(b, typ), '}')
}
