package csapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"konsil/homeserver/account"
	"konsil/homeserver/room"
	"konsil/kit/web"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) spaceRoutes() []row {
	return []row{
		{endpoint.GetSpaceHierarchy, user(a.hierarchy), limitSearch},
		{endpoint.GetRoomSummary, optional(a.roomSummary), limitSearch},
	}
}

type hierarchyRequest struct {
	Room      id.RoomID `path:"roomId"`
	Suggested bool      `query:"suggested_only"`
	Limit     *int      `query:"limit"`
	MaxDepth  *int      `query:"max_depth"`
	From      string    `query:"from"`
}

// walk is the tour through a space: depth first, each room once. A page continues by walking again and leaving out what
// was told before; that needs no memory between pages, and a space is small.
type walk struct {
	api      *API
	caller   account.Caller
	ask      hierarchyRequest
	skip     int
	limit    int
	maxDepth int
	seen     map[id.RoomID]bool
	told     int // rooms found so far, skipped ones included
	out      []json.RawMessage
	more     bool
	// remote keeps what one answer of another server told of the children, so that they are not asked for again.
	remote map[id.RoomID]remoteRoom
}

// Pages of a hierarchy hold up to hierarchyPage rooms; a tour visits up to hierarchyVisits, whatever the space says (B6).
const (
	hierarchyPage   = 50
	hierarchyVisits = 1000
)

// hierarchy lists the rooms of a space the caller may know. CS v1.16 #get_matrixclientv1roomsroomidhierarchy
func (a *API) hierarchy(ctx context.Context, caller account.Caller, req hierarchyRequest) (web.Raw, error) {
	w := walk{api: a, caller: caller, ask: req, limit: hierarchyPage, maxDepth: hierarchyVisits,
		seen: map[id.RoomID]bool{}, remote: map[id.RoomID]remoteRoom{}}
	if req.Limit != nil && *req.Limit > 0 {
		w.limit = min(*req.Limit, hierarchyPage)
	}
	if req.MaxDepth != nil {
		w.maxDepth = max(*req.MaxDepth, 0)
	}
	if err := w.resume(); err != nil {
		return nil, err
	}
	found, err := w.visit(ctx, req.Room, nil, 0)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, mxerr.Forbidden("The room is not a space you may see, or is unknown")
	}
	out := appendArray([]byte(`{"rooms":`), w.out)
	if w.more {
		out = append(out, `,"next_batch":"`+w.token()+`"`...)
	}
	return append(out, '}'), nil
}

// token says where the next page begins, and for which questions: a page with others would skip the wrong rooms.
func (w *walk) token() string {
	return fmt.Sprintf("h%d_%d_%t", w.skip+w.limit, w.maxDepth, w.ask.Suggested)
}

func (w *walk) resume() error {
	if w.ask.From == "" {
		return nil
	}
	skip, rest, ok := strings.Cut(strings.TrimPrefix(w.ask.From, "h"), "_")
	n, err := strconv.Atoi(skip)
	if !ok || err != nil || n < 0 || rest != fmt.Sprintf("%d_%t", w.maxDepth, w.ask.Suggested) {
		return mxerr.InvalidParam("Invalid value for from")
	}
	w.skip = n
	return nil
}

// visit tells of a room and goes on to its children. found is false for a room the caller may not know of.
func (w *walk) visit(ctx context.Context, in id.RoomID, via []id.ServerName, depth int) (found bool, err error) {
	if w.more || w.seen[in] || len(w.seen) >= hierarchyVisits {
		return false, nil
	}
	w.seen[in] = true
	entry, children, err := w.look(ctx, in, via)
	if err != nil || entry == nil {
		return false, err
	}
	if w.told >= w.skip+w.limit {
		w.more = true
		return true, nil
	}
	w.told++
	if w.told > w.skip {
		w.out = append(w.out, entry)
	}
	if depth >= w.maxDepth {
		return true, nil
	}
	for _, child := range children {
		if _, err := w.visit(ctx, child.Room, child.Via, depth+1); err != nil {
			return true, err
		}
	}
	return true, nil
}

// look reads a room from here, or asks another server. A nil entry is a room the caller may not know of.
func (w *walk) look(ctx context.Context, in id.RoomID, via []id.ServerName) (json.RawMessage, []spaceChild, error) {
	detail, err := w.api.Rooms.SummaryForUser(ctx, w.caller.User, in)
	if err == nil {
		return w.local(detail)
	}
	if !errors.Is(err, room.ErrUnknownRoom) {
		return nil, nil, err
	}
	told, ok := w.remote[in]
	if !ok {
		if told, ok = w.askOthers(ctx, in, via); !ok {
			return nil, nil, nil // out of reach is as good as unknown
		}
	}
	allowed, err := w.mayKnow(ctx, told)
	if err != nil || !allowed {
		return nil, nil, err
	}
	return w.foreign(told)
}

// remoteRoom is a room as another server tells of it: read into types, so that nothing odd reaches a client (A32).
type remoteRoom struct {
	room.Summary
	Version      string       `json:"room_version,omitempty"`
	Encryption   string       `json:"encryption,omitempty"`
	AllowedRooms []id.RoomID  `json:"allowed_room_ids,omitempty"`
	Children     []childState `json:"children_state"`
}

// childState is an m.space.child as hierarchies show it.
type childState struct {
	Type     string          `json:"type"`
	StateKey string          `json:"state_key"`
	Content  json.RawMessage `json:"content"`
	Sender   id.UserID       `json:"sender"`
	TS       int64           `json:"origin_server_ts"`
}

// askOthers asks for a room, and keeps what is told of its children that are no spaces: of spaces their children are
// missing there.
func (w *walk) askOthers(ctx context.Context, in id.RoomID, via []id.ServerName) (remoteRoom, bool) {
	var told remoteRoom
	if w.api.Federation == nil {
		return told, false
	}
	answer, err := w.api.Federation.Hierarchy(ctx, in, via, w.ask.Suggested)
	if err != nil || json.Unmarshal(answer.Room, &told) != nil || told.Room != in {
		return told, false
	}
	for _, raw := range answer.Children {
		var child remoteRoom
		if json.Unmarshal(raw, &child) == nil && child.RoomType != "m.space" {
			w.remote[child.Room] = child
		}
	}
	return told, true
}

// mayKnow decides about a room of which another server told us. CS v1.16 #spaces
func (w *walk) mayKnow(ctx context.Context, told remoteRoom) (bool, error) {
	if told.WorldReadable || told.JoinRule == "public" || told.JoinRule == "knock" || told.JoinRule == "knock_restricted" || told.JoinRule == "" {
		return true, nil
	}
	for _, in := range told.AllowedRooms {
		membership, err := w.api.Rooms.Membership(ctx, in, w.caller.User)
		if err != nil || membership == "join" {
			return err == nil, err
		}
	}
	membership, err := w.api.Rooms.Membership(ctx, told.Room, w.caller.User)
	return membership == "invite" || membership == "join", err
}

// spaceChild is what an m.space.child says. CS v1.16 #mspacechild
type spaceChild struct {
	Room      id.RoomID
	Via       []id.ServerName
	Suggested bool
}

// parseSpaceChild reads a child; without via it is none (any more).
func parseSpaceChild(stateKey string, content json.RawMessage) (spaceChild, bool) {
	var c struct {
		Via       []id.ServerName `json:"via"`
		Suggested bool            `json:"suggested"`
	}
	in, err := id.ParseRoomID(stateKey)
	if err != nil || json.Unmarshal(content, &c) != nil || len(c.Via) == 0 {
		return spaceChild{}, false
	}
	return spaceChild{Room: in, Via: c.Via, Suggested: c.Suggested}, true
}

func (w *walk) foreign(told remoteRoom) (json.RawMessage, []spaceChild, error) {
	shown := []childState{}
	var children []spaceChild
	for _, state := range told.Children {
		if child, ok := parseSpaceChild(state.StateKey, state.Content); ok && (child.Suggested || !w.ask.Suggested) {
			shown = append(shown, state)
			children = append(children, child)
		}
	}
	told.Children = shown
	written, err := json.Marshal(told)
	return written, children, err
}

func (w *walk) local(detail room.SummaryDetail) (json.RawMessage, []spaceChild, error) {
	told := remoteRoom{Summary: detail.Summary, Version: detail.Version, Encryption: detail.Encryption, AllowedRooms: detail.AllowedRooms}
	for _, ev := range detail.Children {
		told.Children = append(told.Children, childState{Type: ev.Type, StateKey: *ev.StateKey, Content: json.RawMessage(ev.Content), Sender: ev.Sender, TS: ev.OriginServerTS})
	}
	return w.foreign(told)
}

type summaryRequest struct {
	RoomOrAlias string          `path:"roomIdOrAlias"`
	Via         []id.ServerName `query:"via"`
}

type summaryResponse struct {
	room.Summary
	Version      string      `json:"room_version,omitempty"`
	OldVersion   string      `json:"im.nheko.summary.room_version,omitempty"`
	Encryption   string      `json:"encryption,omitempty"`
	OldEncrypted string      `json:"im.nheko.summary.encryption,omitempty"`
	AllowedRooms []id.RoomID `json:"allowed_room_ids,omitempty"`
	Membership   string      `json:"membership,omitempty"`
}

// roomSummary tells of one room. CS v1.16 #get_matrixclientv1room_summaryroomidoralias
func (a *API) roomSummary(ctx context.Context, caller account.Caller, req summaryRequest) (any, error) {
	in, via, err := a.resolveRoom(ctx, req.RoomOrAlias, req.Via)
	if err != nil {
		return nil, err
	}
	detail, err := a.Rooms.SummaryForUser(ctx, caller.User, in)
	if err == nil {
		return summaryResponse{Summary: detail.Summary, Version: detail.Version, OldVersion: detail.Version, Encryption: detail.Encryption,
			OldEncrypted: detail.Encryption, AllowedRooms: detail.AllowedRooms, Membership: detail.Membership}, nil
	}
	if !errors.Is(err, room.ErrUnknownRoom) {
		return nil, err
	}
	w := walk{api: a, caller: caller, remote: map[id.RoomID]remoteRoom{}}
	told, ok := w.askOthers(ctx, in, via)
	if !ok {
		return nil, mxerr.NotFound("Unknown room")
	}
	allowed, err := w.mayKnow(ctx, told)
	if err != nil {
		return nil, err
	}
	if !allowed {
		return nil, mxerr.NotFound("Unknown room")
	}
	return summaryResponse{Summary: told.Summary, Version: told.Version, OldVersion: told.Version, Encryption: told.Encryption,
		OldEncrypted: told.Encryption, AllowedRooms: told.AllowedRooms}, nil
}
