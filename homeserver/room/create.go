package room

import (
	"context"
	"encoding/json"
	"slices"
	"sync/atomic"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/roomver"
)

// Presets of createRoom. CS v1.16 #post_matrixclientv3createroom
const (
	presetPrivate = "private_chat"
	presetTrusted = "trusted_private_chat"
	presetPublic  = "public_chat"
)

// Created is a new room.
type Created struct {
	Room  id.RoomID
	Alias id.RoomAlias // "" if none was asked for
	// Remote are the invites of users of other servers, which are not sent yet: see PrepareInvite.
	Remote []MembershipChange
}

// plan is a room about to be made: its create event, and what follows it in order.
type plan struct {
	creator   id.UserID
	version   *roomver.Version
	create    *event.PDU
	events    []proposal
	alias     id.RoomAlias
	published bool
	remote    []MembershipChange
	// also runs in the same transaction.
	also func(ctx context.Context, tx *store.Tx) error
}

// Create makes a room and everything in it in one transaction. CS v1.16 #post_matrixclientv3createroom
func (e *Engine) Create(ctx context.Context, req CreateRequest) (Created, error) {
	p, err := e.planRoom(ctx, req)
	if err != nil {
		return Created{}, err
	}
	if err := e.make(ctx, p); err != nil {
		return Created{}, err
	}
	for i := range p.remote {
		p.remote[i].Room = p.create.RoomID
	}
	return Created{p.create.RoomID, p.alias, p.remote}, nil
}

// make stores a planned room.
func (e *Engine) make(ctx context.Context, p *plan) error {
	return e.change(ctx, p.create.RoomID, func(b *batch) error {
		if b.known {
			return mxerr.RoomInUse()
		}
		b.head.nid, b.head.version = e.store.NextNID(), p.version
		b.published, b.also = p.published, p.also
		if p.alias != "" {
			b.alias = &store.AliasRow{Alias: p.alias, Room: p.create.RoomID, Creator: p.creator, TS: e.now()}
		}
		if err := auth.Authorize(p.create, b.view()); err != nil {
			return mxerr.New(400, mxerr.CodeBadJSON, "The creation content is not valid")
		}
		if _, err := b.extend(p.create, nil, ""); err != nil {
			return err
		}
		for i, q := range p.events {
			if q.ts == 0 {
				q.ts = p.create.OriginServerTS
			}
			_, err := b.send(q)
			if r, ok := mxerr.As(err); ok && r.Code == mxerr.CodeForbidden && i > 0 {
				return mxerr.InvalidRoomState("%s is not allowed: %s", q.typ, r.Message)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *Engine) planRoom(ctx context.Context, req CreateRequest) (*plan, error) {
	version := req.Version
	if version == "" {
		version = e.cfg.DefaultVersion
	}
	v, ok := roomver.Get(version)
	if !ok {
		return nil, mxerr.UnsupportedRoomVersion()
	}
	p := &plan{creator: req.Creator, version: v, published: req.Visibility == "public"}
	switch req.Preset {
	case "":
		req.Preset = presetPrivate
		if p.published {
			req.Preset = presetPublic
		}
	case presetPrivate, presetTrusted, presetPublic:
	default:
		return nil, mxerr.InvalidParam("Unknown preset")
	}
	if len(req.Invite3PID) > 0 {
		return nil, mxerr.New(403, "M_THREEPID_DENIED", "Invites by third-party identifiers are not supported")
	}
	if req.AliasName != "" {
		alias, err := id.ParseRoomAlias("#" + req.AliasName + ":" + string(e.cfg.Server))
		if err != nil {
			return nil, mxerr.InvalidParam("The alias is not valid")
		}
		p.alias = alias
	}
	content, err := createContent(req, v)
	if err != nil {
		return nil, err
	}
	if p.create, err = e.createEvent(v, req.Creator, content); err != nil {
		return nil, err
	}
	return p, e.planEvents(ctx, p, req)
}

// createContent is the content of the create event: the client's, with what it can not choose.
func createContent(req CreateRequest, v *roomver.Version) (json.RawMessage, error) {
	content := map[string]json.RawMessage{}
	if len(req.CreationContent) > 0 && string(req.CreationContent) != "null" {
		if err := json.Unmarshal(req.CreationContent, &content); err != nil {
			return nil, mxerr.BadJSON("creation_content is not an object")
		}
	}
	content["room_version"] = quoted(v.ID)
	delete(content, "creator")
	if v.CreatorField {
		content["creator"] = quoted(req.Creator)
	}
	if !v.PrivilegedCreators {
		return json.Marshal(content)
	}
	creators, err := additionalCreators(content["additional_creators"])
	if err != nil {
		return nil, err
	}
	if req.Preset == presetTrusted { // the invited get the same power as the creator: here by being one. CS v1.16 #post_matrixclientv3createroom
		for _, user := range req.Invite {
			if !slices.Contains(creators, user) {
				creators = append(creators, user)
			}
		}
	}
	if len(creators) > 0 {
		content["additional_creators"], err = json.Marshal(creators)
		if err != nil {
			return nil, err
		}
	}
	return json.Marshal(content)
}

func additionalCreators(list json.RawMessage) ([]id.UserID, error) {
	if list == nil {
		return nil, nil
	}
	var creators []id.UserID
	if err := json.Unmarshal(list, &creators); err != nil {
		return nil, mxerr.InvalidParam("additional_creators is not a list of user IDs")
	}
	return creators, nil
}

// createEvent builds the create event, which names the room.
func (e *Engine) createEvent(v *roomver.Version, creator id.UserID, content json.RawMessage) (*event.PDU, error) {
	b := newBatch(context.Background(), e, "", nil) // nothing is read or stored: a create event follows nothing
	b.head.version = v
	if !v.HashedRoomID {
		room, err := id.NewRoomID(e.cfg.Rand, e.cfg.Server)
		if err != nil {
			return nil, err
		}
		b.head.room = room
	}
	key := ""
	// Where the room is named by this event's hash, two rooms of one user and one millisecond would be the same: no two create
	// events of ours have one time. And it is rounded up: what a client did before it asked for the room is before the room.
	ts := e.created.next(e.now() + 1)
	pdu, _, err := b.build(proposal{typ: event.TypeCreate, key: &key, sender: creator, content: content, ts: ts}, nil)
	return pdu, err
}

// lastTime hands out times that only grow.
type lastTime struct{ ms atomic.Int64 }

func (l *lastTime) next(now int64) int64 {
	for {
		last := l.ms.Load()
		ts := max(now, last+1)
		if l.ms.CompareAndSwap(last, ts) {
			return ts
		}
	}
}

// planEvents lists what follows the create event, in the order of the specification.
func (e *Engine) planEvents(ctx context.Context, p *plan, req CreateRequest) error {
	join, err := e.creatorJoin(ctx, req.Creator)
	if err != nil {
		return err
	}
	p.events = append(p.events, join)
	given := map[id.Slot]bool{}
	for _, s := range req.InitialState {
		given[id.Slot{Type: s.Type, StateKey: s.StateKey}] = true
	}
	levels, err := initialLevels(p, req)
	if err != nil {
		return err
	}
	if !given[id.Slot{Type: event.TypePowerLevels}] || len(req.PowerLevelOverride) > 0 {
		p.state(event.TypePowerLevels, levels)
	}
	if p.alias != "" {
		p.state(event.TypeCanonicalAlias, map[string]any{"alias": p.alias})
	}
	p.preset(req.Preset, given)
	for _, s := range req.InitialState {
		if s.Type == "" || s.Type == event.TypeCreate || s.Type == event.TypeMember {
			return mxerr.BadJSON("initial_state holds what it may not")
		}
		if s.Type == event.TypeName && req.Name != "" || s.Type == event.TypeTopic && req.Topic != "" {
			continue // overridden below
		}
		key := s.StateKey
		p.events = append(p.events, proposal{typ: s.Type, key: &key, sender: p.creator, content: s.Content})
	}
	if req.Name != "" {
		p.state(event.TypeName, map[string]any{"name": req.Name})
	}
	if req.Topic != "" {
		// The plain text stands in both forms. CS v1.16 #mroomtopic
		p.state(event.TypeTopic, map[string]any{"topic": req.Topic, "m.topic": map[string]any{"m.text": []any{map[string]any{"body": req.Topic}}}})
	}
	return e.planInvites(ctx, p, req)
}

func (e *Engine) creatorJoin(ctx context.Context, creator id.UserID) (proposal, error) {
	profile, err := e.profile(ctx, creator)
	if err != nil {
		return proposal{}, err
	}
	f := memberFields{"membership": quoted(event.Join)}
	f.withProfile(profile)
	content, err := f.content()
	key := string(creator)
	return proposal{typ: event.TypeMember, key: &key, sender: creator, content: content}, err
}

// state adds a state event with an empty key.
func (p *plan) state(typ string, content map[string]any) {
	raw, err := json.Marshal(content)
	if err != nil {
		raw = nil // refused when the event is built
	}
	key := ""
	p.events = append(p.events, proposal{typ: typ, key: &key, sender: p.creator, content: raw})
}

// preset adds what a preset stands for, unless initial_state says otherwise.
func (p *plan) preset(preset string, given map[id.Slot]bool) {
	rule, guests := "invite", "can_join"
	if preset == presetPublic {
		rule, guests = "public", "" // forbidden is what a room without the event says
	}
	for _, s := range []struct{ typ, field, value string }{
		{event.TypeJoinRules, "join_rule", rule},
		{event.TypeHistoryVisibility, "history_visibility", "shared"},
		{event.TypeGuestAccess, "guest_access", guests},
	} {
		if s.value != "" && !given[id.Slot{Type: s.typ}] {
			p.state(s.typ, map[string]any{s.field: s.value})
		}
	}
}

// initialLevels are the power levels of a new room. RV 12 #privileged-creators, CS v1.16 #post_matrixclientv3createroom
func initialLevels(p *plan, req CreateRequest) (map[string]any, error) {
	users := map[id.UserID]any{}
	tombstone := 100
	if p.version.PrivilegedCreators {
		tombstone = 150 // nobody but creators, until they give it away
	} else {
		users[req.Creator] = 100
		if req.Preset == presetTrusted {
			for _, user := range req.Invite {
				users[user] = 100
			}
		}
	}
	invite := 0
	if req.Preset == presetPublic {
		invite = 50
	}
	levels := map[string]any{
		"users": users, "users_default": 0,
		"events": map[string]int{
			event.TypeName: 50, event.TypeAvatar: 50, event.TypeCanonicalAlias: 50, event.TypePowerLevels: 100,
			event.TypeHistoryVisibility: 100, event.TypeTombstone: tombstone, event.TypeServerACL: 100, event.TypeEncryption: 100,
		},
		"events_default": 0, "state_default": 50, "ban": 50, "kick": 50, "redact": 50, "invite": invite, "historical": 100,
	}
	if len(req.PowerLevelOverride) > 0 && string(req.PowerLevelOverride) != "null" {
		override := map[string]json.RawMessage{}
		if err := json.Unmarshal(req.PowerLevelOverride, &override); err != nil {
			return nil, mxerr.BadJSON("power_level_content_override is not an object")
		}
		for key, value := range override {
			levels[key] = value
		}
	}
	return levels, nil
}

func (e *Engine) planInvites(ctx context.Context, p *plan, req CreateRequest) error {
	invited := map[id.UserID]bool{req.Creator: true}
	for _, user := range req.Invite {
		if invited[user] {
			continue
		}
		invited[user] = true
		c := MembershipChange{Sender: req.Creator, Target: user, IsDirect: req.IsDirect}
		if !e.local(user) {
			p.remote = append(p.remote, c)
			continue
		}
		f, err := e.inviteFields(ctx, c)
		if err != nil {
			return err
		}
		content, err := f.content()
		if err != nil {
			return err
		}
		key := string(user)
		p.events = append(p.events, proposal{typ: event.TypeMember, key: &key, sender: req.Creator, content: content})
	}
	return nil
}
