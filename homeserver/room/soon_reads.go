package room

import (
	"context"
	"encoding/json"

	"konsil/matrix/id"
)

// Viewer is whose eyes events are shown to.
type Viewer struct {
	User   id.UserID
	Device id.DeviceID // for unsigned.transaction_id
}

// VisibleToUser filters events to those the user may see now: the history visibility at the event, and the user's membership then and
// now. Order is kept. B9
func (e *Engine) VisibleToUser(ctx context.Context, user id.UserID, evs []*Event) ([]*Event, error) {
	return nil, errSoon
}

// VisibleToServer filters events to those users of the server may see; the others are replaced by their redacted copy where
// redacted is true (backfill needs the graph), else left out.
func (e *Engine) VisibleToServer(ctx context.Context, server id.ServerName, evs []*Event, redacted bool) ([]*Event, error) {
	return nil, errSoon
}

// Format says how client events are written.
type Format struct {
	Viewer
	OmitRoomID bool // in /sync the room is known
	Bundle     bool // with aggregated relations: edits, threads, references
}

// ClientEvents writes events as clients get them, with unsigned: age, prev_content, replaces_state, redacted_because, transaction_id,
// membership, m.relations. Few queries for all of them together.
func (e *Engine) ClientEvents(ctx context.Context, f Format, evs []*Event) ([]json.RawMessage, error) {
	return nil, errSoon
}

// Token is a place in a room's history: "t<topo>_<pos>", or a position of the domain's order: "s<pos>".
type Token struct {
	Topo int64 // 0 for "s" tokens
	Pos  int64
	Sync bool
}

// ParseToken reads what a client sent back.
func ParseToken(s string) (Token, error) { return Token{}, errSoon }
func (t Token) String() string           { return "" }

// SyncToken and EventToken make tokens: at a position; just before or after an event in its room's order.
func SyncToken(pos int64) Token              { return Token{} }
func EventToken(ev *Event, after bool) Token { return Token{} }

// EventFilter is the room event filter of a read; empty fields filter nothing. CS v1.16 #filtering
type EventFilter struct {
	Types, NotTypes     []string // * is a wildcard
	Senders, NotSenders []id.UserID
	RelTypes            []string // MSC3874
	NotRelTypes         []string
	ContainsURL         *bool
}

// PageRequest is /messages.
type PageRequest struct {
	Room     id.RoomID
	User     id.UserID
	From, To *Token // nil From: the newest (backward) or oldest (forward) end
	Backward bool
	Limit    int
	Filter   EventFilter
}

// Page is its answer. End is nil at the end of history.
type Page struct {
	Events []*Event
	Start  Token
	End    *Token
	// Gap says that history known to be missing begins within or right after the page: backfilling and asking again gives more. Missing are the
	// events to backfill from.
	Gap     bool
	Missing []id.EventID
}

// Messages reads a page of history the user may see.
func (e *Engine) Messages(ctx context.Context, r PageRequest) (Page, error) { return Page{}, errSoon }

// Context is /context: what stands around an event, in the order of the specification.
type Context struct {
	Event         *Event
	Before, After []*Event // newest first, oldest first
	State         []*Event // at the last event
	Start, End    Token
}

// Context reads an event the user may see and what stands around it.
func (e *Engine) Context(ctx context.Context, user id.UserID, room id.RoomID, ev id.EventID, limit int, f EventFilter) (Context, error) {
	return Context{}, errSoon
}

// EventOf reads one event of a room as a user may see it; ErrUnknownEvent else.
func (e *Engine) EventOf(ctx context.Context, user id.UserID, room id.RoomID, ev id.EventID) (*Event, error) {
	return nil, errSoon
}

// RelationRequest is /relations. RelType and Type may be empty.
type RelationRequest struct {
	Room     id.RoomID
	User     id.UserID
	Event    id.EventID
	RelType  string
	Type     string
	From, To *Token
	Forward  bool
	Limit    int
	Recurse  bool
}

// RelationPage is its answer; the tokens are nil at the ends.
type RelationPage struct {
	Events     []*Event
	Next, Prev *Token
	Depth      int // how deep Recurse went
}

// Relations reads the events that relate to an event.
func (e *Engine) Relations(ctx context.Context, r RelationRequest) (RelationPage, error) {
	return RelationPage{}, errSoon
}

// Threads lists thread roots by their latest reply, newest first. participated: only threads the user wrote in.
func (e *Engine) Threads(ctx context.Context, user id.UserID, room id.RoomID, participated bool, from *Token, limit int) (RelationPage, error) {
	return RelationPage{}, errSoon
}

// TimestampToEvent finds the event nearest to ts, forward or backward; ErrUnknownEvent for none.
func (e *Engine) TimestampToEvent(ctx context.Context, user id.UserID, room id.RoomID, ts int64, forward bool) (*Event, error) {
	return nil, errSoon
}

// StateForUser reads the state a user may see: now while they are in the room (or may peek), as it was when they left otherwise. CS v1.16 #get_matrixclientv3roomsroomidstate
func (e *Engine) StateForUser(ctx context.Context, user id.UserID, room id.RoomID) ([]*Event, error) {
	return nil, errSoon
}

// StateEventForUser is StateForUser for one slot; M_NOT_FOUND for an empty one.
func (e *Engine) StateEventForUser(ctx context.Context, user id.UserID, room id.RoomID, typ, key string) (*Event, error) {
	return nil, errSoon
}

// MembersForUser is /members: like StateForUser, optionally at a token.
func (e *Engine) MembersForUser(ctx context.Context, user id.UserID, room id.RoomID, at *Token, want, not string) ([]*Event, error) {
	return nil, errSoon
}

// ---- aliases and directory

// CreateAlias points an alias of this domain to a room.
func (e *Engine) CreateAlias(ctx context.Context, user id.UserID, alias id.RoomAlias, room id.RoomID) error {
	return errSoon
}

// DeleteAlias takes it away; allowed to who made it, to those who may send m.room.canonical_alias, and to admins. The
// canonical alias event is cleaned.
func (e *Engine) DeleteAlias(ctx context.Context, user id.UserID, alias id.RoomAlias, admin bool) error {
	return errSoon
}

// ResolveAlias finds the room of an alias of this domain, and servers to join through.
func (e *Engine) ResolveAlias(ctx context.Context, alias id.RoomAlias) (id.RoomID, []id.ServerName, error) {
	return "", nil, errSoon
}

// AliasesOf lists the aliases of this domain for a room, for those who may see it.
func (e *Engine) AliasesOf(ctx context.Context, user id.UserID, room id.RoomID) ([]id.RoomAlias, error) {
	return nil, errSoon
}

// SetPublished lists a room in the directory, or takes it out.
func (e *Engine) SetPublished(ctx context.Context, user id.UserID, room id.RoomID, published, admin bool) error {
	return errSoon
}
func (e *Engine) Published(ctx context.Context, room id.RoomID) (bool, error) { return false, errSoon }

// PublicRoomsRequest is a page of the directory.
type PublicRoomsRequest struct {
	Limit     int
	Since     string
	Search    string
	RoomTypes []*string // nil entry: rooms without type; nil slice: all
}

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

// PublicRoomsPage is its answer.
type PublicRoomsPage struct {
	Chunk []Summary `json:"chunk"`
	Next  string    `json:"next_batch,omitempty"`
	Prev  string    `json:"prev_batch,omitempty"`
	Total int       `json:"total_room_count_estimate"`
}

// PublicRooms reads the directory of this domain, largest rooms first.
func (e *Engine) PublicRooms(ctx context.Context, r PublicRoomsRequest) (PublicRoomsPage, error) {
	return PublicRoomsPage{}, errSoon
}

// SummaryForUser is what the user may know of a room we are in; ErrUnknownRoom if it is hidden from them.
func (e *Engine) SummaryForUser(ctx context.Context, user id.UserID, room id.RoomID) (SummaryDetail, error) {
	return SummaryDetail{}, errSoon
}

// SummaryForServer is the same for a user of that server.
func (e *Engine) SummaryForServer(ctx context.Context, server id.ServerName, room id.RoomID) (SummaryDetail, error) {
	return SummaryDetail{}, errSoon
}

// UserHit is a row of the user directory.
type UserHit struct {
	User        id.UserID `json:"user_id"`
	DisplayName string    `json:"display_name,omitempty"`
	AvatarURL   string    `json:"avatar_url,omitempty"`
}

// SearchUsers finds users who share a room with user, or are in a public one, by name or ID.
func (e *Engine) SearchUsers(ctx context.Context, user id.UserID, term string, limit int) ([]UserHit, bool, error) {
	return nil, false, errSoon
}
