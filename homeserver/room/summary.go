package room

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// Summary is what may be told of a room to somebody outside. CS v1.16 #get_matrixclientv3publicrooms
type Summary struct {
	Room           id.RoomID    `json:"room_id"`
	Name           string       `json:"name,omitempty"`
	Topic          string       `json:"topic,omitempty"`
	CanonicalAlias id.RoomAlias `json:"canonical_alias,omitempty"`
	AvatarURL      string       `json:"avatar_url,omitempty"`
	JoinedMembers  int          `json:"num_joined_members"`
	WorldReadable  bool         `json:"world_readable"`
	GuestCanJoin   bool         `json:"guest_can_join"`
	JoinRule       string       `json:"join_rule,omitempty"`
	RoomType       string       `json:"room_type,omitempty"`
}

// SummaryDetail adds what hierarchy and room_summary tell.
type SummaryDetail struct {
	Summary
	Version      string      // room version
	Encryption   string      // algorithm, "" for none
	AllowedRooms []id.RoomID // of a restricted join rule
	Children     []*Event    // m.space.child with via, in the order of the specification; nil for what is no space
	Membership   string      // of the asking user, "" for none
}

// summaryParts gathers a summary from state events. What is of the wrong type is as good as missing (A32).
type summaryParts struct {
	Summary
	encryption string
	rules      auth.JoinRules
}

func (s *summaryParts) add(ev *Event) {
	text := func(field string) string {
		v, _ := canonical.GetString(ev.Content, field)
		return v
	}
	switch ev.Type {
	case event.TypeCreate:
		s.RoomType = text("type")
	case "m.room.name":
		s.Name = text("name")
	case "m.room.topic":
		s.Topic = text("topic")
	case typeCanonicalAlias:
		if alias, err := id.ParseRoomAlias(text("alias")); err == nil {
			s.CanonicalAlias = alias
		}
	case "m.room.avatar":
		s.AvatarURL = text("url")
	case event.TypeJoinRules:
		s.rules = auth.ParseJoinRules(ev.Content)
		s.JoinRule = text("join_rule")
	case event.TypeHistoryVisibility:
		s.WorldReadable = auth.ParseHistoryVisibility(ev.Content) == auth.VisibleWorldReadable
	case "m.room.guest_access":
		s.GuestCanJoin = text("guest_access") == "can_join"
	case "m.room.encryption":
		s.encryption = text("algorithm")
	}
}

// SummaryForUser is what the user may know of a room we are in; ErrUnknownRoom if it is hidden from them. CS v1.16 #spaces
func (e *Engine) SummaryForUser(ctx context.Context, user id.UserID, room id.RoomID) (SummaryDetail, error) {
	h, err := e.localHead(ctx, room)
	if err != nil {
		return SummaryDetail{}, err
	}
	detail, parts, err := e.detail(ctx, h)
	if err != nil {
		return SummaryDetail{}, err
	}
	if user != "" {
		if detail.Membership, err = e.Membership(ctx, room, user); err != nil {
			return SummaryDetail{}, err
		}
	}
	if parts.open() || detail.Membership == event.Join || detail.Membership == event.Invite {
		return detail, nil
	}
	for _, allowed := range parts.rules.Allow {
		membership, err := e.Membership(ctx, allowed, user)
		if err != nil {
			return SummaryDetail{}, err
		}
		if membership == event.Join {
			return detail, nil
		}
	}
	return SummaryDetail{}, ErrUnknownRoom
}

// SummaryForServer is the same for some user of that server. SS v1.16 #get_matrixfederationv1hierarchyroomid
func (e *Engine) SummaryForServer(ctx context.Context, server id.ServerName, room id.RoomID) (SummaryDetail, error) {
	h, err := e.localHead(ctx, room)
	if err != nil {
		return SummaryDetail{}, err
	}
	if !h.allows(server) {
		return SummaryDetail{}, ErrUnknownRoom
	}
	detail, parts, err := e.detail(ctx, h)
	if err != nil {
		return SummaryDetail{}, err
	}
	if parts.open() || h.servers[server] > 0 {
		return detail, nil
	}
	for _, allowed := range parts.rules.Allow {
		inside, err := e.ServerInRoom(ctx, allowed, server)
		if err != nil {
			return SummaryDetail{}, err
		}
		if inside {
			return detail, nil
		}
	}
	invited, err := e.serverInvited(ctx, h, server)
	if err != nil || !invited {
		return SummaryDetail{}, cmp.Or(err, ErrUnknownRoom)
	}
	return detail, nil
}

func (e *Engine) serverInvited(ctx context.Context, h *head, server id.ServerName) (bool, error) {
	rows, err := e.memberRows(ctx, h.nid, store.Invited)
	return slices.ContainsFunc(rows, func(r store.MemberRow) bool { return r.User.Server() == server }), err
}

// localHead is the head of a room that a local user is in: of others our knowledge may be old.
func (e *Engine) localHead(ctx context.Context, room id.RoomID) (*head, error) {
	h, err := e.knownHead(ctx, room)
	if err == nil && !h.here() {
		return nil, ErrUnknownRoom
	}
	return h, err
}

// open reports whether everybody may know of the room.
func (s *summaryParts) open() bool {
	return s.WorldReadable || s.rules.Rule == auth.RulePublic || s.rules.Rule.Knockable()
}

func (e *Engine) detail(ctx context.Context, h *head) (SummaryDetail, *summaryParts, error) {
	slots := make([]id.Slot, len(summaryTypes))
	for i, t := range summaryTypes {
		slots[i].Type = t
	}
	evs, err := e.pick(ctx, h.state, slots)
	if err != nil {
		return SummaryDetail{}, nil, err
	}
	parts := &summaryParts{Summary: Summary{Room: h.room, JoinedMembers: int(h.joined)}, rules: auth.JoinRules{Rule: auth.RuleInvite}}
	for _, ev := range evs {
		parts.add(ev)
	}
	detail := SummaryDetail{Summary: parts.Summary, Version: h.version.ID, Encryption: parts.encryption, AllowedRooms: parts.rules.Allow}
	if parts.RoomType == "m.space" {
		detail.Children, err = e.spaceChildren(ctx, h)
	}
	return detail, parts, err
}

// spaceChildren reads the children of a space in their order. CS v1.16 #ordering-of-children-within-a-space
func (e *Engine) spaceChildren(ctx context.Context, h *head) ([]*Event, error) {
	nids, err := readList(ctx, e, func(tx *store.Tx) ([]int64, error) { return tx.CurrentStateAllOfType(ctx, h.nid, "m.space.child") })
	if err != nil {
		return nil, err
	}
	evs, err := e.EventsByNID(ctx, nids)
	if err != nil {
		return nil, err
	}
	order := map[*Event]string{}
	children := evs[:0:0]
	for _, ev := range evs {
		var content struct {
			Via   []string `json:"via"`
			Order string   `json:"order"`
		}
		// A wrongly typed field leaves the others: only via decides whether there is a child.
		_ = json.Unmarshal(ev.Content, &content)
		if len(content.Via) == 0 {
			continue
		}
		if validOrder(content.Order) {
			order[ev] = content.Order
		}
		children = append(children, ev)
	}
	slices.SortFunc(children, func(a, b *Event) int {
		x, named := order[a]
		y, alsoNamed := order[b]
		switch {
		case named != alsoNamed && named:
			return -1
		case named != alsoNamed:
			return 1
		}
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(a.OriginServerTS, b.OriginServerTS), cmp.Compare(*a.StateKey, *b.StateKey))
	})
	return children, nil
}

// validOrder: up to 50 characters from space to tilde. CS v1.16 #mspacechild
func validOrder(order string) bool {
	if order == "" || len(order) > 50 {
		return false
	}
	for i := range len(order) {
		if order[i] < 0x20 || order[i] > 0x7E {
			return false
		}
	}
	return true
}
