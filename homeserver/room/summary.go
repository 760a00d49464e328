package room

import (
	"context"
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

var summaryTypes = []string{
	event.TypeCreate, event.TypeName, event.TypeTopic, event.TypeCanonicalAlias, event.TypeAvatar, event.TypeHistoryVisibility,
	event.TypeGuestAccess, event.TypeJoinRules, event.TypeEncryption,
}

// summaries reads summaries of many rooms at once, in their order.
func (e *Engine) summaries(ctx context.Context, rooms []store.RoomRow) ([]Summary, error) {
	nids := make([]int64, len(rooms))
	index := make(map[int64]int, len(rooms))
	list := make([]Summary, len(rooms))
	for i, r := range rooms {
		nids[i], index[r.NID] = r.NID, i
		list[i] = Summary{Room: r.ID, JoinedMembers: int(r.Joined), JoinRule: "invite"}
	}
	evs, err := e.readEvents(ctx, func(tx *store.Tx) ([]store.EventRow, error) {
		return tx.CurrentStateOfTypes(ctx, nids, summaryTypes)
	})
	for _, ev := range evs {
		list[index[ev.RoomNID]].take(ev)
	}
	return list, err
}

// take reads what one state event says. Values of wrong types count as missing. A32
func (s *Summary) take(ev *Event) {
	text := func(key string) string {
		v, _ := canonical.GetString(ev.Content, key)
		return v
	}
	switch ev.Type {
	case event.TypeCreate:
		s.RoomType = text("type")
	case event.TypeName:
		s.Name = text("name")
	case event.TypeTopic:
		s.Topic = text("topic")
	case event.TypeCanonicalAlias:
		if alias, err := id.ParseRoomAlias(text("alias")); err == nil {
			s.CanonicalAlias = alias
		}
	case event.TypeAvatar:
		s.AvatarURL = text("url")
	case event.TypeHistoryVisibility:
		s.WorldReadable = auth.ParseHistoryVisibility(ev.Content) == auth.VisibleWorldReadable
	case event.TypeGuestAccess:
		s.GuestCanJoin = text("guest_access") == "can_join"
	case event.TypeJoinRules:
		s.JoinRule = string(auth.ParseJoinRules(ev.Content).Rule)
	}
}

// detail reads all that may be told of a room.
func (e *Engine) detail(ctx context.Context, h *head) (SummaryDetail, error) {
	slots := make([]id.Slot, len(summaryTypes))
	for i, typ := range summaryTypes {
		slots[i] = id.Slot{Type: typ}
	}
	evs, err := e.pick(ctx, h.state, slots)
	if err != nil {
		return SummaryDetail{}, err
	}
	d := SummaryDetail{Summary: Summary{Room: h.room, JoinedMembers: int(h.joined), JoinRule: "invite"}, Version: h.version.ID}
	for _, ev := range evs {
		d.take(ev)
		switch ev.Type {
		case event.TypeEncryption:
			d.Encryption, _ = canonical.GetString(ev.Content, "algorithm")
		case event.TypeJoinRules:
			if rules := auth.ParseJoinRules(ev.Content); rules.Rule.Restricted() {
				d.AllowedRooms = rules.Allow
			}
		}
	}
	if d.RoomType == "m.space" {
		d.Children, err = e.spaceChildren(ctx, h)
	}
	return d, err
}

// spaceChildren reads the children of a space, sorted as clients show them. CS v1.16 #ordering-of-children-within-a-space
func (e *Engine) spaceChildren(ctx context.Context, h *head) ([]*Event, error) {
	nids, err := readList(ctx, e, func(tx *store.Tx) ([]int64, error) { return tx.CurrentStateAllOfType(ctx, h.nid, event.TypeSpaceChild) })
	if err != nil {
		return nil, err
	}
	evs, err := e.EventsByNID(ctx, nids)
	if err != nil {
		return nil, err
	}
	evs = slices.DeleteFunc(evs, func(ev *Event) bool { return !hasVia(ev) })
	slices.SortStableFunc(evs, compareChildren)
	return evs, nil
}

// hasVia reports whether a child event is in force: with a list of servers. CS v1.16 #mspacechild
func hasVia(ev *Event) bool {
	via, ok := canonical.Get(ev.Content, "via")
	some := false
	return ok && canonical.Array(via, func([]byte) error { some = true; return nil }) == nil && some
}

func compareChildren(a, b *Event) int {
	x, y := childOrder(a), childOrder(b)
	switch {
	case x != "" && y == "":
		return -1
	case x == "" && y != "":
		return 1
	case x != y:
		return compare(x, y)
	case a.OriginServerTS != b.OriginServerTS:
		return int(min(max(a.OriginServerTS-b.OriginServerTS, -1), 1))
	}
	return compare(*a.StateKey, *b.StateKey)
}

// childOrder is the order field: printable ASCII, up to 50 characters.
func childOrder(ev *Event) string {
	s, _ := canonical.GetString(ev.Content, "order")
	if len(s) > 50 {
		return ""
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return ""
		}
	}
	return s
}

// SummaryForUser is what the user may know of a room we know; ErrUnknownRoom if it is hidden from them. "" is somebody without
// account. CS v1.16 #get_matrixclientv1roomsroomidhierarchy
func (e *Engine) SummaryForUser(ctx context.Context, user id.UserID, room id.RoomID) (SummaryDetail, error) {
	h, err := e.head(ctx, room)
	if err != nil {
		return SummaryDetail{}, err
	}
	if h == nil || h.snap.nid == 0 || !h.here() {
		return SummaryDetail{}, ErrUnknownRoom
	}
	membership := ""
	if user != "" {
		if membership, err = e.Membership(ctx, room, user); err != nil {
			return SummaryDetail{}, err
		}
	}
	ok := membership == event.Join || membership == event.Invite || h.open()
	if rules := h.joinRules(); !ok && user != "" && rules.Rule.Restricted() {
		if ok, err = e.inAnyRoom(ctx, user, rules.Allow); err != nil {
			return SummaryDetail{}, err
		}
	}
	if !ok {
		return SummaryDetail{}, ErrUnknownRoom
	}
	d, err := e.detail(ctx, h)
	d.Membership = membership
	return d, err
}

// open reports whether everybody may know of the room.
func (h *head) open() bool {
	rule := h.joinRules().Rule
	return rule == auth.RulePublic || rule.Knockable() || h.history() == auth.VisibleWorldReadable
}

// SummaryForServer is what users of another server may know of a room. SS v1.16 #get_matrixfederationv1hierarchyroomid
func (e *Engine) SummaryForServer(ctx context.Context, server id.ServerName, room id.RoomID) (SummaryDetail, error) {
	h, err := e.head(ctx, room)
	if err != nil {
		return SummaryDetail{}, err
	}
	if h == nil || h.snap.nid == 0 || !h.here() || !h.allows(server) {
		return SummaryDetail{}, ErrUnknownRoom
	}
	ok := h.open() || h.servers[server] > 0
	if !ok {
		if ok, err = e.invitedFrom(ctx, h, server); err != nil {
			return SummaryDetail{}, err
		}
	}
	if rules := h.joinRules(); !ok && rules.Rule.Restricted() {
		for _, allowed := range rules.Allow {
			if ok, err = e.ServerInRoom(ctx, allowed, server); ok || err != nil {
				break
			}
		}
	}
	if err != nil {
		return SummaryDetail{}, err
	}
	if !ok {
		return SummaryDetail{}, ErrUnknownRoom
	}
	return e.detail(ctx, h)
}

// invitedFrom reports whether a user of the server is invited.
func (e *Engine) invitedFrom(ctx context.Context, h *head, server id.ServerName) (bool, error) {
	rows, err := e.memberRows(ctx, h.nid, store.Invited)
	return slices.ContainsFunc(rows, func(r store.MemberRow) bool { return r.User.Server() == server }), err
}
