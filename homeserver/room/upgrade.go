package room

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/roomver"
)

// upgradedState is what a new version of a room takes along. CS v1.16 #server-behaviour-19
var upgradedState = []string{
	event.TypeJoinRules, event.TypeHistoryVisibility, event.TypeGuestAccess, event.TypeName, event.TypeTopic, event.TypeAvatar,
	event.TypeEncryption, event.TypeServerACL, event.TypePinnedEvents, event.TypeSpaceChild, event.TypeSpaceParent,
	"m.room.related_groups", "im.vector.modular.widgets",
}

// Upgrade makes a new version of a room: the successor with its state, then the tombstone in the old room, then the aliases move.
// creators are additional_creators of versions that know them. CS v1.16 #post_matrixclientv3roomsroomidupgrade
func (e *Engine) Upgrade(ctx context.Context, user id.UserID, room id.RoomID, version string, creators []id.UserID) (id.RoomID, error) {
	v, ok := roomver.Get(version)
	if !ok {
		return "", mxerr.UnsupportedRoomVersion()
	}
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return "", err
	}
	if m, err := e.Membership(ctx, room, user); err != nil {
		return "", err
	} else if m != event.Join {
		return "", mxerr.Forbidden("You are not in the room")
	}
	levels := h.levels()
	if levels == nil || levels.UserLevel(user) < levels.StateLevel(event.TypeTombstone) {
		return "", mxerr.Forbidden("You may not upgrade the room")
	}
	p, err := e.planUpgrade(ctx, h, user, v, creators)
	if err != nil {
		return "", err
	}
	p.published, err = e.Published(ctx, room)
	if err != nil {
		return "", err
	}
	next := p.create.RoomID
	p.also = func(ctx context.Context, tx *store.Tx) error {
		if p.published {
			if err := tx.SetPublished(ctx, room, false); err != nil {
				return err
			}
		}
		return tx.MoveAliases(ctx, room, next)
	}
	if err := e.make(ctx, p); err != nil {
		return "", err
	}
	return next, e.retire(ctx, h, user, next)
}

// retire puts the tombstone into the old room and keeps people from talking there. CS v1.16 #server-behaviour-19
func (e *Engine) retire(ctx context.Context, h *head, user id.UserID, next id.RoomID) error {
	tombstone, err := json.Marshal(map[string]any{"body": "This room has been replaced", "replacement_room": next})
	if err != nil {
		return err
	}
	key := ""
	if _, err := e.Send(ctx, Draft{Room: h.room, Sender: user, Type: event.TypeTombstone, StateKey: &key, Content: tombstone}); err != nil {
		return err
	}
	if alias, err := e.currentSlot(ctx, h, id.Slot{Type: event.TypeCanonicalAlias}); err != nil {
		return err
	} else if alias != nil {
		_, err := e.Send(ctx, Draft{Room: h.room, Sender: user, Type: event.TypeCanonicalAlias, StateKey: &key, Content: []byte("{}")})
		if _, refused := mxerr.As(err); err != nil && !refused {
			return err
		}
	}
	if h.levelsEv == nil {
		return nil
	}
	levels, err := restricted(h)
	if err != nil {
		return err
	}
	_, err = e.Send(ctx, Draft{Room: h.room, Sender: user, Type: event.TypePowerLevels, StateKey: &key, Content: levels})
	if _, refused := mxerr.As(err); refused {
		return nil // who may upgrade need not be able to change the levels
	}
	return err
}

// restricted are the levels of a room that nobody but moderators shall speak in any more.
func restricted(h *head) (json.RawMessage, error) {
	content := map[string]json.RawMessage{}
	if err := json.Unmarshal(h.levelsEv.Content, &content); err != nil {
		return nil, err
	}
	level := max(h.levels().UsersDefault()+1, 50)
	for _, key := range []string{"events_default", "invite"} {
		if now, ok := canonical.GetInt(h.levelsEv.Content, key); !ok || now < level {
			content[key], _ = json.Marshal(level)
		}
	}
	return json.Marshal(content)
}

func (e *Engine) planUpgrade(ctx context.Context, h *head, user id.UserID, v *roomver.Version, creators []id.UserID) (*plan, error) {
	content := map[string]json.RawMessage{}
	if err := json.Unmarshal(h.createEv.Content, &content); err != nil {
		return nil, err
	}
	delete(content, "additional_creators")
	predecessor := map[string]any{"room_id": h.room}
	if !v.HashedRoomID {
		// Its tombstone can not be named here: it names the new room. The last event we have stands for it. RV 12 #event-format
		// has done away with the field.
		predecessor["event_id"] = h.extremities[0].ID
	}
	var err error
	if content["predecessor"], err = json.Marshal(predecessor); err != nil {
		return nil, err
	}
	if len(creators) > 0 {
		if content["additional_creators"], err = json.Marshal(creators); err != nil {
			return nil, err
		}
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	if raw, err = createContent(CreateRequest{Creator: user, CreationContent: raw}, v); err != nil {
		return nil, err
	}
	p := &plan{creator: user, version: v}
	if p.create, err = e.createEvent(v, user, raw); err != nil {
		return nil, err
	}
	join, err := e.creatorJoin(ctx, user)
	if err != nil {
		return nil, err
	}
	p.events = append(p.events, join)
	return p, e.transfer(ctx, h, p, creators)
}

// transfer copies levels, state and bans of the old room into the plan.
func (e *Engine) transfer(ctx context.Context, h *head, p *plan, creators []id.UserID) error {
	evs, err := e.eventsOf(ctx, h.state)
	if err != nil {
		return err
	}
	levels, final, err := transferredLevels(h, p, creators)
	if err != nil {
		return err
	}
	p.state(event.TypePowerLevels, levels)
	var bans []proposal
	for _, ev := range evs {
		q := proposal{typ: ev.Type, key: ev.StateKey, sender: p.creator, content: ev.Content}
		switch {
		case ev.Membership() == event.Ban:
			bans = append(bans, q)
		case !slices.Contains(upgradedState, ev.Type):
		case ev.Type == event.TypeSpaceChild && len(ev.Content) <= 2: // an empty one: the child was removed
		default:
			p.events = append(p.events, q)
		}
	}
	p.events = append(p.events, bans...)
	if alias, err := e.currentSlot(ctx, h, id.Slot{Type: event.TypeCanonicalAlias}); err != nil {
		return err
	} else if alias != nil {
		key := ""
		p.events = append(p.events, proposal{typ: event.TypeCanonicalAlias, key: &key, sender: p.creator, content: alias.Content})
	}
	if final != nil {
		p.state(event.TypePowerLevels, final)
	}
	return nil
}

// transferredLevels are the levels of the new room: those that let its creator set it up, and, where these differ from what the old
// room had, those in the end.
func transferredLevels(h *head, p *plan, creators []id.UserID) (levels, final map[string]any, err error) {
	levels = map[string]any{}
	users := map[id.UserID]any{}
	if h.levelsEv == nil {
		old := h.levels()
		old.Users(func(user id.UserID, level int64) { users[user] = level })
	} else {
		raw := map[string]json.RawMessage{}
		if err := json.Unmarshal(h.levelsEv.Content, &raw); err != nil {
			return nil, nil, err
		}
		for key, value := range raw {
			levels[key] = value
		}
		// Old versions had levels in strings, which new ones refuse: the parsed numbers serve all.
		h.levels().Users(func(user id.UserID, level int64) { users[user] = level })
	}
	if p.version.PrivilegedCreators {
		delete(users, p.creator)
		for _, creator := range creators {
			delete(users, creator)
		}
		raiseTombstone(levels)
	} else if h.version.PrivilegedCreators {
		users[p.creator] = 100 // a creator above all levels has to be named in versions without such
	}
	levels["users"] = users
	own := h.levels().UserLevel(p.creator)
	if p.version.PrivilegedCreators || h.version.PrivilegedCreators {
		return levels, nil, nil
	}
	need := neededLevel(h.levels())
	if own >= need {
		return levels, nil, nil
	}
	// Raised for the time of setting up, and back again at the end.
	final = maps.Clone(levels)
	raised := maps.Clone(users)
	raised[p.creator] = need
	levels["users"] = raised
	return levels, final, nil
}

// raiseTombstone keeps upgrades to creators, as new rooms of version 12 have it.
func raiseTombstone(levels map[string]any) {
	events := map[string]json.RawMessage{}
	if raw, ok := levels["events"].(json.RawMessage); ok {
		if err := json.Unmarshal(raw, &events); err != nil {
			events = map[string]json.RawMessage{}
		}
	}
	if now, ok := canonical.Int(events[event.TypeTombstone]); !ok || now < 150 {
		events[event.TypeTombstone] = json.RawMessage("150")
	}
	levels["events"] = events
}

// neededLevel is what one needs to set up a room with such levels.
func neededLevel(levels *auth.PowerLevels) int64 {
	need := max(levels.Ban(), levels.Invite())
	for _, typ := range append(slices.Clone(upgradedState), event.TypePowerLevels, event.TypeCanonicalAlias) {
		need = max(need, levels.StateLevel(typ))
	}
	return need
}
